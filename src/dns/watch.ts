/** Keeps one name resolved: refreshed before it expires, and served stale while it cannot be. */

import { type Clock, systemClock } from '../clock.ts';
import { VsockProxyError } from '../errors.ts';
import type { Hostname } from '../policy/address.ts';
import type { Answer, Family, Resolver } from './resolver.ts';

export interface WatchOptions {
  readonly resolver: Resolver;
  /** Default: the system's clock. */
  readonly clock?: Clock;
  /** From 0 to below 1; default: `Math.random`. */
  readonly random?: () => number;
  /** The last good answer of an earlier watch, which is served until there is a fresh one. */
  readonly initial?: Remembered | undefined;
}

/** An answer, and when it was given. */
export interface Remembered {
  readonly answer: Answer;
  readonly at: number;
}

/** What happens while a name is watched. They must not throw. */
export interface WatchEvents {
  /** A query starts. */
  onQuery?(): void;
  /** After every successful query. `changed`: other addresses than before, as with the first; the order is no change. */
  onAnswer(answer: Answer, news: { readonly changed: boolean; readonly failuresBefore: number }): void;
  /**
   * After every failed query. `staleMs`: how long ago the answer that stays in use was given; undefined when there is
   * none yet. `retryMs`: when the next query follows. `failures`: how many in a row, this one included.
   */
  onFailure(
    error: VsockProxyError,
    state: { readonly staleMs: number | undefined; readonly retryMs: number; readonly failures: number },
  ): void;
}

export interface Watch {
  /** The last good answer. */
  last(): Remembered | undefined;
  /** Ends it: no event follows. Idempotent. */
  stop(): void;
}

/** A TTL outside of these would mean a flood of queries, or addresses that are long gone. */
const SHORTEST_TTL_MS = 5_000;
const LONGEST_TTL_MS = 300_000;
/** How soon an answer without one of the families is asked for again. */
const INCOMPLETE_TTL_MS = 10_000;
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 30_000;
/** Refreshed when so much of the TTL is over, or a little sooner, so that many proxies do not ask in step. */
export const REFRESH_AT = 0.8;
const JITTER = 0.1;

/** Starts the first query at once; no event comes before this returns. */
export function watchName(name: Hostname, family: Family, options: WatchOptions, events: WatchEvents): Watch {
  const { resolver, clock = systemClock, random = Math.random, initial } = options;
  const stopping = new AbortController();
  let last = initial;
  let failures = 0;
  let cancelTimer: (() => void) | undefined;

  const query = (): void => {
    if (stopping.signal.aborted) return;
    events.onQuery?.();
    void resolver.resolve(name, family, stopping.signal).then(succeed, fail);
  };

  const succeed = (fresh: Answer): void => {
    if (stopping.signal.aborted) return;
    const answer = completed(fresh, last?.answer);
    const news = { changed: !sameAddresses(answer, last?.answer), failuresBefore: failures };
    last = { answer, at: clock.now() };
    failures = 0;
    cancelTimer = clock.setTimer(lifetimeOf(answer) * REFRESH_AT * (1 - JITTER * random()), query);
    events.onAnswer(answer, news);
  };

  const fail = (reason: unknown): void => {
    if (stopping.signal.aborted) return;
    failures += 1;
    const retryMs = retryAfter(failures) * (1 - JITTER * random());
    cancelTimer = clock.setTimer(retryMs, query);
    const staleMs = last === undefined ? undefined : clock.now() - last.at;
    events.onFailure(toError(reason, name), { staleMs, retryMs, failures });
  };

  queueMicrotask(() => {
    if (initial !== undefined && !stopping.signal.aborted) {
      events.onAnswer(initial.answer, { changed: true, failuresBefore: 0 });
    }
    query();
  });
  return {
    last: () => last,
    stop() {
      stopping.abort();
      cancelTimer?.();
    },
  };
}

/** How long an answer is used, in milliseconds: its TTL within limits. */
export function lifetimeOf({ ttlMs, incomplete }: Answer): number {
  const longest = incomplete === undefined ? LONGEST_TTL_MS : INCOMPLETE_TTL_MS;
  return Math.min(Math.max(ttlMs, SHORTEST_TTL_MS), longest);
}

/** How long after so many failures in a row the next query follows. */
export function retryAfter(failures: number): number {
  return Math.min(FIRST_RETRY_MS * 2 ** (failures - 1), LONGEST_RETRY_MS);
}

/** An answer without one family keeps the addresses of that family from the answer before. */
export function completed(fresh: Answer, before: Answer | undefined): Answer {
  const missing = fresh.incomplete?.missing;
  const kept = before?.addresses.filter((ip) => ip.family === missing) ?? [];
  return { ...fresh, addresses: missing === 4 ? [...kept, ...fresh.addresses] : [...fresh.addresses, ...kept] };
}

/** Servers rotate the order; that alone is no change. */
function sameAddresses(answer: Answer, before: Answer | undefined): boolean {
  const texts = ({ addresses }: Answer) =>
    addresses
      .map((ip) => ip.text)
      .sort()
      .join();
  return before !== undefined && texts(answer) === texts(before);
}

export function toError(reason: unknown, name: Hostname): VsockProxyError {
  if (reason instanceof VsockProxyError) return reason;
  return new VsockProxyError('resolve-failed', `Could not resolve ${name}: ${String(reason)}`, { cause: reason });
}
