/** A network in memory: streams, listening sockets, servers, clients, silent addresses. */

import type { SocketAddress } from '../../src/dataplane/contract.ts';
import { type Clock, systemClock } from '../../src/platform/clock.ts';
import type { Peer, Server } from './harness.ts';

/** One end of a stream in memory. */
export class FakeEnd implements Peer {
  readonly address: SocketAddress;
  readonly ended: Promise<'eof' | 'reset'>;
  ending: 'eof' | 'reset' | undefined;
  /** Bytes that have arrived and are not consumed. */
  unread: Buffer = Buffer.alloc(0);
  #received: Buffer = Buffer.alloc(0);
  #sentEof = false;
  #other: FakeEnd | undefined;
  readonly #watchers = new Set<() => void>();

  private constructor(address: SocketAddress) {
    this.address = address;
    this.ended = new Promise((resolve) => this.watch(() => this.ending !== undefined && resolve(this.ending)));
  }

  /** @param address of the first */
  static pair(address: SocketAddress): [FakeEnd, FakeEnd] {
    const [one, other] = [new FakeEnd(address), new FakeEnd(address)];
    one.#other = other;
    other.#other = one;
    return [one, other];
  }

  watch(watcher: () => void): void {
    this.#watchers.add(watcher);
  }

  /** The next bytes: so many of them, or all. */
  consume(count = this.unread.length): Buffer {
    const bytes = this.unread.subarray(0, count);
    this.unread = this.unread.subarray(count);
    return bytes;
  }

  write(data: string | Uint8Array): void {
    if (data.length === 0 || this.#sentEof || this.ending === 'reset') return;
    this.#tell((other) => {
      other.unread = Buffer.concat([other.unread, Buffer.from(data)]);
      other.#received = Buffer.concat([other.#received, Buffer.from(data)]);
    });
  }

  end(): void {
    if (this.#sentEof) return;
    this.#sentEof = true;
    this.#tell((other) => {
      other.ending ??= 'eof';
    });
  }

  reset(): void {
    this.#sentEof = true;
    this.#tell((other) => {
      other.ending = 'reset';
    });
  }

  /** All that has come. */
  get received(): string {
    return this.#received.toString();
  }

  receives(text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const check = () => {
        const { received } = this;
        if (received === text) resolve();
        else if (!text.startsWith(received) || this.ending !== undefined) {
          reject(new Error(`received ${JSON.stringify(received)}, ${this.ending}, not ${JSON.stringify(text)}`));
        }
      };
      this.watch(check);
      check();
    });
  }

  #tell(change: (other: FakeEnd) => void): void {
    const other = this.#other;
    if (other === undefined) return;
    change(other);
    for (const watcher of other.#watchers) watcher();
  }
}

/** A listening socket: a queue of clients, and the listeners of the data plane that accept from it. */
export class FakeSocket {
  readonly address: SocketAddress;
  readonly queue: { readonly client: FakeEnd; readonly since: number }[] = [];
  /** The last one accepts first. */
  readonly #listeners: (() => void)[] = [];
  readonly #network: FakeNetwork;
  /** Another process has it open too. */
  readonly #isShared: boolean;

  constructor(network: FakeNetwork, address: SocketAddress, isShared: boolean) {
    this.address = address;
    this.#network = network;
    this.#isShared = isShared;
    network.listening.set(keyOf(address), (client) => {
      this.queue.push({ client, since: network.clock.now() });
      this.#offer();
    });
  }

  /** @param accept takes what it can from the queue */
  open(accept: () => void): void {
    this.#listeners.push(accept);
    this.#offer();
  }

  /** The last one to close it ends the clients in the queue. */
  close(accept: () => void) {
    const index = this.#listeners.indexOf(accept);
    if (index >= 0) this.#listeners.splice(index, 1);
    if (this.#listeners.length > 0) return this.#offer();
    if (this.#isShared || index < 0) return;
    this.#network.listening.delete(keyOf(this.address));
    for (const { client } of this.queue.splice(0)) client.reset();
  }

  #offer(): void {
    for (const accept of this.#listeners.toReversed()) if (this.queue.length > 0) accept();
  }
}

export interface FakeNetworkOptions {
  readonly clock?: Clock;
  /** The errno of a bind that shall fail. */
  readonly bindErrno?: (on: SocketAddress) => string | undefined;
}

export class FakeNetwork {
  readonly clock: Clock;
  readonly bindErrno: (on: SocketAddress) => string | undefined;
  /** By key: listeners of the data plane, and servers. */
  readonly listening = new Map<string, (peer: FakeEnd) => void>();
  /** Sockets that another process listens on, by the descriptor that they are passed as. */
  readonly inherited = new Map<number, FakeSocket>();
  readonly #silent = new Set<string>();
  #lastPort = 10_000;

  constructor({ clock = systemClock, bindErrno = () => undefined }: FakeNetworkOptions = {}) {
    this.clock = clock;
    this.bindErrno = bindErrno;
  }

  freeAddress(): Promise<SocketAddress> {
    this.#lastPort += 1;
    return Promise.resolve({ family: 'tcp', ip: '127.0.0.1', port: this.#lastPort });
  }

  async silentAddress(): Promise<SocketAddress> {
    const address = await this.freeAddress();
    this.silence(address);
    return address;
  }

  /** Makes the address silent from now on. */
  silence(address: SocketAddress): void {
    this.#silent.add(keyOf(address));
  }

  /** A socket that another process listens on, and passes as this descriptor. */
  pass(fd: number, address: SocketAddress): void {
    this.inherited.set(fd, new FakeSocket(this, address, true));
  }

  async serve(): Promise<Server> {
    return this.serveAt(await this.freeAddress());
  }

  /** A server at an address of the test's choice. */
  serveAt(address: SocketAddress): Server {
    const arrived: FakeEnd[] = [];
    const awaited: ((peer: Peer) => void)[] = [];
    this.listening.set(keyOf(address), (peer) => {
      const waiting = awaited.shift();
      if (waiting === undefined) arrived.push(peer);
      else waiting(peer);
    });
    const accept = (): Promise<Peer> => {
      const peer = arrived.shift();
      return peer === undefined ? new Promise((resolve) => awaited.push(resolve)) : Promise.resolve(peer);
    };
    return { address, accept };
  }

  /** @param from the client's address */
  connect(to: SocketAddress, from: SocketAddress = { family: 'unix', path: '' }): Promise<FakeEnd> {
    const end = this.dial(to, from);
    return end instanceof FakeEnd ? Promise.resolve(end) : Promise.reject(new Error(`connect: ${end ?? 'silence'}`));
  }

  /** The caller's end, an errno, or undefined for silence. */
  dial(to: SocketAddress, from: SocketAddress): FakeEnd | string | undefined {
    if (this.#silent.has(keyOf(to))) return undefined;
    const accept = this.listening.get(keyOf(to));
    if (accept === undefined) return 'ECONNREFUSED';
    const [ours, theirs] = FakeEnd.pair(from);
    accept(theirs);
    return ours;
  }
}

/** An address as a key of maps. */
export function keyOf(address: SocketAddress): string {
  return JSON.stringify(Object.entries(address).sort());
}
