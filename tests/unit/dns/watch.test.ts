import assert from 'node:assert/strict';
import { once } from 'node:events';
import { suite, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { type Hostname, parseHostname } from '../../../src/access/address.ts';
import { LONGEST_STALE_MS } from '../../../src/dns/lifetime.ts';
import type { Answer, Resolver } from '../../../src/dns/resolver.ts';
import { createSystemResolver } from '../../../src/dns/system.ts';
import { type Watch, type WatchEvents, watchName } from '../../../src/dns/watch.ts';
import type { Clock } from '../../../src/platform/clock.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';
import { ip } from '../access/fixture.ts';
import { startDnsServer } from './server.ts';

const NAME = parseHostname('a.example') as Hostname;

/** A clock that stands still until `advance`. Timers that are due fire in order. */
class FakeClock implements Clock {
  #now = 0;
  readonly #timers = new Map<object, { at: number; fire: () => void }>();

  now(): number {
    return this.#now;
  }

  setTimer(ms: number, fire: () => void): () => void {
    const key = {};
    this.#timers.set(key, { at: this.#now + ms, fire });
    return () => this.#timers.delete(key);
  }

  /** When the timers are due, from now on. */
  due(): number[] {
    return [...this.#timers.values()].map(({ at }) => at - this.#now);
  }

  async advance(ms: number): Promise<void> {
    this.#now += ms;
    for (const [key, { at, fire }] of this.#timers) {
      if (at > this.#now) continue;
      this.#timers.delete(key);
      fire();
    }
    await turn();
  }
}

/** A resolver that answers as the test says, one query at a time. */
class FakeResolver implements Resolver {
  readonly queries: { settle: PromiseWithResolvers<Answer>; signal: AbortSignal }[] = [];

  resolve(_name: Hostname, _family: string, signal: AbortSignal): Promise<Answer> {
    const settle = Promise.withResolvers<Answer>();
    this.queries.push({ settle, signal });
    return settle.promise;
  }

  async answer(answer: Answer): Promise<void> {
    this.queries.at(-1)?.settle.resolve(answer);
    await turn();
  }

  async fail(reason: unknown = new VsockProxyError('resolve-failed', 'broken')): Promise<void> {
    this.queries.at(-1)?.settle.reject(reason);
    await turn();
  }
}

function answer(addresses: string, ttlSeconds: number, incomplete?: Answer['incomplete']): Answer {
  const base = { addresses: addresses.split(' ').map(ip), ttlMs: ttlSeconds * 1000, source: 'dns' } as const;
  return incomplete === undefined ? base : { ...base, incomplete };
}

interface Stage {
  readonly clock: FakeClock;
  readonly resolver: FakeResolver;
  readonly log: string[];
  readonly watch: Watch;
}

async function watched(random = 0): Promise<Stage> {
  const clock = new FakeClock();
  const resolver = new FakeResolver();
  const log: string[] = [];
  const events: WatchEvents = {
    onQuery: () => log.push('query'),
    onAnswer: ({ addresses }, { changed, failuresBefore }) => {
      const words = [addresses.map(({ text }) => text).join(' '), changed ? 'changed' : 'same'];
      log.push(failuresBefore > 0 ? `${words.join(' ')} after ${failuresBefore} failures` : words.join(' '));
    },
    onFailure: (error, { staleMs, retryMs, failures }) => {
      log.push(`failure ${failures}: ${error.message}, stale ${staleMs}, retry ${retryMs}`);
    },
  };
  const watch = watchName(NAME, 'any', { resolver, clock, random: () => random }, events);
  assert.deepEqual(log, [], 'no event before watchName returns');
  await turn();
  return { clock, resolver, log, watch };
}

suite('a watched name that fails', () => {
  test('is tried again after 1, 2, 4, 8, 16 and then every 30 seconds', async () => {
    const { clock, resolver } = await watched();
    const waits: number[] = [];
    for (let round = 0; round < 8; round++) {
      await resolver.fail();
      waits.push(...clock.due());
      await clock.advance(clock.due()[0] ?? 0);
    }
    assert.deepEqual(waits, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    assert.equal(resolver.queries.length, 9);
  });

  test('keeps its last good answer, and tells how old it is', async () => {
    const { clock, resolver, log } = await watched();
    await resolver.answer(answer('10.0.0.1', 60));
    await clock.advance(48_000);
    await resolver.fail();
    await clock.advance(1000);
    await resolver.fail();
    assert.deepEqual(log.slice(2), [
      'query',
      'failure 1: broken, stale 48000, retry 1000',
      'query',
      'failure 2: broken, stale 49000, retry 2000',
    ]);
    await clock.advance(2000);
    await resolver.answer(answer('10.0.0.1', 60));
    assert.equal(log.at(-1), '10.0.0.1 same after 2 failures');
  });

  test('keeps its last good answer for three days and no longer; the next good one is a change, whatever it is', async () => {
    const { clock, resolver, log, watch } = await watched();
    await resolver.answer(answer('10.0.0.1', 60));
    await clock.advance(48_000);
    await clock.advance(LONGEST_STALE_MS - 48_001);
    await resolver.fail();
    assert.equal(log.at(-1), `failure 1: broken, stale ${LONGEST_STALE_MS - 1}, retry 1000`);
    await clock.advance(1000);
    await resolver.fail();
    assert.equal(log.at(-1), 'failure 2: broken, stale undefined, retry 2000');
    assert.equal(watch.last(), undefined);
    await clock.advance(2000);
    await resolver.answer(answer('10.0.0.1', 60));
    assert.equal(log.at(-1), '10.0.0.1 changed after 2 failures');
  });

  test('because the servers say that it does not exist any more keeps nothing', async () => {
    for (const errno of ['ENOTFOUND', 'ENODATA']) {
      const { clock, resolver, log } = await watched();
      await resolver.answer(answer('10.0.0.1', 60));
      await clock.advance(48_000);
      await resolver.fail(new VsockProxyError('resolve-failed', 'gone', { errno }));
      assert.equal(log.at(-1), 'failure 1: gone, stale undefined, retry 1000');
    }
  });

  test('has nothing stale to serve before its first answer', async () => {
    const { resolver, log, clock } = await watched();
    await resolver.fail();
    assert.equal(log.at(-1), 'failure 1: broken, stale undefined, retry 1000');
    await clock.advance(1000);
    await resolver.answer(answer('10.0.0.1', 60));
    assert.equal(log.at(-1), '10.0.0.1 changed after 1 failures');
  });

  test('starts its back-off anew after a good answer', async () => {
    const { clock, resolver } = await watched();
    for (let round = 0; round < 4; round++) {
      await resolver.fail();
      await clock.advance(clock.due()[0] ?? 0);
    }
    await resolver.answer(answer('10.0.0.1', 60));
    await clock.advance(48_000);
    await resolver.fail();
    assert.deepEqual(clock.due(), [1000]);
  });

  test('reports a failure that is no VsockProxyError as one', async () => {
    const { resolver, log } = await watched();
    await resolver.fail(new TypeError('odd'));
    assert.equal(log.at(-1), 'failure 1: Could not resolve a.example: TypeError: odd, stale undefined, retry 1000');
  });
});

suite('a watched name', () => {
  for (const [ttlSeconds, refreshSeconds] of [
    [100, 80],
    [60, 48],
    [5, 4],
    [4, 4],
    [0, 4],
    [300, 240],
    [301, 240],
    [2 ** 31, 240],
  ] as const) {
    test(`with a TTL of ${ttlSeconds} s is asked for again after ${refreshSeconds} s`, async () => {
      const { clock, resolver } = await watched();
      await resolver.answer(answer('10.0.0.1', ttlSeconds));
      assert.deepEqual(clock.due(), [refreshSeconds * 1000]);
      await clock.advance(refreshSeconds * 1000 - 1);
      assert.equal(resolver.queries.length, 1);
      await clock.advance(1);
      assert.equal(resolver.queries.length, 2);
    });
  }

  test('is refreshed and retried up to a tenth sooner by chance, never later', async () => {
    const { clock, resolver } = await watched(0.5);
    await resolver.answer(answer('10.0.0.1', 100));
    assert.deepEqual(clock.due(), [76_000]);
    await clock.advance(76_000);
    await resolver.fail();
    assert.deepEqual(clock.due(), [950]);
  });

  test('is asked for once at a time, however long an answer takes', async () => {
    const { clock, resolver } = await watched();
    await clock.advance(3_600_000);
    assert.equal(resolver.queries.length, 1);
    assert.deepEqual(clock.due(), []);
  });

  test('has changed with other addresses; their order alone, and an unchanged answer, are no change', async () => {
    const { clock, resolver, log } = await watched();
    for (const addresses of ['10.0.0.1 10.0.0.2', '10.0.0.2 10.0.0.1', '10.0.0.2 10.0.0.3', '10.0.0.3']) {
      await resolver.answer(answer(addresses, 60));
      await clock.advance(48_000);
    }
    assert.deepEqual(
      log.filter((line) => line !== 'query'),
      ['10.0.0.1 10.0.0.2 changed', '10.0.0.2 10.0.0.1 same', '10.0.0.2 10.0.0.3 changed', '10.0.0.3 changed'],
    );
  });

  test('keeps the addresses of a family that could not be asked for, and asks again soon', async () => {
    const { clock, resolver, log } = await watched();
    await resolver.answer(answer('10.0.0.1 2001:db8::1', 300));
    await clock.advance(240_000);
    await resolver.answer(answer('2001:db8::2', 300, { missing: 4, code: 'ETIMEOUT' }));
    assert.equal(log.at(-1), '10.0.0.1 2001:db8::2 changed');
    assert.deepEqual(clock.due(), [8000]);
    await clock.advance(8000);
    await resolver.answer(answer('10.0.0.1', 300, { missing: 6, code: 'ESERVFAIL' }));
    assert.equal(log.at(-1), '10.0.0.1 2001:db8::2 same');
    await clock.advance(8000);
    await resolver.answer(answer('2001:db8::2', 300));
    assert.equal(log.at(-1), '2001:db8::2 changed', 'a whole answer counts as it is');
  });

  test('keeps them for three days and no longer', async () => {
    const { clock, resolver, log } = await watched();
    const withoutIpv6 = answer('10.0.0.1', 300, { missing: 6, code: 'ESERVFAIL' });
    await resolver.answer(answer('10.0.0.1 2001:db8::1', 300));
    await clock.advance(LONGEST_STALE_MS - 1);
    await resolver.answer(withoutIpv6);
    assert.equal(log.at(-1), '10.0.0.1 2001:db8::1 same');
    await clock.advance(8000);
    await resolver.answer(withoutIpv6);
    assert.equal(log.at(-1), '10.0.0.1 changed');
  });

  test('stopped at once asks nothing', async () => {
    const clock = new FakeClock();
    const resolver = new FakeResolver();
    watchName(NAME, 'any', { resolver, clock }, { onAnswer: assert.fail, onFailure: assert.fail }).stop();
    await turn();
    assert.deepEqual(resolver.queries, []);
  });

  test('stopped during a query gives it up and tells nothing more', async () => {
    for (const settle of ['answer', 'fail'] as const) {
      const { clock, resolver, log, watch } = await watched();
      watch.stop();
      assert.equal(resolver.queries[0]?.signal.aborted, true);
      await (settle === 'answer' ? resolver.answer(answer('10.0.0.1', 60)) : resolver.fail());
      assert.deepEqual(log, ['query']);
      assert.deepEqual(clock.due(), []);
    }
  });

  test('stopped between queries, also twice or by its own event, leaves no timer', async () => {
    const { clock, resolver, watch } = await watched();
    await resolver.answer(answer('10.0.0.1', 60));
    watch.stop();
    watch.stop();
    assert.deepEqual(clock.due(), []);

    const own = new FakeResolver();
    const stopping: Watch = watchName(
      NAME,
      'any',
      { resolver: own, clock },
      { onAnswer: () => stopping.stop(), onFailure: assert.fail },
    );
    await turn();
    await own.answer(answer('10.0.0.1', 60));
    assert.deepEqual(clock.due(), []);
  });
});

test('known fault 11: with a real server that fails and comes back, the last answer stays and recovery is told', async (context) => {
  let healthy = true;
  const server = await startDnsServer(({ type }) =>
    healthy ? { records: type === 'A' ? [{ type, ttl: 60, data: '10.0.0.1' }] : [] } : { rcode: 'SERVFAIL' },
  );
  context.after(() => server.close());
  const clock = new FakeClock();
  const resolver = createSystemResolver({
    hostsPath: '/nonexistent',
    resolvConfPath: '/nonexistent',
    servers: [server.address],
  });
  const heard = new EventTarget();
  const log: string[] = [];
  const tell = (line: string) => {
    log.push(line);
    heard.dispatchEvent(new Event('told'));
  };
  const watch = watchName(
    NAME,
    'any',
    { resolver, clock, random: () => 0 },
    {
      onAnswer: ({ addresses, ttlMs }, { failuresBefore }) =>
        tell(`${addresses.map(({ text }) => text).join(' ')} for ${ttlMs} ms, ${failuresBefore} failures before`),
      onFailure: ({ errno }, { staleMs, retryMs }) => tell(`${errno}, stale ${staleMs}, retry ${retryMs}`),
    },
  );
  context.after(() => watch.stop());

  const next = async (advanceMs: number) => {
    const told = once(heard, 'told');
    await clock.advance(advanceMs);
    await told;
  };
  await next(0);
  healthy = false;
  await next(48_000);
  await next(1000);
  healthy = true;
  await next(2000);
  assert.deepEqual(log, [
    '10.0.0.1 for 60000 ms, 0 failures before',
    'ESERVFAIL, stale 48000, retry 1000',
    'ESERVFAIL, stale 49000, retry 2000',
    '10.0.0.1 for 60000 ms, 2 failures before',
  ]);
});
