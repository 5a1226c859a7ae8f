/**
 * The parent's end of `--log`: writes lines of enclaves to standard error.
 *
 * The data plane forwards the bytes of enclaves to a server of this process. The server trusts only the data plane:
 * each connection begins with a secret and the client's name. Enclaves are not trusted. Lines are bounded and escaped,
 * and a client that sends more than its share waits.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { Clock } from '../platform/clock.ts';
import { escapeControls } from '../platform/escape.ts';
import type { LogReceiver } from '../proxy/handlers/open.ts';
import { LruCache } from '../proxy/lru.ts';
import { LineSplitter } from './lines.ts';

export interface LogReceiverOptions {
  /**
   * Writes one line of this client, printable and without its newline. Returns false if it could not, and must be
   * called again.
   */
  readonly write: (client: string, line: string) => boolean;
  readonly clock: Clock;
}

/** Below the rate at which journald starts to drop lines of a service: RateLimitBurst= in journald.conf(5). */
const LINES_PER_SECOND = 250;
/** The burst of lines after some quiet. */
const BURST = 1000;
const WAIT_MS = 100;
const MAX_CONNECTIONS = 256;
/** The connections of one client. `vsock-proxy enclave` has one, and a few more while it connects again. */
const MAX_CONNECTIONS_PER_CLIENT = 16;
/** The introduction comes together with the connection. */
const INTRODUCTION_MS = 10_000;
/** The shares of this many clients are remembered. */
const MAX_CLIENTS = 1024;

export async function openLogReceiver({ write, clock }: LogReceiverOptions): Promise<LogReceiver> {
  const secret = randomBytes(16).toString('hex');
  const clients = new LruCache<string, Client>(MAX_CLIENTS);
  const clientOf = (name: string): Client => {
    const client = clients.get(name) ?? new Client(name, clock);
    clients.set(name, client);
    return client;
  };
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    receive(socket, { secret, clientOf, write, clock });
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.listen({ host: '127.0.0.1', port: 0 }).unref();
  await once(server, 'listening');
  const { address: ip, port } = server.address() as AddressInfo;
  return {
    address: { family: 'tcp', ip, port },
    introduce: (client) => Buffer.from(`${secret} ${client}\n`),
    close() {
      server.close();
      for (const socket of sockets) socket.end();
    },
  };
}

interface Context extends LogReceiverOptions {
  readonly secret: string;
  readonly clientOf: (name: string) => Client;
}

function receive(socket: Socket, { secret, clientOf, write, clock }: Context): void {
  const lines = new LineSplitter();
  let client: Client | undefined;
  /** A line that could not be written yet. */
  let waiting: string | undefined;
  let cancelTimer = clock.setTimer(INTRODUCTION_MS, () => socket.destroy());

  /** @returns false if the line cannot be written now */
  const writeWaiting = (): boolean => {
    if (waiting === undefined || client === undefined) return true;
    // An empty line is not written. It costs its sender as much as any other line, because it also costs us as much.
    if (!client.takeToken() || (waiting !== '' && !write(client.name, waiting))) return false;
    waiting = undefined;
    return true;
  };
  const put = (line: Buffer): boolean => {
    waiting = escapeControls(line.toString());
    return writeWaiting();
  };
  /** @returns false if not all lines can be written now */
  const passLines = (): boolean => {
    if (!writeWaiting()) return false;
    for (let line = lines.take(); line !== undefined; line = lines.take()) {
      if (client !== undefined) {
        if (!put(line)) return false;
        continue;
      }
      const name = introduced(line, secret);
      const introducedClient = name === undefined ? undefined : clientOf(name);
      if (introducedClient?.connect() !== true) {
        socket.destroy();
        return true;
      }
      client = introducedClient;
      cancelTimer();
    }
    return true;
  };
  const pass = (): void => {
    if (passLines()) {
      socket.resume();
    } else {
      socket.pause();
      cancelTimer = clock.setTimer(WAIT_MS, pass);
    }
  };

  socket.on('data', (bytes: Buffer) => {
    lines.push(bytes);
    pass();
  });
  socket.on('end', () => {
    const rest = lines.takeRest();
    if (rest !== undefined && client !== undefined) put(rest);
  });
  socket.on('error', () => socket.destroy());
  socket.on('close', () => {
    cancelTimer();
    client?.disconnect();
  });
}

/** The client in an introduction without further text. */
function introduced(line: Buffer, secret: string): string | undefined {
  const expected = Buffer.from(`${secret} `);
  const given = line.subarray(0, expected.length);
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined;
  return line.subarray(expected.length).toString();
}

/** The share of one client: a number of connections, and lines from a token bucket. */
class Client {
  readonly name: string;
  readonly #clock: Clock;
  #connections = 0;
  #tokens = BURST;
  #filledAt: number;

  constructor(name: string, clock: Clock) {
    this.name = name;
    this.#clock = clock;
    this.#filledAt = clock.now();
  }

  /** @returns false if the client has too many */
  connect(): boolean {
    if (this.#connections >= MAX_CONNECTIONS_PER_CLIENT) return false;
    this.#connections += 1;
    return true;
  }

  disconnect(): void {
    this.#connections -= 1;
  }

  /** Takes the tokens for one line, if there are any. */
  takeToken(): boolean {
    const now = this.#clock.now();
    this.#tokens = Math.min(BURST, this.#tokens + ((now - this.#filledAt) * LINES_PER_SECOND) / 1000);
    this.#filledAt = now;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
