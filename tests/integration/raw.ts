/** Clients and servers of plain bytes, each character of a text the byte of its number. */
import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { createServer, connect as dial, type Server, type Socket } from 'node:net';

export type Dial =
  | { readonly path: string }
  | { readonly host: string; readonly port: number; readonly localAddress?: string };

const PATIENCE_MS = 30_000;

/** A connection that collects what comes. */
export class Client implements Disposable {
  readonly socket: Socket;
  received = '';
  /** `EOF`, the code of an error, or undefined while the server's half is open. */
  ending: string | undefined;
  readonly #watchers = new Set<() => void>();

  private constructor(to: Dial) {
    this.socket = dial({ ...to, allowHalfOpen: true });
    this.socket.setEncoding('latin1').on('data', (text: string) => {
      this.received += text;
      this.#tell();
    });
    this.socket.on('end', () => this.#end('EOF'));
    this.socket.on('error', (error: NodeJS.ErrnoException) => this.#end(error.code ?? error.message));
  }

  /** Resolves once it is connected, be it that it was reset at once. */
  static async open(to: Dial): Promise<Client> {
    const client = new Client(to);
    await new Promise<void>((resolve, reject) => {
      client.socket.once('connect', resolve);
      client.socket.once('error', (error: NodeJS.ErrnoException) => {
        if (error.code === 'ECONNRESET') resolve();
        else reject(error);
      });
    });
    return client;
  }

  send(text: string): void {
    this.socket.write(text, 'latin1');
  }

  /** Resolves to all that has come, as soon as `pattern` matches in it. @throws Error when it ends without */
  async receives(pattern: RegExp): Promise<string> {
    await this.#until(() => pattern.test(this.received) || this.ending !== undefined);
    assert.match(this.received, pattern, `before ${this.ending}`);
    return this.received;
  }

  /** Resolves to how it ended. */
  async ended(): Promise<string> {
    await this.#until(() => this.ending !== undefined);
    return this.ending ?? '';
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }

  #until(isSo: () => boolean): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const look = () => {
      if (isSo()) resolve();
    };
    const late = () => reject(new Error(`no more within ${PATIENCE_MS} ms than: ${this.received}`));
    const timer = setTimeout(late, PATIENCE_MS);
    this.#watchers.add(look);
    look();
    return promise.finally(() => {
      clearTimeout(timer);
      this.#watchers.delete(look);
    });
  }

  #end(how: string): void {
    this.ending ??= how;
    this.#tell();
  }

  #tell(): void {
    for (const watcher of this.#watchers) watcher();
  }
}

/** What comes back for these bytes, until the proxy ends the connection; `end`: the client's half is ended behind them. */
export async function ask(to: Dial, bytes: string, end = false): Promise<string> {
  using client = await Client.open(to);
  client.send(bytes);
  if (end) client.socket.end();
  await client.ended();
  return client.received;
}

/** A server whose callback gets the bytes of each client and writes the answer. */
export interface RawServer extends AsyncDisposable {
  /** What each connection has sent, in the order in which they came. */
  readonly received: string[];
  /** Resolves once so many connections have come, since {@link clear}, and ended. */
  ended(connections: number): Promise<void>;
  /** Forgets what it has received. */
  clear(): void;
}

/** @param onData with all that this connection has sent so far */
export async function startRawServer(
  ip: string,
  port: number,
  onData: (socket: Socket, all: string) => void,
): Promise<RawServer> {
  let received: string[] = [];
  let ended = 0;
  const sockets = new Set<Socket>();
  const endings = new EventEmitter();
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    const own = received;
    const index = own.push('') - 1;
    socket.setEncoding('latin1').on('data', (text: string) => {
      own[index] += text;
      onData(socket, own[index] ?? '');
    });
    socket.on('end', () => socket.end());
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      sockets.delete(socket);
      if (own === received) ended += 1;
      endings.emit('one');
    });
  });
  server.listen(port, ip);
  await once(server, 'listening');
  return {
    get received() {
      return received;
    },
    async ended(connections) {
      while (ended < connections) await once(endings, 'one');
    },
    clear() {
      received = [];
      ended = 0;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
