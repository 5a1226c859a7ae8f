/** A network in memory: streams, servers, clients, addresses that answer or do not. */
import type { SocketAddress, UpstreamAddress } from '../../src/dataplane/contract.ts';
import { type Clock, systemClock } from '../../src/dns/clock.ts';
import type { Peer, Server } from './stage.ts';

/** One end of a stream in memory. */
export class FakeEnd implements Peer {
  readonly address: SocketAddress;
  readonly ended: Promise<'eof' | 'reset'>;
  ending: 'eof' | 'reset' | undefined;
  #unread = '';
  #received = '';
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

  /** What has come since the last time. */
  takeUnread(): string {
    const text = this.#unread;
    this.#unread = '';
    return text;
  }

  write(text: string): void {
    if (text === '' || this.#sentEof || this.ending === 'reset') return;
    this.#tell((other) => {
      other.#unread += text;
      other.#received += text;
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

  receives(text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const check = () => {
        if (this.#received === text) resolve();
        else if (!text.startsWith(this.#received) || this.ending !== undefined) {
          reject(new Error(`received ${JSON.stringify(this.#received)}, ${this.ending}, not ${JSON.stringify(text)}`));
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

export interface FakeNetworkOptions {
  readonly clock?: Clock;
  /** The errno with which binding fails, if it is to. */
  readonly bindErrno?: (on: SocketAddress) => string | undefined;
}

export class FakeNetwork {
  readonly clock: Clock;
  readonly bindErrno: (on: SocketAddress) => string | undefined;
  /** By key: listeners of the data plane, and servers. */
  readonly listening = new Map<string, (peer: FakeEnd) => void>();
  readonly #silent = new Set<string>();
  #lastPort = 10_000;

  constructor({ clock = systemClock, bindErrno = () => undefined }: FakeNetworkOptions = {}) {
    this.clock = clock;
    this.bindErrno = bindErrno;
  }

  freeAddress(): Promise<UpstreamAddress> {
    this.#lastPort += 1;
    return Promise.resolve({ family: 'tcp', ip: '127.0.0.1', port: this.#lastPort });
  }

  async silentAddress(): Promise<UpstreamAddress> {
    const address = await this.freeAddress();
    this.#silent.add(keyOf(address));
    return address;
  }

  async serve(): Promise<Server> {
    return this.serveAt(await this.freeAddress());
  }

  /** A server at an address of the test's choice. */
  serveAt(address: UpstreamAddress): Server {
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
  connect(to: SocketAddress, from: SocketAddress = { family: 'unix', path: '' }): Promise<Peer> {
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
