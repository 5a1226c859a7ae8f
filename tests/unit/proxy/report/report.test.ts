import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type {
  CloseReason,
  CloseRecord,
  ConnectionId,
  ListenerCounters,
  ListenerId,
  SocketAddress,
} from '../../../../src/dataplane/contract.ts';
import type { Refusal } from '../../../../src/proxy/handlers/dispatcher.ts';
import { Report } from '../../../../src/proxy/report/report.ts';
import { ManualClock, recordLog } from '../fixture.ts';

const LISTENER = 1 as ListenerId;
const ON: SocketAddress = { family: 'vsock', cid: 3, port: 8000 };
const PARENT: SocketAddress = { family: 'vsock', cid: 3, port: 8001 };
const CLIENT: SocketAddress = { family: 'vsock', cid: 16, port: 5005 };
const SERVER = { family: 'tcp', ip: '10.0.0.7', port: 443 } as const;
const PERIOD_MS = 10_000;
const TARGET = 'kms.eu-west-1.amazonaws.com:443';

function record(reason: CloseReason, changes: Partial<CloseRecord> = {}): CloseRecord {
  return {
    listener: LISTENER,
    connection: 17 as ConnectionId,
    client: CLIENT,
    server: SERVER,
    bytesUp: 1,
    bytesDown: 2,
    queuedMs: 0,
    connectMs: 3.21,
    totalMs: 105.04,
    phase: 'relaying',
    reason,
    endedBy: 'server',
    ...changes,
  };
}

const REFUSED = record('connect-failed', { errno: 'ECONNREFUSED', phase: 'connecting' });

type Reported = 'listener' | 'active' | 'closed' | 'limitHits' | 'limitWaitMs' | 'waitingMs';

function setUp({ level = 'info', on = ON, asks = false } = {}) {
  const clock = new ManualClock();
  const logged = recordLog(level);
  const counters: { -readonly [Key in Reported]: ListenerCounters[Key] } = {
    listener: LISTENER,
    active: 0,
    closed: {} as ListenerCounters['closed'],
    limitHits: 1,
    limitWaitMs: 0,
    waitingMs: 0,
  };
  const refusals = new Map<ConnectionId, Refusal>();
  const report = new Report({
    log: logged.logFor('vsock_proxy::proxy'),
    clock,
    now: () => new Date(clock.now()),
    counters: () => [{ ...counters }],
    refusalOf: (connection) => refusals.get(connection),
    targetOf: (target) => (target === 7 ? 'a.example:443' : undefined),
  });
  report.addRoute(LISTENER, {
    on,
    ...(asks ? {} : { target: TARGET }),
    limits: { connections: 4, connectionsPerClient: 2, ratePerClient: 10 },
    timeouts: { connectMs: 5000, idleMs: 60_000, headMs: 3000, reuseMs: 0 },
    absence: () => 'kms.eu-west-1.amazonaws.com is not resolved yet',
  });
  return { clock, logged, counters, refusals, report, events: report.events };
}

