import type * as Contract from '../system/sockets.ts';
import { systemError } from './errors.ts';
import { type Opened, READABLE, WRITABLE } from './host.ts';

export type Stream = Contract.Stream;
export type Connection = Contract.Connection;
export type StreamServer = Contract.StreamServer;
export type StreamAddress = Contract.StreamAddress;
export type VsockAddress = Contract.VsockAddress;
export type DatagramSocket = Contract.DatagramSocket;

const EAGAIN = -11;
/** As in Node.js: a writer should wait if this many bytes are queued. */
const HIGH_WATER_BYTES = 16 * 1024;
/** The size of one read, and of the longest datagram. */
const BLOCK = new Uint8Array(64 * 1024);
/** How many datagrams are read before other events get their turn. */
const MOST_AT_ONCE = 64;
/** How long a server waits after an accept(2) that failed. */
const REST_MS = 100;

type Listener = (...args: never[]) => void;

/** The listeners of each event. */
class Listeners {
  readonly #listeners = new Map<string, Listener[]>();

  add(event: string, listener: Listener): void {
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), listener]);
  }

  tell(event: string, ...args: readonly unknown[]): void {
    for (const listener of this.#listeners.get(event) ?? []) Reflect.apply(listener, undefined, args);
  }
}

/** Bytes on their way, and whom to tell when they are sent, or never will be. */
interface Piece {
  readonly bytes: Uint8Array;
  readonly done: (() => void) | undefined;
}

class Socket implements Connection {
  readonly #fd: number;
  readonly #isPipe: boolean;
  readonly #listeners = new Listeners();
  readonly #allowHalfOpen: boolean;
  readonly #queue: Piece[] = [];
  /** The number of bytes of the first queued piece that are sent. */
  #sent = 0;
  #queued = 0;
  #connecting: boolean;
  #flowing = false;
  #ending = false;
  #readEnded = false;
  #drains = false;
  #watched = 0;
  #idle: { readonly ms: number; readonly listener: () => void } | undefined;
  #active = 0;
  #timer: number | undefined;
  destroyed = false;

  constructor(fd: number, how: 'connecting' | 'connected' | 'pipe', { allowHalfOpen } = { allowHalfOpen: false }) {
    this.#fd = fd;
    this.#allowHalfOpen = allowHalfOpen;
    this.#isPipe = how === 'pipe';
    this.#connecting = how === 'connecting';
    this.#watch();
  }

  on(event: string, listener: Listener): this {
    this.#listeners.add(event, listener);
    if (event === 'data') this.resume();
    return this;
  }

  once(event: 'close', listener: () => void): this {
    return this.on(event, listener); // the event comes only once
  }

  get writable(): boolean {
    return !this.destroyed && !this.#ending && !this.#isPipe;
  }

  get writableLength(): number {
    return this.#queued;
  }

