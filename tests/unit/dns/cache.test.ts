import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Hostname } from '../../../src/access/address.ts';
import { MAX_NAMES, MAX_QUERIES, MAX_QUERIES_OF_ONE, NameCache } from '../../../src/dns/cache.ts';
import { LONGEST_STALE_MS } from '../../../src/dns/lifetime.ts';
import type { Answer, Resolver } from '../../../src/dns/resolver.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';
import { ManualClock, type Names, resolverOf, settle } from '../proxy/fixture.ts';

const NAME = 'api.example.com' as Hostname;
const TTL_MS = 60_000;

function setUp(names: Names, resolver: Resolver = resolverOf(names, TTL_MS)) {
  const clock = new ManualClock();
  const stale: string[] = [];
  const cache = new NameCache({
    resolver,
    clock,
    onStale: (error, name, ageMs) => stale.push(`${name} ${error.errno} ${Math.round(ageMs / 1000)} s`),
  });
  const queries = 'queries' in resolver ? (resolver.queries as readonly string[]) : [];
  /** What the cache says at once. */
  const now = (name: Hostname = NAME) => {
    const outcome = cache.lookUp(name, 'any');
    return outcome instanceof Promise ? 'later' : textOf(outcome);
  };
  const later = async (name: Hostname = NAME) => textOf(await cache.lookUp(name, 'any'));
  return { clock, cache, names, queries, stale, now, later };
}

function textOf(outcome: Answer | VsockProxyError): string {
  return outcome instanceof VsockProxyError
    ? (outcome.errno ?? outcome.message)
    : outcome.addresses.map(({ text }) => text).join(' ');
}

/** A resolver whose queries are answered by hand. */
function silentResolver() {
  const open: { readonly name: string; readonly reject: (reason: unknown) => void }[] = [];
  const resolver: Resolver = {
    resolve: (name, _, signal) =>
      new Promise((_, reject) => {
        open.push({ name, reject });
        signal.addEventListener('abort', () => reject(signal.reason));
      }),
  };
  return { open, resolver };
}

describe('a name that cannot be resolved', () => {
  it('is an outcome, not an exception', async () => {
    const { later } = setUp({ [NAME]: 'ESERVFAIL' });
    assert.equal(await later(), 'ESERVFAIL');
  });

  it('that does not exist is believed for five seconds, without another query', async () => {
    const { clock, now, later, names, queries } = setUp({});
    assert.equal(await later(), 'ENOTFOUND');
    await clock.advance(4_999);
    assert.equal(now(), 'ENOTFOUND');
    assert.equal(queries.length, 1);
    names[NAME] = ['10.0.0.7'];
    await clock.advance(1);
    assert.equal(await later(), '10.0.0.7');
  });

  it('for want of a server is tried again after 1 s, 2 s, 4 s … if it is asked for', async () => {
    const { clock, later, queries } = setUp({ [NAME]: 'ETIMEOUT' });
    for (const pause of [0, 1_000, 2_000, 4_000]) {
      await clock.advance(pause);
      assert.equal(await later(), 'ETIMEOUT');
    }
    assert.equal(queries.length, 4);
    await clock.advance(60_000);
    assert.equal(queries.length, 4, 'nobody asks');
  });

  it('within six seconds is given up, whatever the resolver does', async () => {
    const { resolver, open } = silentResolver();
    const { clock, later } = setUp({}, resolver);
    const outcome = later();
    await clock.advance(5_999);
    assert.equal(open.length, 1);
    await clock.advance(1);
    assert.equal(await outcome, 'ETIMEOUT');
    assert.equal(clock.pending, 0);
  });

  it('because too many others are being resolved says so, and takes no socket', async () => {
    const { resolver, open } = silentResolver();
    const { clock, cache, now } = setUp({}, resolver);
    for (let i = 0; i < MAX_QUERIES; i += 1) void cache.lookUp(`n${i}.example.com` as Hostname, 'any', `${i % 8}`);
    assert.equal(now(), 'EBUSY');
    assert.equal(open.length, MAX_QUERIES);
    assert.equal(cache.size, MAX_QUERIES);
    await clock.advance(6_000);
    assert.equal(now(), 'later', 'when they are done, it is its turn');
  });
});

