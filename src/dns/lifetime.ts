/**
 * How long an answer is used. One rule serves the names of fixed routes and those that clients request.
 *
 * An answer is used for its TTL, within limits. If it cannot be renewed, it stays in use (RFC 8767) for up to three
 * days. A DNS server that fails on a Friday evening then stops nobody before Monday, and addresses that are long gone
 * are not dialled for ever. If the servers say that the name does not exist, the answer is dropped at once.
 */
import type { VsockProxyError } from '../platform/errors.ts';
import { isDefinitive } from './failure.ts';
import type { Answer } from './resolver.ts';

/** The last good answer. */
export interface Remembered {
  readonly answer: Answer;
  /** The time of the answer. */
  readonly at: number;
  /**
   * The time when the addresses of both families were answered. Those of one family may come from an earlier answer.
   */
  readonly wholeAt: number;
}

/** A shorter TTL would cause a flood of queries. A longer one would keep addresses that are long gone. */
const SHORTEST_TTL_MS = 5_000;
const LONGEST_TTL_MS = 300_000;
/** After this time, an answer that lacks one of the families is requested again. */
const INCOMPLETE_TTL_MS = 10_000;
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 30_000;
/** RFC 8767 section 5 suggests one to three days. */
export const LONGEST_STALE_MS = 3 * 24 * 3_600_000;
/** The part of the TTL after which an answer is refreshed. */
export const REFRESH_AT = 0.8;

/** How long an answer is used without another query, in milliseconds. */
export function lifetimeOf({ ttlMs, incomplete }: Answer): number {
  const longest = incomplete === undefined ? LONGEST_TTL_MS : INCOMPLETE_TTL_MS;
  return Math.min(Math.max(ttlMs, SHORTEST_TTL_MS), longest);
}

/** The time until the next query, after this many failures in a row. */
export function retryAfter(failures: number): number {
  return Math.min(FIRST_RETRY_MS * 2 ** (failures - 1), LONGEST_RETRY_MS);
}

/** The answer to keep after a query. If one family is missing, its earlier addresses are kept. */
export function renew(fresh: Answer, last: Remembered | undefined, now: number): Remembered {
  const { missing } = fresh.incomplete ?? {};
  if (missing === undefined || last === undefined || now - last.wholeAt >= LONGEST_STALE_MS) {
    return { answer: fresh, at: now, wholeAt: now };
  }
  const kept = last.answer.addresses.filter(({ family }) => family === missing);
  const addresses = missing === 4 ? [...kept, ...fresh.addresses] : [...fresh.addresses, ...kept];
  return { answer: { ...fresh, addresses }, at: now, wholeAt: last.wholeAt };
}

/** The answer that stays in use after a failed query; undefined if there is none. */
export function outlast(
  last: Remembered | undefined,
  { errno = '' }: VsockProxyError,
  now: number,
): Remembered | undefined {
  return isDefinitive(errno) ? undefined : unlessTooOld(last, now);
}

export function unlessTooOld(last: Remembered | undefined, now: number): Remembered | undefined {
  return last !== undefined && now - last.at < LONGEST_STALE_MS ? last : undefined;
}
