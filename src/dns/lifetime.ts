/**
 * How long an answer is used: one rule for the names of fixed routes and for those that clients ask for.
 *
 * For its TTL, within limits; while it cannot be renewed, it is served on (RFC 8767): up to three days, so that a DNS server
 * which fails on a Friday evening stops nobody before Monday, but addresses that are long gone are not dialled for ever. Not
 * once the servers say that there is no such name, for that is an answer, too.
 */
import type { VsockProxyError } from '../platform/errors.ts';
import { isDefinitive } from './failure.ts';
import type { Answer } from './resolver.ts';

/** The last good answer. */
export interface Remembered {
  readonly answer: Answer;
  /** When it was given. */
  readonly at: number;
  /** When the addresses of both families were: those of one may be kept from an earlier answer. */
  readonly wholeAt: number;
}

/** A TTL outside of these would mean a flood of queries, or addresses that are long gone. */
const SHORTEST_TTL_MS = 5_000;
const LONGEST_TTL_MS = 300_000;
/** How soon an answer without one of the families is asked for again. */
const INCOMPLETE_TTL_MS = 10_000;
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 30_000;
/** RFC 8767 section 5 suggests one to three days. */
export const LONGEST_STALE_MS = 3 * 24 * 3_600_000;
/** Refreshed when so much of the TTL is over. */
export const REFRESH_AT = 0.8;

/** How long an answer is used without another query, in milliseconds. */
export function lifetimeOf({ ttlMs, incomplete }: Answer): number {
  const longest = incomplete === undefined ? LONGEST_TTL_MS : INCOMPLETE_TTL_MS;
  return Math.min(Math.max(ttlMs, SHORTEST_TTL_MS), longest);
}

/** How long after so many failures in a row the next query follows. */
export function retryAfter(failures: number): number {
  return Math.min(FIRST_RETRY_MS * 2 ** (failures - 1), LONGEST_RETRY_MS);
}

/** What is remembered after a query: without one family, it keeps the addresses of that family from before. */
export function renew(fresh: Answer, last: Remembered | undefined, now: number): Remembered {
  const { missing } = fresh.incomplete ?? {};
  if (missing === undefined || last === undefined || now - last.wholeAt >= LONGEST_STALE_MS) {
    return { answer: fresh, at: now, wholeAt: now };
  }
  const kept = last.answer.addresses.filter(({ family }) => family === missing);
  const addresses = missing === 4 ? [...kept, ...fresh.addresses] : [...fresh.addresses, ...kept];
  return { answer: { ...fresh, addresses }, at: now, wholeAt: last.wholeAt };
}

/** What is still to be served after a query that failed, for this reason. */
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