describe('a flood of new names by one asker', () => {
  it('takes a part of the queries: others have theirs, and what is known is given as before', async () => {
    const { resolver, open } = silentResolver();
    const quick = resolverOf({ [NAME]: ['10.0.0.7'] }, TTL_MS);
    let current: Resolver = quick;
    const { cache, now, later } = setUp({}, { resolve: (...query) => current.resolve(...query) });
    await later();
    current = resolver;
    for (let i = 0; i < 3 * MAX_NAMES; i += 1) void cache.lookUp(`n${i}.example.com` as Hostname, 'any', '16');
    assert.equal(open.length, MAX_QUERIES_OF_ONE);
    assert.equal(cache.size, MAX_QUERIES_OF_ONE + 1);
    assert.equal(now(), '10.0.0.7');
    const other = cache.lookUp('other.example.com' as Hostname, 'any', '17');
    assert.ok(other instanceof Promise);
    assert.equal(open.length, MAX_QUERIES_OF_ONE + 1);
  });
});

describe('a name that can be resolved', () => {
  it('is given at once until its TTL ends', async () => {
    const { clock, now, later, queries } = setUp({ [NAME]: ['10.0.0.7', '10.0.0.8'] });
    assert.equal(now(), 'later');
    assert.equal(await later(), '10.0.0.7 10.0.0.8');
    assert.equal(now(), '10.0.0.7 10.0.0.8');
    await clock.advance(TTL_MS * 0.8 - 1);
    assert.equal(now(), '10.0.0.7 10.0.0.8');
    assert.equal(queries.length, 1);
  });

  it('is asked for once, however many wait for it', async () => {
    const { cache, queries } = setUp({ [NAME]: ['10.0.0.7'] });
    const outcomes = await Promise.all([1, 2, 3].map(() => cache.lookUp(NAME, 'any')));
    assert.equal(queries.length, 1);
    assert.equal(new Set(outcomes).size, 1);
  });

  it('is one of each family', async () => {
    const { cache, queries } = setUp({ [NAME]: ['10.0.0.7'] });
    await Promise.all([cache.lookUp(NAME, 'ipv4'), cache.lookUp(NAME, 'ipv6')]);
    assert.deepEqual(queries, [`${NAME} ipv4`, `${NAME} ipv6`]);
  });

  it('is renewed ahead of time while it is in use, and nobody waits for that', async () => {
    const { clock, now, later, names, queries } = setUp({ [NAME]: ['10.0.0.7'] });
    await later();
    names[NAME] = ['10.0.0.8'];
    await clock.advance(TTL_MS * 0.8);
    assert.equal(now(), '10.0.0.7');
    assert.equal(now(), '10.0.0.7');
    await settle();
    assert.equal(now(), '10.0.0.8');
    assert.equal(queries.length, 2);
  });

  it('is forgotten with its TTL when nobody uses it: then it is resolved anew', async () => {
    const { clock, now, later, names } = setUp({ [NAME]: ['10.0.0.7'] });
    await later();
    names[NAME] = ['10.0.0.8'];
    await clock.advance(TTL_MS);
    assert.equal(now(), 'later');
    assert.equal(await later(), '10.0.0.8');
  });

  it('keeps its answer as one object while the answer is the same', async () => {
    const { clock, cache, later } = setUp({ [NAME]: ['10.0.0.7'] });
    await later();
    const before = cache.lookUp(NAME, 'any');
    await clock.advance(TTL_MS);
    await later();
    assert.equal(cache.lookUp(NAME, 'any'), before);
  });

  it('with a TTL of 0 is used for five seconds', async () => {
    const { clock, now, later } = setUp({}, resolverOf({ [NAME]: ['10.0.0.7'] }, 0));
    await later();
    await clock.advance(4_999);
    assert.equal(now(), '10.0.0.7');
    await settle();
    await clock.advance(5_000);
    assert.equal(now(), 'later');
  });
});

