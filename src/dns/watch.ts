/** Keeps one name resolved: refreshes the answer before it expires, and serves it stale if that fails. */

import type { Hostname } from '../access/address.ts';
import { type Clock, systemClock } from '../platform/clock.ts';
import type { VsockProxyError } from '../platform/errors.ts';
import { toError } from './failure.ts';
import { lifetimeOf, outlast, REFRESH_AT, type Remembered, renew, retryAfter } from './lifetime.ts';
import type { Answer, Family, Resolver } from './resolver.ts';

export interface WatchOptions {
  readonly resolver: Resolver;
  /** Default: the system's clock. */
  readonly clock?: Clock;
  /** From 0 to below 1; default: `Math.random`. */
  readonly random?: () => number;
  /** The last good answer of an earlier watch, which is used until there is a new one. */
  readonly initial?: Remembered | undefined;
}

/** Events of a watched name. The functions must not throw. */
export interface WatchEvents {
  /** A query starts. */
  onQuery?(): void;
  /**
   * After every successful query. `changed`: the addresses differ from those before, or are the first; another order is
   * no change.
   */
  onAnswer(answer: Answer, news: { readonly changed: boolean; readonly failuresBefore: number }): void;
  /**
   * After every failed query. `staleMs`: the age of the answer that stays in use; undefined if there is none yet, or no
   * longer (lifetime.ts). `retryMs`: the time until the next query. `failures`: the number of failures in a row,
   * including this one.
   */
  onFailure(
    error: VsockProxyError,
    state: { readonly staleMs: number | undefined; readonly retryMs: number; readonly failures: number },
  ): void;
}

export interface Watch {
  /** The last good answer. */
  last(): Remembered | undefined;
  /** Ends the watch. No event follows. Idempotent. */
  stop(): void;
}

/** Refreshes and retries come earlier by up to this part, so that many proxies do not send queries in step. */
const JITTER = 0.1;

/** Starts the first query at once. No event comes before this function returns. */
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
    const renewed = renew(fresh, last, clock.now());
    const { answer } = renewed;
    const news = { changed: !sameAddresses(answer, last?.answer), failuresBefore: failures };
    last = renewed;
    failures = 0;
    cancelTimer = clock.setTimer(lifetimeOf(answer) * REFRESH_AT * (1 - JITTER * random()), query);
    events.onAnswer(answer, news);
  };

  const fail = (reason: unknown): void => {
    if (stopping.signal.aborted) return;
    const error = toError(reason, name);
    last = outlast(last, error, clock.now());
    failures += 1;
    const retryMs = retryAfter(failures) * (1 - JITTER * random());
    cancelTimer = clock.setTimer(retryMs, query);
    const staleMs = last === undefined ? undefined : clock.now() - last.at;
    events.onFailure(error, { staleMs, retryMs, failures });
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

/** Servers rotate the order, and a new order alone is no change. */
function sameAddresses(answer: Answer, before: Answer | undefined): boolean {
  const texts = ({ addresses }: Answer) =>
    addresses
      .map((ip) => ip.text)
      .sort()
      .join();
  return before !== undefined && texts(answer) === texts(before);
}
