/** What a listener has counted, in the data plane and here. It goes on over reloads, which replace the listener. */
import type { Histogram, ListenerCounters, ListenerId } from '../dataplane/contract.ts';
import type { HttpCounters } from './handlers/dispatcher.ts';
import type { Route } from './route.ts';

export interface Figures {
  readonly counters: ListenerCounters;
  /** For `route: http`. */
  readonly http?: HttpCounters;
  /** The number of refused targets by kind; absent if clients name none. */
  readonly denials?: Readonly<Record<string, number>>;
  /** The last connection that failed. */
  readonly lastFailure?: LastFailure;
}

export interface LastFailure {
  readonly at: Date;
  readonly problem: string;
}

/** Where the figures of one listener are read. */
export interface FiguresSource {
  readonly counters: ReadonlyMap<ListenerId, ListenerCounters>;
  readonly denialsOf: (listener: ListenerId) => Readonly<Record<string, number>>;
  readonly lastFailure: (listener: ListenerId) => LastFailure | undefined;
}

/** @returns undefined if the data plane does not know the listener */
export function readFigures(id: ListenerId, { handler }: Route, source: FiguresSource): Figures | undefined {
  const counters = source.counters.get(id);
  if (counters === undefined) return undefined;
  const http = handler?.http?.(counters);
  const lastFailure = source.lastFailure(id);
  return {
    counters,
    ...(http && { http }),
    ...(handler && { denials: source.denialsOf(id) }),
    ...(lastFailure && { lastFailure }),
  };
}

/** The figures of a listener together with those of a predecessor on its socket, which may have had another route. */
export function addFigures(own: Figures, earlier: Figures): Figures {
  const lastFailure = later(own.lastFailure, earlier.lastFailure);
  return {
    counters: addCounters(own.counters, earlier.counters),
    ...(own.http && { http: earlier.http === undefined ? own.http : addHttp(own.http, earlier.http) }),
    ...(own.denials && { denials: addRecords(own.denials, earlier.denials ?? {}) }),
    ...(lastFailure && { lastFailure }),
  };
}

function later(one: LastFailure | undefined, other: LastFailure | undefined): LastFailure | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return one.at < other.at ? other : one;
}

function addHttp(one: HttpCounters, other: HttpCounters): HttpCounters {
  return { methods: addRecords(one.methods, other.methods), statuses: addRecords(one.statuses, other.statuses) };
}

/** Only one of the two can have a client that waits: the one whose socket is open. */
function addCounters(one: ListenerCounters, other: ListenerCounters): ListenerCounters {
  return {
    listener: one.listener,
    accepted: one.accepted + other.accepted,
    active: one.active + other.active,
    bytesUp: one.bytesUp + other.bytesUp,
    bytesDown: one.bytesDown + other.bytesDown,
    closed: addRecords(one.closed, other.closed),
    limitHits: one.limitHits + other.limitHits,
    limitWaitMs: one.limitWaitMs + other.limitWaitMs,
    waitingMs: Math.max(one.waitingMs, other.waitingMs),
    connect: addHistograms(one.connect, other.connect),
    duration: addHistograms(one.duration, other.duration),
    queued: addHistograms(one.queued, other.queued),
    decisionsCached: one.decisionsCached + other.decisionsCached,
    decisionsRequested: one.decisionsRequested + other.decisionsRequested,
    exchangesCached: one.exchangesCached + other.exchangesCached,
    answers: addLists(one.answers, other.answers),
  };
}

/** All histograms have the same bounds. */
function addHistograms(one: Histogram, other: Histogram): Histogram {
  return { bounds: one.bounds, counts: addLists(one.counts, other.counts), sum: one.sum + other.sum };
}

function addLists(one: readonly number[], other: readonly number[]): readonly number[] {
  return one.map((value, index) => value + (other[index] ?? 0));
}

function addRecords<Key extends string>(
  one: Readonly<Record<Key, number>>,
  other: Readonly<Record<Key, number>>,
): Readonly<Record<Key, number>> {
  const sum: Record<Key, number> = { ...one };
  for (const key of Object.keys(other) as Key[]) sum[key] = (sum[key] ?? 0) + other[key];
  return sum;
}
