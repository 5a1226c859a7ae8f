/**
 * The enclave's end of `--log`: sends lines of this process and of its command to the parent.
 *
 * No writer of lines ever waits. Lines that the parent does not accept are kept. When the memory for them is full,
 * further lines are dropped and counted.
 */
import type { Clock } from '../platform/clock.ts';
import type { Stream } from '../platform/system/sockets.ts';
import { Backlog } from './backlog.ts';
import { LineSplitter } from './lines.ts';

/** Memory is scarce in an enclave. */
const MAX_QUEUED_BYTES = 256 * 1024;
const RECONNECT_MS = 500;

export class LogSender {
  readonly #clock: Clock;
  readonly #backlog = new Backlog();
  #lost = 0;
  #connect: (() => Stream) | undefined;
  #socket: Stream | undefined;
  #canWrite = false;
  readonly #streams = new Set<Promise<void>>();
  #onIdle: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Sends all lines, earlier and later ones. `connect` returns a socket, which emits `connect` when it is connected.
   */
  start(connect: () => Stream): void {
    this.#connect = connect;
    this.#reconnect();
  }

  /** Writes a text of whole lines, each with its newline. */
  write(text: string | Uint8Array): void {
    const bytes = Buffer.from(text);
    if (this.#backlog.bytes + bytes.length > MAX_QUEUED_BYTES) {
      this.#lost += bytes.filter((byte) => byte === LF).length;
      return;
    }
    this.#tellLost();
    this.#pass(bytes);
  }

  /** Sends the lines of a stream, from now to its end. */
  pipe(stream: Stream): void {
    const lines = new LineSplitter();
    const ended = new Promise<void>((resolve) => {
      stream.on('data', (bytes: Buffer) => {
        lines.push(bytes);
        for (let line = lines.take(); line !== undefined; line = lines.take()) this.#writeLine(line);
      });
      stream.on('error', () => stream.destroy());
      stream.on('close', () => {
        const rest = lines.takeRest();
        if (rest !== undefined) this.#writeLine(rest);
        resolve();
      });
    });
    this.#streams.add(ended);
  }

  /** Ends the connection when everything is sent, and waits until the parent has read it, for at most `deadlineMs`. */
  async finish(deadlineMs: number): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const cancel = this.#clock.setTimer(deadlineMs, resolve);
    await Promise.race([Promise.all(this.#streams), late]);
    const idle = new Promise<void>((settle) => {
      this.#onIdle = settle;
      this.#send();
    });
    await Promise.race([idle, late]);
    this.#connect = undefined;
    // Sent bytes may be in the queue of a listener that has not accepted the connection yet, and would be lost with it.
    await Promise.race([endOf(this.#socket), late]);
    cancel();
  }

  #writeLine(line: Buffer): void {
    this.write(Buffer.concat([line, NEWLINE]));
  }

  #pass(bytes: Buffer): void {
    if (this.#canWrite && this.#socket !== undefined) this.#canWrite = this.#socket.write(bytes);
    else this.#backlog.push(bytes);
  }

  #tellLost(): void {
    const lost = this.#lost;
    this.#lost = 0;
    if (lost > 0) this.#pass(Buffer.from(`${lost} lines were lost: the parent did not take them\n`));
  }

  #send(): void {
    while (this.#canWrite && this.#socket !== undefined) {
      const bytes = this.#backlog.take();
      if (bytes === undefined) {
        this.#tellLost(); // there may be no later line
        this.#onIdle?.();
        return;
      }
      this.#canWrite = this.#socket.write(bytes);
    }
  }

  #reconnect(): void {
    if (this.#connect === undefined) return;
    const socket = this.#connect();
    this.#socket = socket;
    const go = (): void => {
      this.#canWrite = socket.writable;
      this.#send();
    };
    socket.on('connect', go);
    socket.on('drain', go);
    // The parent stops in order: written bytes arrive, and the rest goes to its next connection.
    socket.on('end', () => {
      this.#canWrite = false;
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      this.#canWrite = false;
      this.#clock.setTimer(RECONNECT_MS, () => this.#reconnect());
    });
    socket.resume();
  }
}

/** Resolves when the other side has ended, too, which it does after the last byte. */
async function endOf(socket: Stream | undefined): Promise<void> {
  if (socket === undefined || socket.destroyed) return;
  const closed = new Promise<void>((resolve) => {
    socket.once('close', resolve);
  });
  socket.end();
  await closed;
}

const LF = 0x0a;
const NEWLINE = Buffer.from([LF]);
