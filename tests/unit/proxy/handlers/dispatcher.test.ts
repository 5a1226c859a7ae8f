import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ConnectionId, Decision, DecisionRequest, ListenerId } from '../../../../src/dataplane/contract.ts';
import { Dispatcher, type Handled, type Handler } from '../../../../src/proxy/handlers/dispatcher.ts';
import { TargetIds } from '../../../../src/proxy/handlers/target-ids.ts';
import { LruCache } from '../../../../src/proxy/lru.ts';
import { settle } from '../fixture.ts';

const LISTENER = 1 as ListenerId;
const CONNECTION = 17 as ConnectionId;
const HEAD: DecisionRequest = {
  listener: LISTENER,
  connection: CONNECTION,
  client: { family: 'vsock', cid: 16, port: 5005 },
  kind: 'head',
  bytes: Buffer.from('hello'),
  ended: false,
};
const MORE: Handled = { decision: { action: 'more' } };
const INTERNAL: Decision = { action: 'reject', reason: 'internal' };

function setUp(first: Handler['first'], later: Handler['later'] = () => assert.fail('not asked')) {
  const answers: (readonly [ConnectionId, Decision])[] = [];
  const errors: string[] = [];
  const dispatcher = new Dispatcher({
    decide: (connection, decision) => answers.push([connection, decision]),
    onError: (error) => errors.push(String(error)),
  });
  dispatcher.setHandler(LISTENER, { first, later });
  return { dispatcher, answers, errors };
}

describe('the counts of denials', () => {
  it('are forgotten with the listener', () => {
    const refusal = { problem: 'it is not allowed', subject: 'a.test' };
    const { dispatcher } = setUp(() => ({ decision: { action: 'reject', reason: 'denied' }, refusal }));
    dispatcher.onDecisionRequest([HEAD]);
    assert.deepEqual(dispatcher.denialsOf(LISTENER), { denied: 1 });
    dispatcher.removeHandler(LISTENER);
    assert.deepEqual(dispatcher.denialsOf(LISTENER), {});
  });
});

describe('a question is answered with a rejection', () => {
  it('when nobody knows its listener', () => {
    const { dispatcher, answers, errors } = setUp(() => MORE);
    dispatcher.onDecisionRequest([{ ...HEAD, listener: 99 as ListenerId }]);
    assert.deepEqual(answers, [[CONNECTION, INTERNAL]]);
    assert.deepEqual(errors, ['Error: listener 99 is not known']);
  });

  it('when answering throws, and the next one is answered all the same', () => {
    let times = 0;
    const { dispatcher, answers } = setUp(() => {
      times += 1;
      if (times === 1) throw new TypeError('a mistake');
      return MORE;
    });
    dispatcher.onDecisionRequest([HEAD, { ...HEAD, connection: 18 as ConnectionId }]);
    assert.deepEqual(answers, [
      [CONNECTION, INTERNAL],
      [18, MORE.decision],
    ]);
    assert.equal(dispatcher.refusalOf(CONNECTION)?.problem, 'its request could not be decided about');
    dispatcher.end(CONNECTION);
    assert.equal(dispatcher.size, 0);
  });

  it('when the promise of an answer is rejected', async () => {
    const { dispatcher, answers, errors } = setUp(() => Promise.reject(new TypeError('a mistake')));
    dispatcher.onDecisionRequest([HEAD]);
    await settle();
    assert.deepEqual(answers, [[CONNECTION, INTERNAL]]);
    assert.deepEqual(errors, ['TypeError: a mistake']);
  });
});

describe('what is remembered of a connection', () => {
  const REFUSED: Handled = {
    decision: { action: 'reject', reason: 'denied' },
    refusal: { problem: 'no', subject: 'a.example:443' },
  };

  it('is why it was refused, until its end', () => {
    const { dispatcher } = setUp(() => REFUSED);
    dispatcher.onDecisionRequest([HEAD]);
    assert.deepEqual(dispatcher.refusalOf(CONNECTION), REFUSED.refusal);
    dispatcher.end(CONNECTION);
    assert.equal(dispatcher.refusalOf(CONNECTION), undefined);
    assert.equal(dispatcher.size, 0);
  });

  it('is its request, until the answer has been passed on', () => {
    const request = { method: 'GET', keepAlive: true, version: '1.1' } as const;
    const seen: unknown[] = [];
    const { dispatcher } = setUp(
      () => ({ ...MORE, request }),
      (_, remembered) => {
        seen.push(remembered);
        return {
          decision: { action: 'respond', consume: 0, toClient: Buffer.of(), body: { kind: 'none' }, next: true },
        };
      },
    );
    const {
      bytes: _bytes,
      ended: _ended,
      kind: _stage,
      ...common
    } = HEAD as Extract<DecisionRequest, { kind: 'head' }>;
    dispatcher.onDecisionRequest([HEAD]);
    dispatcher.onDecisionRequest([{ ...common, kind: 'response', target: 1, bytes: Buffer.of(), ended: false }]);
    assert.deepEqual(seen, [request]);
    assert.equal(dispatcher.size, 0);
  });

  it('is nothing where the answer needs nothing: not one object per tunnel', () => {
    const { dispatcher } = setUp(() => MORE);
    for (let id = 1; id <= 1000; id += 1) dispatcher.onDecisionRequest([{ ...HEAD, connection: id as ConnectionId }]);
    assert.equal(dispatcher.size, 0);
  });

  it('is nothing when it has left before its answer came, and the answer goes nowhere', async () => {
    const { promise, resolve } = Promise.withResolvers<Handled>();
    const { dispatcher, answers } = setUp(() => promise);
    dispatcher.onDecisionRequest([HEAD]);
    assert.equal(dispatcher.size, 1);
    dispatcher.end(CONNECTION);
    resolve(REFUSED);
    await settle();
    assert.deepEqual(answers, []);
    assert.equal(dispatcher.size, 0);
  });

  it('is nothing after the end of everything', async () => {
    const { promise, resolve } = Promise.withResolvers<Handled>();
    const { dispatcher, answers } = setUp(() => promise);
    dispatcher.onDecisionRequest([HEAD]);
    dispatcher.stop();
    resolve(REFUSED);
    await settle();
    assert.deepEqual(answers, []);
  });
});

describe('a map of what was used lately', () => {
  it('keeps the last ones, and at most twice as many', () => {
    const recent = new LruCache<number, number>(10);
    for (let i = 0; i < 1000; i += 1) {
      recent.set(i, i);
      assert.ok(recent.size <= 20);
      for (let back = 0; back < 10 && back <= i; back += 1) assert.equal(recent.get(i - back), i - back);
    }
    assert.equal(recent.get(0), undefined);
  });

  it('keeps what is used again and again', () => {
    const recent = new LruCache<number, string>(10);
    recent.set(-1, 'in use');
    for (let i = 0; i < 1000; i += 1) {
      recent.set(i, 'seen once');
      assert.equal(recent.get(-1), 'in use');
    }
  });
});

describe('numbers of targets', () => {
  it('are the same for the same target, and never those of another', () => {
    const targets = new TargetIds();
    const first = targets.idOf('a.example:443');
    assert.equal(targets.idOf('a.example:443'), first);
    const ids = new Set([first]);
    for (let i = 0; i < 20_000; i += 1) {
      const id = targets.idOf(`n${i}.example:443`);
      assert.ok(!ids.has(id));
      ids.add(id);
      assert.equal(targets.textOf(id), `n${i}.example:443`);
    }
    assert.ok(targets.size <= 8192);
    assert.equal(targets.textOf(first), undefined);
    assert.ok(!ids.has(targets.idOf('a.example:443')));
  });
});
