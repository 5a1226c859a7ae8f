/** Keeps one name resolved: refreshed before it expires, and served stale while it cannot be. */
import { VsockProxyError } from '../errors.ts';
import type { Hostname } from '../policy/address.ts';
import type { Clock } from './clock.ts';
import type { Answer, Family, Resolver } from './resolver.ts';

export interface WatchOptions {
  readonly resolver: Resolver;
  /** Default: the system's clock. */
  readonly clock?: Clock;
  /** From 0 to below 1; default: `Math.random`. */
  readonly random?: () => number;
}

/** What happens while a name is watched. They must not throw. */
export interface WatchEvents {
  /** A query starts. */
  onQuery?(): void;
  /** After every successful query. `changed`: the addresses differ from the last answer, as the first always does. */
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
  /** Ends it: no event follows. Idempotent. */
  stop(): void;
}

/** Starts the first query at once; no event comes before this returns. */
export function watchName(_name: Hostname, _family: Family, _options: WatchOptions, _events: WatchEvents): Watch {
  throw new VsockProxyError('internal', 'not yet written');
}
