/**
 * A cache of names that clients request.
 *
 * An answer is returned at once until its TTL ends. If the name is requested shortly before that, the answer is renewed
 * ahead of time. If it cannot be renewed, the last good answer stays in use (RFC 8767). Names that nobody requests
 * cause no queries.
 */

import type { Hostname } from '../access/address.ts';
import type { Clock } from '../platform/clock.ts';
import { VsockProxyError } from '../platform/errors.ts';
import { isDefinitive, toError } from './failure.ts';
import { lifetimeOf, outlast, REFRESH_AT, type Remembered, renew, retryAfter, unlessTooOld } from './lifetime.ts';
import type { Answer, Family, Resolver } from './resolver.ts';

export interface NameCacheOptions {
  readonly resolver: Resolver;
  readonly clock: Clock;
  /**
   * Called after a failed query for a name whose last good answer stays in use; `ageMs` is the age of that answer. Must
   * not throw.
   */
  readonly onStale: (error: VsockProxyError, name: Hostname, ageMs: number) => void;
}

/** The cache holds this many names, those that were used last. */
export const MAX_NAMES = 4096;
/** The most queries at the same time for new names, and as many again to renew answers. Each query holds sockets. */
export const MAX_QUERIES = 128;
/** The most queries for new names of one client. */
export const MAX_QUERIES_OF_ONE = 32;
/** How long clients wait for servers that may have failed while there is an old answer: RFC 8767 section 5. */
const PATIENCE_MS = 1_800;
/** How long a name counts as non-existent. It is short, because someone may be about to create the name. */
const NOWHERE_MS = 5_000;
const DEADLINE_MS = 6_000;

interface Entry {
  readonly name: Hostname;
  readonly family: Family;
  last: Remembered | undefined;
  refreshAt: number;
  expiresAt: number;
  /** The error of the last query, if it failed. There is no other query before `retryAt`. */
  error: VsockProxyError | undefined;
  retryAt: number;
  failures: number;
  query: Promise<Answer | VsockProxyError> | undefined;
}

/** Running queries, each with the client that it is for. */
type Queries = Map<AbortController, string>;

export class NameCache {
  readonly #options: NameCacheOptions;
  /** In the order of use, the last used name last. */
  readonly #entries = new Map<string, Entry>();
  /** Queries for names without an answer yet, and queries to renew an answer. */
  readonly #queries = { first: new Map() as Queries, again: new Map() as Queries };
  #stopped = false;

  constructor(options: NameCacheOptions) {
    this.#options = options;
  }

  /**
   * Returns the same `Answer` object as long as the answer is the same. A failure is a value, not an exception:
   * VsockProxyError `resolve-failed`. A promise takes about six seconds at most, and is never rejected.
   * @param client the client on whose behalf the name is resolved; new names of one client cannot take all queries
   */
  lookUp(name: Hostname, family: Family, client = ''): Answer | VsockProxyError | Promise<Answer | VsockProxyError> {
    const { clock } = this.#options;
    const now = clock.now();
    const entry = this.#find(name, family, client);
    if (entry === undefined) return tooMany(name);
    const answer = unlessTooOld(entry.last, now)?.answer;
    const isFresh = answer !== undefined && now < entry.refreshAt;
    if (isFresh) return answer;
    const mayQuery = entry.query === undefined && (entry.error === undefined || now >= entry.retryAt);
    const query = mayQuery ? this.#start(entry, answer === undefined ? 'first' : 'again', client) : entry.query;
    if (answer === undefined) return query ?? entry.error ?? tooMany(name);
    return query === undefined || now < entry.expiresAt ? answer : withPatience(query, answer, clock);
  }

  /** The number of names in the cache. */
  get size(): number {
    return this.#entries.size;
  }