describe('a client that could not be served gives one warning that says why and what to do', () => {
  const server = 'kms.eu-west-1.amazonaws.com:443 at 10.0.0.7:443';
  const cases: readonly (readonly [record: CloseRecord, line: RegExp])[] = [
    [
      REFUSED,
      new RegExp(
        `: could not connect to ${server}: ECONNREFUSED: connection refused \\(after 105 ms\\)\\. Hint: nothing listens`,
      ),
    ],
    [{ ...REFUSED, errno: 'EHOSTUNREACH' }, /EHOSTUNREACH: .*Hint: there is no route/],
    [{ ...REFUSED, errno: 'ENETUNREACH' }, /ENETUNREACH: .*Hint: there is no route.*--ipv4/],
    [{ ...REFUSED, errno: 'EACCES' }, /EACCES: .*Hint: SELinux forbids it, perhaps/],
    [{ ...REFUSED, errno: 'EPERM' }, /EPERM: .*Hint: a firewall rule, a seccomp profile/],
    [{ ...REFUSED, errno: 'EAFNOSUPPORT' }, /EAFNOSUPPORT: .*Hint: this machine has no such addresses/],
    [{ ...REFUSED, errno: 'ETIMEDOUT' }, /ETIMEDOUT: .*Hint: check security groups/],
    [{ ...REFUSED, errno: 'EPERM' }, /EPERM: .*IPAddressDeny/],
    [{ ...REFUSED, errno: 'EADDRNOTAVAIL' }, /EADDRNOTAVAIL: .*ip_local_port_range/],
    [{ ...REFUSED, errno: 'ESOMETHING' }, /: ESOMETHING \(after/],
    [{ ...REFUSED, server: { family: 'tcp', ip: '::1', port: 443 } }, /at \[::1\]:443: /],
    [
      { ...REFUSED, server: PARENT, errno: 'ECONNRESET' },
      /at cid: 3 port: 8001: ECONNRESET: .*Hint: nothing listens on this/,
    ],
    [{ ...REFUSED, server: PARENT, errno: 'ENODEV' }, /ENODEV: .*Hint: no machine has this CID/],
    [{ ...REFUSED, server: PARENT, errno: 'ENETUNREACH' }, /ENETUNREACH: .*Hint: vsock of this network namespace/],
    [{ ...REFUSED, server: PARENT, errno: 'EPERM' }, /EPERM: .*Hint: in a container, the seccomp profile/],
    [{ ...REFUSED, server: PARENT, errno: 'EAFNOSUPPORT' }, /EAFNOSUPPORT: .*Hint: this system has no AF_VSOCK/],
    [
      record('connect-timeout', { server: PARENT }),
      new RegExp(
        `: connected for ${TARGET} at cid: 3 port: 8001, and got no answer there within 8000 ms .*timeouts\\.head and`,
      ),
    ],
    [
      record('connect-timeout', { server: PARENT, phase: 'connecting' }),
      /within 5000 ms .*Hint: no machine answers .*timeouts\.connect/,
    ],
    [
      { ...REFUSED, server: { family: 'unix', path: '/run/x' }, errno: 'ENOENT' },
      /at unix: \/run\/x: ENOENT: .*the file/,
    ],
    [{ ...REFUSED, server: { family: 'unix', path: '/run/x' }, errno: 'EPERM' }, /EPERM: .*Hint: a seccomp profile/],
    [{ ...REFUSED, server: { family: 'unix', path: '/run/x' }, errno: 'EAGAIN' }, /EAGAIN: .*Hint: the queue/],
    [
      record('connect-timeout', { errno: 'ETIMEDOUT', phase: 'connecting' }),
      new RegExp(`: could not connect to ${server} within 5000 ms .*timeouts\\.connect`),
    ],
    [
      record('no-upstream', { server: SERVER }),
      /: no address for kms\.eu-west-1\.amazonaws\.com:443: kms\.eu-west-1\.amazonaws\.com is not resolved yet \(after 105 ms\)/,
    ],
    [
      record('internal', { errno: 'EMFILE' }),
      /: the proxy itself failed while relaying: EMFILE: too many open files .*Hint: raise the number of open files: LimitNOFILE=/,
    ],
    [record('internal', { errno: 'ENFILE' }), /fs\.file-max/],
    [record('internal', { errno: 'ENOMEM' }), /short of memory/],
    [record('internal'), /: the proxy itself failed while relaying: unknown reason /],
  ];
  for (const [failed, line] of cases) {
    it(`${failed.reason} ${failed.errno ?? ''}`, () => {
      const { logged, events } = setUp({ level: 'warn' });
      events.onClose([failed]);
      const lines = logged.take();
      assert.equal(lines.length, 1);
      assert.match(lines[0] ?? '', /^WARN Client on cid: 16 port: 5005: /);
      assert.match(lines[0] ?? '', line);
    });
  }
});

describe('a flood of failures', () => {
  it('is one warning at once and one per period, with the count, and then silence', async () => {
    const { clock, logged, events } = setUp({ level: 'warn' });
    for (let i = 0; i < 500; i += 1) events.onClose([REFUSED, REFUSED]);
    assert.equal(logged.take().length, 1);
    await clock.advance(PERIOD_MS);
    assert.deepEqual(logged.take(), [
      'WARN The same for 999 more clients within 10 s: could not connect to kms.eu-west-1.amazonaws.com:443 at ' +
        '10.0.0.7:443: ECONNREFUSED: connection refused. Hint: nothing listens there, or a firewall rejects it',
    ]);
    await clock.advance(5 * PERIOD_MS);
    assert.deepEqual(logged.take(), []);
    assert.equal(clock.pending, 0);
  });

  it('at one address does not hide failures at another', () => {
    const { logged, events } = setUp({ level: 'warn' });
    events.onClose([REFUSED, REFUSED, { ...REFUSED, server: { ...SERVER, ip: '10.0.0.8' } }]);
    assert.equal(logged.take().length, 2);
  });

  it('is there in full at level debug', () => {
    const { logged, events } = setUp({ level: 'debug' });
    events.onClose([REFUSED, REFUSED, REFUSED]);
    assert.equal(logged.take().filter((line) => line.startsWith('DEBUG Closed connection 17 ')).length, 3);
  });

  it('is there at level info, one line for each, whose hint stands in the warning', () => {
    const { logged, events } = setUp({ level: 'info' });
    events.onClose([REFUSED, { ...REFUSED, client: { ...CLIENT, port: 5006 } }]);
    const problem =
      'could not connect to kms.eu-west-1.amazonaws.com:443 at 10.0.0.7:443: ECONNREFUSED: connection refused';
    assert.deepEqual(logged.take(), [
      `WARN Client on cid: 16 port: 5005: ${problem} (after 105 ms). Hint: nothing listens there, or a firewall rejects it`,
      `INFO Client on cid: 16 port: 5006: ${problem} (after 105 ms)`,
    ]);
  });

  it('whose count was held back is told at the end', () => {
    const { logged, events, report } = setUp({ level: 'warn' });
    events.onClose([REFUSED, REFUSED]);
    logged.take();
    report.stop();
    assert.match(logged.take()[0] ?? '', /^WARN The same for 1 more client within/);
  });
});

describe('the limit', () => {
  it('is told at once, then once per period with counts while clients wait, and then no more', async () => {
    const { clock, logged, counters, events } = setUp({ level: 'warn' });
    events.onFault([{ kind: 'limit', listener: LISTENER }]);
    assert.deepEqual(logged.take(), [
      'WARN Limit of 4 simultaneous connections reached: a client waits. Hint: raise --num_workers or limits.connections',
    ]);
    for (let second = 0; second < 10; second += 1) events.onFault([{ kind: 'limit', listener: LISTENER }]);
    assert.deepEqual(logged.take(), []);
    Object.assign(counters, { limitHits: 38, limitWaitMs: 51_234, waitingMs: 3100 });
    await clock.advance(PERIOD_MS);
    assert.deepEqual(logged.take(), [
      'WARN Limit of 4 simultaneous connections: 38 clients had to wait within 10 s (51.2 s in all), one ' +
        'waits now (for 3.1 s). Hint: raise --num_workers or limits.connections',
    ]);
    Object.assign(counters, { limitHits: 39, limitWaitMs: 52_234, waitingMs: 0 });
    await clock.advance(PERIOD_MS);
    assert.match(logged.take()[0] ?? '', /: 1 client had to wait within 10 s \(1\.0 s in all\), none waits now\. Hint/);
    await clock.advance(10 * PERIOD_MS);
    assert.deepEqual(logged.take(), []);
    assert.equal(clock.pending, 0);
  });

  it('goes on being told while one and the same client waits', async () => {
    const { clock, logged, counters, events } = setUp({ level: 'warn' });
    events.onFault([{ kind: 'limit', listener: LISTENER }]);
    counters.waitingMs = 10_000;
    await clock.advance(PERIOD_MS);
    assert.match(
      logged.take()[1] ?? '',
      /: 1 client had to wait within 10 s \(0\.0 s in all\), one waits now \(for 10\.0 s\)/,
    );
  });
});

describe('a failing accept', () => {
  it('is told at once, and once per period while it lasts', async () => {
    const { clock, logged, events } = setUp({ level: 'warn' });
    const fault = { kind: 'accept', listener: LISTENER, errno: 'EMFILE' } as const;
    events.onFault([fault]);
    for (let second = 0; second < 9; second += 1) events.onFault([fault]);
    await clock.advance(2 * PERIOD_MS);
    const problem = 'WARN Could not accept a client on cid: 3 port: 8000: EMFILE: too many open files';
    const hint = 'Hint: raise the number of open files: LimitNOFILE= of the service, or ulimit -n';
    assert.deepEqual(logged.take(), [
      `${problem}; it is tried again. ${hint}`,
      `${problem}; this has gone on for 10 s more. ${hint}`,
    ]);
  });
});

describe('the life of a connection, in the words of the AWS proxy', () => {
  it('accepted, connected, disconnected', () => {
    const { logged, events } = setUp();
    const common = { listener: LISTENER, connection: 17 as ConnectionId, client: CLIENT };
    events.onProgress([
      { step: 'accepted', ...common },
      { step: 'connected', ...common, server: SERVER },
    ]);
    events.onClose([record('finished')]);
    assert.deepEqual(logged.take(), [
      'INFO Accepted connection on cid: 16 port: 5005',
      'INFO Connected client from cid: 16 port: 5005 to 10.0.0.7:443',
      'INFO Client on cid: 16 port: 5005 disconnected',
    ]);
  });

  it('in fields, for machines', () => {
    const { logged, events } = setUp();
    const of = { listener: LISTENER, connection: 17 as ConnectionId, client: CLIENT };
    events.onProgress([{ step: 'connected', ...of, server: SERVER }]);
    events.onClose([record('finished'), REFUSED]);
    const client = { listener: 'vsock:3:8000', client: 'vsock:16:5005', cid: 16 };
    const [connected, closed, failed] = logged.records;
    assert.deepEqual(connected, {
      level: 'info',
      event: 'connected',
      ...client,
      target: TARGET,
      server: '10.0.0.7:443',
      connection: 17,
    });
    assert.partialDeepStrictEqual(closed, { level: 'info', event: 'closed', ...client, reason: 'finished' });
    assert.partialDeepStrictEqual(failed, {
      level: 'warn',
      event: 'failed',
      ...client,
      target: TARGET,
      reason: 'connect-failed',
      errno: 'ECONNREFUSED',
    });
  });

  const endings: readonly (readonly [record: CloseRecord, line: string])[] = [
    [
      record('reset', { errno: 'ECONNRESET' }),
      'INFO Client on cid: 16 port: 5005 disconnected: reset by the server (ECONNRESET)',
    ],
    [record('reset', { endedBy: 'client' }), 'INFO Client on cid: 16 port: 5005 disconnected: reset by the client'],
    [
      record('idle-timeout'),
      'INFO Client on cid: 16 port: 5005 disconnected: nothing was sent for 60000 ms (timeouts.idle)',
    ],
    [record('drained'), 'INFO Client on cid: 16 port: 5005 disconnected: still open at the end of the drain'],
  ];
  for (const [ended, line] of endings) {
    it(`${ended.reason} by the ${ended.endedBy}`, () => {
      const { logged, events } = setUp();
      events.onClose([ended]);
      assert.deepEqual(logged.take(), [line]);
    });
  }

  it('clients of other families are named likewise', () => {
    const { logged, events } = setUp({ on: { family: 'unix', path: '/run/x.sock' } });
    events.onClose([
      record('finished', { client: { family: 'unix', path: '' } }),
      record('finished', { client: { family: 'unix', path: '/run/client' } }),
      record('finished', { client: { family: 'tcp', ip: '::1', port: 5 } }),
    ]);
    assert.deepEqual(logged.take(), [
      'INFO Client on unix: /run/x.sock disconnected',
      'INFO Client on unix: /run/client disconnected',
      'INFO Client on tcp: [::1]:5 disconnected',
    ]);
  });

  it('the whole record is there at level debug', () => {
    const { logged, events } = setUp({ level: 'debug' });
    events.onClose([record('reset', { errno: 'ECONNRESET', queuedMs: 7 })]);
    assert.equal(
      logged.take()[0],
      'DEBUG Closed connection 17 from cid: 16 port: 5005 on cid: 3 port: 8000 to kms.eu-west-1.amazonaws.com:443 at ' +
        '10.0.0.7:443: reset (ECONNRESET) by the server while relaying; bytes up 1, down 2; ms queued 7.0, connect 3.2, total 105.0',
    );
  });
});

describe('listeners whose clients each ask for a target', () => {
  const DENIED = record('denied', { phase: 'deciding', endedBy: 'proxy' });

  it('name it where a client is connected, and in the record', () => {
    const { logged, events } = setUp({ asks: true, level: 'debug' });
    const common = { listener: LISTENER, connection: 17 as ConnectionId, client: CLIENT, server: SERVER };
    events.onProgress([{ step: 'connected', ...common, target: 7 }]);
    events.onProgress([{ step: 'connected', ...common, target: 8 }]);
    events.onClose([record('finished', { target: 7 })]);
    const lines = logged.take();
    assert.equal(lines[0], 'INFO Connected client from cid: 16 port: 5005 to 10.0.0.7:443 (a.example:443)');
    assert.equal(lines[1], 'INFO Connected client from cid: 16 port: 5005 to 10.0.0.7:443 (an earlier target)');
    assert.match(lines[2] ?? '', / to a\.example:443 at 10\.0\.0\.7:443: finished /);
  });

  it('tell of a flood of refusals by what it was for, not by client', async () => {
    const { clock, logged, events, refusals } = setUp({ asks: true, level: 'warn' });
    for (let i = 0; i < 1000; i += 1) {
      refusals.set(17 as ConnectionId, { problem: `n${i % 2} is not allowed`, hint: 'allow it', subject: `n${i % 2}` });
      events.onClose([DENIED]);
    }
    assert.deepEqual(logged.take(), [
      'WARN Client on cid: 16 port: 5005: n0 is not allowed (after 105 ms). Hint: allow it',
    ]);
    await clock.advance(PERIOD_MS);
    assert.deepEqual(logged.take(), ['WARN 999 more clients within 10 s met a denial: n1 (500), n0 (499)']);
    await clock.advance(PERIOD_MS);
    assert.equal(clock.pending, 0);
  });

  it('tell of many targets that fail in one line per period, however many there are', async () => {
    const { clock, logged, events } = setUp({ asks: true, level: 'warn' });
    for (let i = 0; i < 100; i += 1) {
      events.onClose([{ ...REFUSED, target: 7, server: { ...SERVER, ip: `10.0.0.${i}` } }]);
    }
    assert.equal(logged.take().length, 1);
    await clock.advance(PERIOD_MS);
    const [line, ...others] = logged.take();
    assert.match(
      line ?? '',
      /^WARN 99 more clients within 10 s could not be connected: a\.example:443 at 10\.0\.0\.1:443: ECONNREFUSED, .*, others \(94\)$/,
    );
    assert.deepEqual(others, []);
  });

  it('tell of clients that say nothing, and of bodies that make no sense', () => {
    const { logged, events } = setUp({ asks: true, level: 'warn' });
    events.onClose([
      record('head-timeout', { phase: 'deciding', endedBy: 'proxy' }),
      record('malformed', { endedBy: 'client' }),
    ]);
    assert.deepEqual(logged.take(), [
      'WARN Client on cid: 16 port: 5005: no whole request head or ClientHello came within 3000 ms (timeouts.head) ' +
        '(after 105 ms). Hint: its protocol may be one in which the server speaks first (MySQL, SMTP, …), and that needs a listener with connect',
      'WARN Client on cid: 16 port: 5005: the body of its request is not framed as announced (after 105 ms)',
    ]);
  });

  it('tell of responses that make no sense', () => {
    const { logged, events } = setUp({ asks: true, level: 'warn' });
    events.onClose([record('malformed', { endedBy: 'server' })]);
    assert.deepEqual(logged.take(), [
      'WARN Client on cid: 16 port: 5005: its response has a body that is not framed as announced, a head without an end, ' +
        'or too many interim responses (after 105 ms)',
    ]);
  });
});

describe('clients that are refused when they are accepted', () => {
  const refused = (kind: 'not-admitted' | 'client-limit' | 'client-rate', client: SocketAddress = CLIENT) =>
    ({ kind, listener: LISTENER, client }) as const;

  it('are told of with the reason and the key that says so', () => {
    const { logged, events } = setUp({ level: 'warn' });
    events.onFault([
      refused('not-admitted'),
      refused('client-limit', { family: 'tcp', ip: '192.0.2.9', port: 5 }),
      refused('client-rate'),
    ]);
    assert.deepEqual(logged.take(), [
      "WARN Client on cid: 16 port: 5005 refused: CID 16 may not connect. Hint: the listener's cids say who may",
      'WARN Client on tcp: 192.0.2.9:5 refused: 192.0.2.9 has 2 connections open already. Hint: the limit is ' +
        'limits.connections_per_client of the file',
      'WARN Client on cid: 16 port: 5005 refused: CID 16 opens more than 10 connections per second. Hint: the limit is ' +
        'limits.rate_per_client of the file',
    ]);
  });

  it('are counted by the data plane, of which one line per period tells', async () => {
    const { clock, logged, events, counters } = setUp({ level: 'warn' });
    // Some come before the first one is heard of.
    counters.closed = { 'client-rate': 40 } as ListenerCounters['closed'];
    events.onFault([refused('client-rate')]);
    logged.take();
    events.onFault([refused('client-rate', { family: 'vsock', cid: 17, port: 1 })]);
    counters.closed = { 'client-rate': 5001 } as ListenerCounters['closed'];
    await clock.advance(PERIOD_MS);
    assert.deepEqual(logged.take(), [
      'WARN 5000 more clients refused (client-rate) within 10 s, among them CID 17. Hint: the limit is ' +
        'limits.rate_per_client of the file',
    ]);
    await clock.advance(PERIOD_MS);
    assert.equal(clock.pending, 0);
    counters.closed = { 'client-rate': 5003 } as ListenerCounters['closed'];
    events.onFault([refused('client-rate')]);
    logged.take();
    await clock.advance(PERIOD_MS);
    assert.match(logged.take()[0] ?? '', /^WARN 1 more client refused/);
  });
});

describe('the limit of one among several listeners', () => {
  it('is told with its address, and where it is written', () => {
    const { logged, events, report } = setUp({ level: 'warn' });
    const second = 2 as ListenerId;
    report.addRoute(second, {
      on: { family: 'unix', path: '/run/x.sock' },
      place: 'proxy.yaml:14',
      limits: { connections: 9, connectionsPerClient: 0, ratePerClient: 0 },
      timeouts: { connectMs: 1, idleMs: 0, headMs: 1, reuseMs: 0 },
      absence: () => '',
    });
    events.onFault([{ kind: 'limit', listener: second }]);
    assert.deepEqual(logged.take(), [
      'WARN Limit of 9 simultaneous connections on unix: /run/x.sock reached: a client waits. Hint: raise ' +
        'limits.connections of the listener (proxy.yaml:14) or of the file',
    ]);
  });
});

describe('an event that cannot be told', () => {
  it('ends nobody and swallows no other event', () => {
    const { logged, events } = setUp();
    const broken = { ...record('finished'), client: undefined } as unknown as CloseRecord;
    events.onClose([broken, record('finished')]);
    const [error, line] = logged.take();
    assert.match(error ?? '', /^ERROR An event of the data plane could not be reported: TypeError: /);
    assert.equal(line, 'INFO Client on cid: 16 port: 5005 disconnected');
  });
});
