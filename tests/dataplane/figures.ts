/** Figures of the data plane in memory. */
import type { ClientCounters, ClientKey, CloseReason, Histogram, SocketAddress } from '../../src/dataplane/contract.ts';
import { NAMES } from '../../src/dataplane/names.ts';
import { keyOfClient } from './clients.ts';

/** The bounds of the addon (native/core/messages.h): the suite compares them. */
export const BOUNDS = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60, 600, 3600];

/** The number of connections for each close reason; 0 for those that are not given. */
export function closedCounts(given: Partial<Record<CloseReason, number>> = {}): Record<CloseReason, number> {
  const reasons = Object.keys(NAMES.closeReasons) as CloseReason[];
  return Object.fromEntries(reasons.map((reason) => [reason, given[reason] ?? 0])) as Record<CloseReason, number>;
}

export class FakeHistogram {
  readonly #counts = BOUNDS.map(() => 0).concat(0);
  #sum = 0;

  observe(ms: number): void {
    const seconds = ms / 1000;
    const index = BOUNDS.findIndex((bound) => seconds <= bound);
    const slot = index < 0 ? BOUNDS.length : index;
    this.#counts[slot] = (this.#counts[slot] ?? 0) + 1;
    this.#sum += seconds;
  }

  read(): Histogram {
    return { bounds: BOUNDS, counts: [...this.#counts], sum: this.#sum };
  }
}

type Totals = Record<Exclude<keyof ClientCounters, 'client'>, number>;

/** What each client did on all listeners. */
export class FakeClientTotals {
  readonly #clients = new Map<string, { readonly client: ClientKey; readonly totals: Totals }>();

  of(address: SocketAddress): Totals {
    const key = keyOfClient(address);
    let entry = this.#clients.get(key);
    if (entry === undefined) {
      entry = { client: toKey(address), totals: { active: 0, accepted: 0, refused: 0, bytesUp: 0, bytesDown: 0 } };
      this.#clients.set(key, entry);
    }
    return entry.totals;
  }

  read(): readonly ClientCounters[] {
    return [...this.#clients.values()]
      .map(({ client, totals }) => ({ client, ...totals }))
      .sort((one, other) => other.active - one.active || other.accepted - one.accepted);
  }
}

function toKey(address: SocketAddress): ClientKey {
  switch (address.family) {
    case 'vsock':
      return { family: 'vsock', cid: address.cid };
    case 'tcp':
      return { family: 'tcp', ip: address.ip };
    case 'unix':
      return { family: 'unix' };
  }
}