  write(data: Uint8Array | string, done?: () => void): boolean {
    if (!this.writable) {
      if (done !== undefined) queueMicrotask(done);
      return false;
    }
    const bytes = typeof data === 'string' ? host.encode(data) : data;
    this.#queue.push({ bytes, done });
    this.#queued += bytes.length;
    if (!this.#connecting) this.#send();
    if (this.#queued >= HIGH_WATER_BYTES) this.#drains = true;
    return !this.#drains;
  }

  end(): void {
    if (!this.writable) return;
    this.#ending = true;
    if (!this.#connecting) this.#send();
  }

  destroy(error?: Error): void {
    if (this.destroyed) return;
    this.destroyed = true;
    if (this.#watched !== 0) host.unwatch(this.#fd);
    if (this.#timer !== undefined) host.clearTimer(this.#timer);
    if (this.#fd >= 0) host.closeFile(this.#fd);
    queueMicrotask(() => {
      for (const { done } of this.#queue.splice(0)) done?.();
      if (error !== undefined) this.#listeners.tell('error', error);
      this.#listeners.tell('close');
    });
  }

  pause(): void {
    this.#flowing = false;
    this.#watch();
  }

  resume(): void {
    this.#flowing = true;
    this.#watch();
  }

  setTimeout(ms: number, listener: () => void): void {
    this.#idle = { ms, listener };
    this.#active = host.now();
    this.#awaitIdle(ms);
  }

  #awaitIdle(ms: number): void {
    this.#timer = host.setTimer(ms, () => {
      this.#timer = undefined;
      if (this.#idle === undefined) return;
      const left = this.#active + this.#idle.ms - host.now();
      if (left > 0) this.#awaitIdle(left);
      else this.#idle.listener();
    });
  }

  /** The watched events follow from the state. */
  #watch(): void {
    if (this.destroyed) return;
    const reads = this.#flowing && !this.#readEnded && !this.#connecting;
    const writes = this.#connecting || this.#queue.length > 0;
    const events = (reads ? READABLE : 0) | (writes ? WRITABLE : 0);
    if (events === this.#watched) return;
    if (events === 0) host.unwatch(this.#fd);
    else if (this.#watched !== 0) host.rewatch(this.#fd, events);
    else host.watch(this.#fd, events, () => this.#onReady());
    this.#watched = events;
  }

  #onReady(): void {
    this.#active = host.now();
    if (this.#connecting) {
      const error = host.connectOutcome(this.#fd);
      if (error !== 0) {
        this.destroy(systemError(-error, 'connect'));
        return;
      }
      this.#connecting = false;
      this.#listeners.tell('connect');
    }
    this.#send();
    if (this.#flowing && !this.#readEnded) this.#receive();
    this.#watch();
  }

  #send(): void {
    for (let first = this.#queue[0]; first !== undefined && !this.destroyed; first = this.#queue[0]) {
      const sent = host.send(this.#fd, first.bytes, this.#sent);
      if (sent === EAGAIN) break;
      if (sent < 0) {
        this.destroy(systemError(sent, 'write'));
        return;
      }
      this.#sent += sent;
      this.#queued -= sent;
      if (this.#sent < first.bytes.length) continue;
      this.#queue.shift();
      if (first.done !== undefined) queueMicrotask(first.done);
      this.#sent = 0;
    }
    if (this.destroyed) return;
    if (this.#queue.length === 0) {
      if (this.#ending) host.shutdownWrite(this.#fd);
      if (this.#ending && this.#readEnded) this.destroy();
      if (this.#drains) {
        this.#drains = false;
        queueMicrotask(() => this.#listeners.tell('drain'));
      }
    }
    this.#watch();
  }

  #receive(): void {
    if (this.destroyed) return;
    const count = this.#isPipe ? host.readFile(this.#fd, BLOCK) : host.receive(this.#fd, BLOCK);
    if (count > 0) this.#listeners.tell('data', Buffer.from(BLOCK.subarray(0, count)));
    else if (count === 0) this.#endReading();
    else if (count !== EAGAIN) this.destroy(systemError(count, 'read'));
  }

  #endReading(): void {
    this.#readEnded = true;
    this.#listeners.tell('end');
    if (this.#isPipe || (this.#ending && this.#queue.length === 0)) this.destroy();
    else if (!this.#allowHalfOpen) this.end();
  }
}

export const connect: typeof Contract.connect = (to) => {
  const { fd, error } = 'path' in to ? host.startConnect(to.path) : host.startConnect(to.host, to.port);
  const socket = new Socket(fd, 'connecting');
  if (fd < 0) socket.destroy(systemError(-error, 'connect'));
  return socket;
};

export const readPipe: typeof Contract.readPipe = (fd) => {
  host.unblock(fd);
  return new Socket(fd, 'pipe');
};

export const createServer: typeof Contract.createServer = (options, onConnection) => new Server(options, onConnection);

class Server implements StreamServer {
  readonly #options: Contract.ServerOptions;
  readonly #onConnection: (connection: Connection) => void;
  readonly #listeners = new Listeners();
  #fd = -1;
  #open = 0;
  #path: string | undefined;
  #onClosed: (() => void) | undefined;
  maxConnections = Number.POSITIVE_INFINITY;

  constructor(options: Contract.ServerOptions, onConnection: (connection: Connection) => void) {
    this.#options = options;
    this.#onConnection = onConnection;
  }

  listen(address: StreamAddress | VsockAddress): void {
    this.#path = 'path' in address ? address.path : undefined;
    this.#fd = opened(this.#listeners, listenOn(address), 'listen', () => {
      for (let taken = 0; taken < MOST_AT_ONCE && this.#accept(); taken += 1);
    });
  }

  #accept(): boolean {
    if (this.#fd < 0) return false;
    const { fd, error } = host.acceptFrom(this.#fd);
    if (fd < 0) {
      if (error !== -EAGAIN) this.#rest();
      return false;
    }
    if (this.#open >= this.maxConnections) {
      host.closeFile(fd);
      this.#listeners.tell('drop');
      return true;
    }
    this.#open += 1;
    const socket = new Socket(fd, 'connected', this.#options);
    socket.on('close', () => {
      this.#open -= 1;
      this.#tellClosed();
    });
    this.#onConnection(socket);
    return true;
  }

  /** accept(2) lacks descriptors, for example. The client stays in the queue, and the loop must not spin. */
  #rest(): void {
    host.rewatch(this.#fd, 0);
    host.setTimer(REST_MS, () => {
      if (this.#fd >= 0) host.rewatch(this.#fd, READABLE);
    });
  }

  once(event: 'listening', listener: () => void): void {
    this.#listeners.add(event, listener);
  }

  on(event: 'error' | 'drop', listener: Listener): void {
    this.#listeners.add(event, listener);
  }

  address(): string | { readonly port: number } | null {
    if (this.#fd < 0) return null;
    return this.#path ?? { port: host.portOf(this.#fd) };
  }

  close(done?: () => void): void {
    if (this.#fd >= 0 && this.#path !== undefined) host.removeFile(this.#path);
    this.#fd = closed(this.#fd);
    this.#onClosed = done;
    this.#tellClosed();
  }

  #tellClosed(): void {
    const done = this.#onClosed;
    if (done === undefined || this.#fd >= 0 || this.#open > 0) return;
    this.#onClosed = undefined;
    queueMicrotask(done);
  }
}

function listenOn(address: StreamAddress | VsockAddress): Opened {
  if ('path' in address) return host.listenOn(address.path);
  if ('vsock' in address) return host.listenOn(address.vsock.cid, address.vsock.port);
  return host.listenOn(address.host, address.port);
}

export const createSocket: typeof Contract.createSocket = () => new Datagrams();

class Datagrams implements DatagramSocket {
  readonly #listeners = new Listeners();
  #fd = -1;

  bind({ address, port }: { readonly address: string; readonly port: number }): void {
    this.#fd = opened(this.#listeners, host.bindDatagrams(address, port), 'bind', () => {
      for (let taken = 0; taken < MOST_AT_ONCE && this.#receive(); taken += 1);
    });
  }

  #receive(): boolean {
    if (this.#fd < 0) return false;
    const { length, ip, port } = host.receiveDatagram(this.#fd, BLOCK);
    if (length < 0) return false;
    this.#listeners.tell('message', Buffer.from(BLOCK.subarray(0, length)), { address: ip, port });
    return true;
  }

  once(event: 'listening', listener: () => void): void {
    this.#listeners.add(event, listener);
  }

  on(event: 'error' | 'message', listener: Listener): void {
    this.#listeners.add(event, listener);
  }

  send(bytes: Uint8Array, port: number, address: string): void {
    const sent = host.sendDatagramTo(this.#fd, bytes, address, port);
    if (sent < 0) queueMicrotask(() => this.#listeners.tell('error', systemError(sent, 'send')));
  }

  close(): void {
    this.#fd = closed(this.#fd);
  }
}

/** @returns the descriptor, and reports when it is readable */
function opened(listeners: Listeners, { fd, error }: Opened, syscall: string, onReady: () => void): number {
  if (fd >= 0) host.watch(fd, READABLE, onReady);
  queueMicrotask(() => {
    if (error === 0) listeners.tell('listening');
    else listeners.tell('error', systemError(-error, syscall));
  });
  return fd;
}

function closed(fd: number): -1 {
  if (fd < 0) return -1;
  host.unwatch(fd);
  host.closeFile(fd);
  return -1;
}
