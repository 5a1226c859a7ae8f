/** The admission and the limits per client of the data plane in memory. */
import { BlockList } from 'node:net';
import type { Fault, ListenSpec, SocketAddress } from '../../src/dataplane/contract.ts';
import type { Clock } from '../../src/platform/clock.ts';

type Limits = Pick<ListenSpec, 'admission' | 'limits'>;

export class FakeClients {
  readonly #limits: Limits;
  readonly #clock: Clock;
  readonly #open = new Map<string, number>();
  /** How many more connections, and when that was counted. */
  readonly #tokens = new Map<string, { count: number; at: number }>();

  constructor(limits: Limits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
  }

  /** @returns the reason if the client is refused; otherwise the caller must let it leave later */
  enter(client: SocketAddress): Extract<Fault, { readonly client: SocketAddress }>['kind'] | undefined {
    const { connectionsPerClient, ratePerClient } = this.#limits.limits;
    if (!this.#admits(client)) return 'not-admitted';
    const key = keyOfClient(client);
    const open = this.#open.get(key) ?? 0;
    if (connectionsPerClient > 0 && open >= connectionsPerClient) return 'client-limit';
    if (ratePerClient > 0 && !this.#takeToken(key, ratePerClient)) return 'client-rate';
    this.#open.set(key, open + 1);
    return undefined;
  }

  leave(client: SocketAddress): void {
    const key = keyOfClient(client);
    const open = (this.#open.get(key) ?? 0) - 1;
    if (open > 0) this.#open.set(key, open);
    else this.#open.delete(key);
  }

  #admits(client: SocketAddress): boolean {
    const { cids, sources } = this.#limits.admission;
    if (cids !== undefined && !(client.family === 'vsock' && cids.includes(client.cid))) return false;
    if (sources === undefined) return true;
    if (client.family !== 'tcp') return false;
    const list = new BlockList();
    for (const { ip, prefixLength } of sources) list.addSubnet(ip, prefixLength, ip.includes(':') ? 'ipv6' : 'ipv4');
    return list.check(client.ip, client.ip.includes(':') ? 'ipv6' : 'ipv4');
  }

  #takeToken(key: string, rate: number): boolean {
    const now = this.#clock.now();
    const { count, at } = this.#tokens.get(key) ?? { count: rate, at: now };
    const left = Math.min(rate, count + ((now - at) * rate) / 1000);
    this.#tokens.set(key, { count: left >= 1 ? left - 1 : left, at: now });
    return left >= 1;
  }
}

/** The key that identifies a client. */
export function keyOfClient(client: SocketAddress): string {
  switch (client.family) {
    case 'vsock':
      return `cid ${client.cid}`;
    case 'tcp':
      return client.ip;
    case 'unix':
      return 'unix';
  }
}