describe('a name that cannot be resolved any more', () => {
  it('is served from its last good answer, which is told with each failure', async () => {
    const { clock, now, later, names, stale } = setUp({ [NAME]: ['10.0.0.7'] });
    await later();
    names[NAME] = 'ESERVFAIL';
    await clock.advance(TTL_MS);
    assert.equal(await later(), '10.0.0.7');
    assert.equal(now(), '10.0.0.7', 'and at once until the next try');
    assert.deepEqual(stale, [`${NAME} ESERVFAIL 60 s`]);
    names[NAME] = ['10.0.0.8'];
    await clock.advance(1_000);
    assert.equal(await later(), '10.0.0.8');
  });

  it('is served so for three days and no longer', async () => {
    const { clock, later, names } = setUp({ [NAME]: ['10.0.0.7'] });
    await later();
    names[NAME] = 'ESERVFAIL';
    await clock.advance(LONGEST_STALE_MS - 1);
    assert.equal(await later(), '10.0.0.7');
    await clock.advance(60_000);
    assert.equal(await later(), 'ESERVFAIL');
  });

  it('after three days without a question is not served, even while the servers are asked', async () => {
    const { resolver } = silentResolver();
    let current: Resolver = resolverOf({ [NAME]: ['10.0.0.7'] }, TTL_MS);
    const { clock, later } = setUp({}, { resolve: (...query) => current.resolve(...query) });
    await later();
    current = resolver;
    await clock.advance(LONGEST_STALE_MS);
    const outcome = later();
    await clock.advance(6_000);
    assert.equal(await outcome, 'ETIMEOUT');
  });

  it('because it does not exist any more is not served', async () => {
    const { clock, later, names, stale } = setUp({ [NAME]: ['10.0.0.7'] });
    await later();
    names[NAME] = 'ENOTFOUND';
    await clock.advance(TTL_MS);
    assert.equal(await later(), 'ENOTFOUND');
    assert.deepEqual(stale, []);
  });

  it('and whose servers are silent is served after 1.8 s', async () => {
    const { resolver } = silentResolver();
    const quick = resolverOf({ [NAME]: ['10.0.0.7'] }, TTL_MS);
    let current: Resolver = quick;
    const { clock, later } = setUp({}, { resolve: (...query) => current.resolve(...query) });
    await later();
    current = resolver;
    await clock.advance(TTL_MS);
    const outcome = later();
    await clock.advance(1_800);
    assert.equal(await outcome, '10.0.0.7');
  });
});

describe('the memory', () => {
  it('holds so many names, those that were used last', async () => {
    const names = Object.fromEntries(Array.from({ length: MAX_NAMES }, (_, i) => [`n${i}.example.com`, ['10.0.0.7']]));
    const { cache, now, later } = setUp(names);
    for (const name of Object.keys(names)) await later(name as Hostname);
    assert.equal(cache.size, MAX_NAMES);
    assert.equal(now('n0.example.com' as Hostname), '10.0.0.7');
    await later(NAME);
    assert.equal(cache.size, MAX_NAMES);
    assert.equal(now('n0.example.com' as Hostname), '10.0.0.7', 'used a moment ago');
    assert.equal(now('n1.example.com' as Hostname), 'later', 'used least lately');
  });

  it('is not filled by a flood of names that cannot be resolved', async () => {
    const { cache } = setUp({});
    for (let i = 0; i < 3 * MAX_NAMES; i += 1) {
      await cache.lookUp(`n${i}.example.com` as Hostname, 'any');
    }
    assert.equal(cache.size, MAX_NAMES);
  });
});

describe('the end', () => {
  it('ends the queries, and starts no more', async () => {
    const { resolver, open } = silentResolver();
    const { clock, cache, later, now } = setUp({}, resolver);
    const outcome = later();
    cache.stop();
    assert.match(await outcome, /^Could not resolve api\.example\.com: AbortError/);
    assert.equal(now(), 'EBUSY');
    assert.equal(open.length, 1);
    assert.equal(clock.pending, 0);
  });
});
