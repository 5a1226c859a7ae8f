import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openNotifier, takeActivatedSockets } from '../../../src/platform/systemd.ts';
import { ManualClock, recordLog } from '../proxy/fixture.ts';

const PID = 42;

describe('sockets that systemd passes', () => {
  const cases: readonly (readonly [what: string, env: NodeJS.ProcessEnv, sockets: Record<string, number[]>])[] = [
    ['none without the variables', {}, {}],
    ['none that are for another process', { LISTEN_PID: '41', LISTEN_FDS: '1', LISTEN_FDNAMES: 'a' }, {}],
    ['none without the process', { LISTEN_FDS: '1' }, {}],
    ['none for a number that is none', { LISTEN_PID: '42', LISTEN_FDS: 'x' }, {}],
    ['none for a negative number', { LISTEN_PID: '42', LISTEN_FDS: '-1' }, {}],
    ['from 3 on, by name', { LISTEN_PID: '42', LISTEN_FDS: '2', LISTEN_FDNAMES: 'a:b' }, { a: [3], b: [4] }],
    ['several with one name', { LISTEN_PID: '42', LISTEN_FDS: '3', LISTEN_FDNAMES: 'a:b:a' }, { a: [3, 5], b: [4] }],
    ['without names as unknown', { LISTEN_PID: '42', LISTEN_FDS: '2' }, { unknown: [3, 4] }],
    [
      'with a name that means nothing to an object',
      { LISTEN_PID: '42', LISTEN_FDS: '1', LISTEN_FDNAMES: '__proto__' },
      JSON.parse('{"__proto__": [3]}'),
    ],
  ];
  for (const [what, env, sockets] of cases) {
    it(what, () => {
      const copy = { ...env, PATH: '/bin' };
      assert.deepEqual([...takeActivatedSockets(copy, PID)], Object.entries(sockets));
      assert.deepEqual(copy, { PATH: '/bin' }, 'the variables are consumed');
    });
  }
});

function setUp(env: NodeJS.ProcessEnv = {}) {
  const clock = new ManualClock();
  const logged = recordLog('warn');
  const sent: string[] = [];
  const state = { status: 'Listening', beats: true, fails: false };
  const variables: NodeJS.ProcessEnv = { NOTIFY_SOCKET: '/run/notify', ...env };
  const notifier = openNotifier({
    env: variables,
    pid: PID,
    send(path, text) {
      if (state.fails) throw new Error('ECONNREFUSED');
      assert.equal(path, '/run/notify');
      sent.push(text);
    },
    clock,
    monotonicMicros: () => 123_456_789n,
    log: logged.logFor('vsock_proxy'),
  });
  const take = () => sent.splice(0);
  // As the server: its methods need what they belong to.
  const service = {
    status() {
      return this === service ? state.status : assert.fail('a method alone');
    },
    beat() {
      return this === service ? state.beats : assert.fail('a method alone');
    },
  };
  assert.ok(notifier);
  return { clock, logged, state, take, notifier, service, variables };
}

describe('what systemd is told', () => {
  it('is nothing without its socket', () => {
    const { clock, logged } = setUp();
    const log = logged.logFor('vsock_proxy');
    const nobody = { pid: PID, send: assert.fail, clock, monotonicMicros: () => 0n, log };
    assert.equal(openNotifier({ ...nobody, env: {} }), undefined);
    assert.equal(openNotifier({ ...nobody, env: { NOTIFY_SOCKET: '' } }), undefined);
  });

  it('is that the service is ready, not before it is', () => {
    const { take, notifier, service, variables } = setUp();
    assert.deepEqual(take(), []);
    notifier.ready(service);
    assert.deepEqual(take(), ['READY=1\nSTATUS=Listening']);
    assert.deepEqual(variables, {}, 'the variables are consumed');
  });

  it('is the status when it has changed', async () => {
    const { clock, take, notifier, service, state } = setUp();
    notifier.ready(service);
    take();
    await clock.advance(60_000);
    assert.deepEqual(take(), []);
    state.status = 'Listening on\n2 addresses';
    await clock.advance(60_000);
    assert.deepEqual(take(), ['STATUS=Listening on\\n2 addresses'], 'in one line, and once');
  });

  it('is a reload from its begin to its end', () => {
    const { take, notifier, service, state } = setUp();
    notifier.ready(service);
    take();
    notifier.reloading();
    state.status = 'Reload failed: x';
    notifier.reloaded();
    assert.deepEqual(take(), [
      'RELOADING=1\nMONOTONIC_USEC=123456789\nSTATUS=Reloading the configuration',
      'READY=1\nSTATUS=Reload failed: x',
    ]);
  });

  it('is the end, and nothing after it', async () => {
    const { clock, take, notifier, service } = setUp({ WATCHDOG_USEC: '2000000' });
    notifier.ready(service);
    take();
    notifier.stopping('Stopping', 2_000);
    notifier.reloading();
    notifier.reloaded();
    await clock.advance(60_000);
    assert.deepEqual(take(), ['STOPPING=1\nEXTEND_TIMEOUT_USEC=12000000\nSTATUS=Stopping']);
    assert.equal(clock.pending, 0);
  });

  it('if it cannot be told is logged once, and nothing else happens', () => {
    const { logged, notifier, service, state, take } = setUp();
    state.fails = true;
    notifier.ready(service);
    notifier.reloading();
    assert.deepEqual(logged.take(), ["WARN systemd cannot be told of the service's state: Error: ECONNREFUSED"]);
    state.fails = false;
    notifier.reloaded();
    assert.equal(take().length, 1);
  });
});

describe('the watchdog', () => {
  it('is fed at half its time while the threads run', async () => {
    const { clock, take, notifier, service } = setUp({ WATCHDOG_USEC: '2000000', WATCHDOG_PID: '42' });
    notifier.ready(service);
    take();
    await clock.advance(999);
    assert.deepEqual(take(), []);
    await clock.advance(1);
    assert.deepEqual(take(), ['WATCHDOG=1']);
    await clock.advance(3000);
    assert.equal(take().length, 3);
  });

  it('is not fed any more when a thread has missed two beats in a row', async () => {
    const { clock, take, notifier, service, state, logged } = setUp({ WATCHDOG_USEC: '2000000' });
    notifier.ready(service);
    take();
    state.beats = false;
    await clock.advance(1000);
    state.beats = true;
    await clock.advance(1000);
    assert.equal(take().length, 2, 'one may be chance');
    state.beats = false;
    await clock.advance(5000);
    assert.equal(take().length, 1);
    assert.deepEqual(logged.take(), [
      'ERROR A relay thread hangs: systemd is not told any more that the service is alive',
    ]);
  });

  it('of another process, or of no time, is not ours', async () => {
    for (const env of [
      { WATCHDOG_USEC: '2000000', WATCHDOG_PID: '41' },
      { WATCHDOG_USEC: '0' },
      { WATCHDOG_USEC: 'x' },
      {},
    ]) {
      const { clock, take, notifier, service } = setUp(env);
      notifier.ready(service);
      take();
      await clock.advance(60_000);
      assert.deepEqual(take(), []);
    }
  });
});
