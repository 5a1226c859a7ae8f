/**
 * The parent's end of `--log`: lines of enclaves, to standard error.
 *
 * The data plane passes on what enclaves send, to a server of this process that takes nobody else's word: each connection
 * begins with a secret and the client's name. Enclaves are not trusted: lines are bounded and escaped, and who sends more
 * than its share waits.
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
  /** Takes one line of this client, printable and without its newline; false when it could not, and is to be tried again. */
  readonly write: (client: string, line: string) => boolean;
  readonly clock: Clock;
}

/** Below what journald takes from a service without dropping anything: RateLimitBurst= in journald.conf(5). */
const LINES_PER_SECOND = 250;
/** So many at once, after some quiet. */
const BURST = 1000;
const WAIT_MS = 100;
const MAX_CONNECTIONS = 256;
/** Of one client: `vsock-proxy enclave` has one, and a few more while it connects again. */
const MAX_CONNECTIONS_PER_CLIENT = 16;
/** The introduction comes with the connection. */
const INTRODUCTION_MS = 10_000;
/** So many clients have their shares remembered. */
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
  /** What could not be written yet. */
  let waiting: string | undefined;
  let cancelTimer = clock.setTimer(INTRODUCTION_MS, () => socket.destroy());

  /** @returns false: not now */
  const writeWaiting = (): boolean => {
    if (waiting === undefined || client === undefined) return true;
    // An empty line is not written, but it costs its sender as much as any other, since it costs us as much.
    if (!client.takeToken() || (waiting !== '' && !write(client.name, waiting))) return false;
    waiting = undefined;
    return true;
  };
  const put = (line: Buffer): boolean => {
    waiting = escapeControls(line.toString());
    return writeWaiting();
  };
  /** @returns false: not all of it now */
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

/** The client of an introduction, and of nothing else. */
function introduced(line: Buffer, secret: string): string | undefined {
  const expected = Buffer.from(`${secret} `);
  const given = line.subarray(0, expected.length);
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined;
  return line.subarray(expected.length).toString();
}

/** What one client may do: so many connections, and lines by a bucket of tokens. */
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

  /** @returns false: it has enough */
  connect(): boolean {
    if (this.#connections >= MAX_CONNECTIONS_PER_CLIENT) return false;
    this.#connections += 1;
    return true;
  }

  disconnect(): void {
    this.#connections -= 1;
  }

  /** Takes what one line costs, if it is there. */
  takeToken(): boolean {
    const now = this.#clock.now();
    this.#tokens = Math.min(BURST, this.#tokens + ((now - this.#filledAt) * LINES_PER_SECOND) / 1000);
    this.#filledAt = now;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