  /** Ends all queries. Open promises stay open. */
  stop(): void {
    this.#stopped = true;
    for (const ending of [...this.#queries.first.keys(), ...this.#queries.again.keys()]) ending.abort();
  }

  /** Undefined for a new name that cannot be resolved now. Such a name must not displace another one. */
  #find(name: Hostname, family: Family, client: string): Entry | undefined {
    const key = `${family} ${name}`;
    const known = this.#entries.get(key);
    if (known !== undefined) this.#entries.delete(key);
    else if (!this.#mayStart('first', client)) return undefined;
    else if (this.#entries.size >= MAX_NAMES) this.#forgetOldest();
    const entry = known ?? newEntry(name, family);
    this.#entries.set(key, entry);
    return entry;
  }

  #mayStart(kind: 'first' | 'again', client: string): boolean {
    const running = this.#queries[kind];
    if (this.#stopped || running.size >= MAX_QUERIES) return false;
    if (kind === 'again' || running.size < MAX_QUERIES_OF_ONE) return true;
    let own = 0;
    for (const other of running.values()) if (other === client) own += 1;
    return own < MAX_QUERIES_OF_ONE;
  }

  /** Skips names with a running query, because their answer is awaited. */
  #forgetOldest(): void {
    for (const [key, { query }] of this.#entries) {
      if (query === undefined) {
        this.#entries.delete(key);
        break;
      }
    }
  }

  /** Undefined if too many queries are running. */
  #start(entry: Entry, kind: 'first' | 'again', client: string): Entry['query'] {
    if (this.#mayStart(kind, client)) entry.query = this.#query(entry, this.#queries[kind], client);
    return entry.query;
  }

  async #query(entry: Entry, running: Queries, client: string): Promise<Answer | VsockProxyError> {
    const { resolver, clock } = this.#options;
    const { name, family } = entry;
    const ending = new AbortController();
    const cancelDeadline = clock.setTimer(DEADLINE_MS, () => ending.abort(timeout(name)));
    running.set(ending, client);
    try {
      return this.#succeed(entry, await resolver.resolve(name, family, ending.signal));
    } catch (reason) {
      return this.#fail(entry, toError(reason, name));
    } finally {
      cancelDeadline();
      running.delete(ending);
      entry.query = undefined;
    }
  }

  #succeed(entry: Entry, fresh: Answer): Answer {
    const now = this.#options.clock.now();
    const renewed = renew(fresh, entry.last, now);
    const lifetimeMs = lifetimeOf(renewed.answer);
    // Callers keep values that they derive from an answer, by its object. A new object means new addresses.
    const before = entry.last?.answer;
    const answer = before !== undefined && isSame(renewed.answer, before) ? before : renewed.answer;
    entry.last = { ...renewed, answer };
    entry.refreshAt = now + lifetimeMs * REFRESH_AT;
    entry.expiresAt = now + lifetimeMs;
    entry.error = undefined;
    entry.failures = 0;
    return answer;
  }

  #fail(entry: Entry, error: VsockProxyError): Answer | VsockProxyError {
    if (this.#stopped) return error;
    const now = this.#options.clock.now();
    entry.last = outlast(entry.last, error, now);
    entry.error = error;
    entry.failures += 1;
    entry.retryAt = now + (isDefinitive(error.errno ?? '') ? NOWHERE_MS : retryAfter(entry.failures));
    if (entry.last === undefined) return error;
    this.#options.onStale(error, entry.name, now - entry.last.at);
    return entry.last.answer;
  }
}

function newEntry(name: Hostname, family: Family): Entry {
  const never = Number.NEGATIVE_INFINITY;
  return {
    name,
    family,
    last: undefined,
    refreshAt: never,
    expiresAt: never,
    error: undefined,
    retryAt: never,
    failures: 0,
    query: undefined,
  };
}

/**
 * Whether the addresses are equal and in the same order. The order counts, because a server puts the preferred address
 * first.
 */
function isSame(one: Answer, other: Answer): boolean {
  return (
    one.source === other.source &&
    one.addresses.length === other.addresses.length &&
    one.addresses.every(({ text }, index) => text === other.addresses[index]?.text)
  );
}

function withPatience<T>(query: Promise<T>, stale: Answer, clock: Clock): Promise<T | Answer> {
  const { promise, resolve } = Promise.withResolvers<T | Answer>();
  const cancel = clock.setTimer(PATIENCE_MS, () => resolve(stale));
  void query.then((outcome) => {
    cancel();
    resolve(outcome);
  });
  return promise;
}

function timeout(name: Hostname): VsockProxyError {
  const text = `Could not resolve ${name}: ETIMEOUT: no answer within ${DEADLINE_MS / 1000} s`;
  return new VsockProxyError('resolve-failed', text, { errno: 'ETIMEOUT' });
}

function tooMany(name: Hostname): VsockProxyError {
  const text = `Could not resolve ${name}: EBUSY: too many other names are being resolved`;
  const hint = 'clients ask for many names at once, or the DNS servers are slow';
  return new VsockProxyError('resolve-failed', text, { errno: 'EBUSY', hint });
}
