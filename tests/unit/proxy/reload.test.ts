import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { SocketAddress } from '../../../src/dataplane/contract.ts';
import type { ListenerPlan } from '../../../src/plan.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';
import { CID_ANY } from '../../../src/platform/vsock.ts';
import type { Snapshot } from '../../../src/proxy/snapshot.ts';
import { target } from '../access/fixture.ts';
import { settle } from './fixture.ts';
import { CLIENT, listener, NAME, ON, type ProxyOptions, SERVER, setUpProxy } from './running.ts';

const OTHER: SocketAddress = { family: 'vsock', cid: 3, port: 8001 };
const THIRD: SocketAddress = { family: 'vsock', cid: 3, port: 8002 };
const fixed = { kind: 'target', target: target(`${NAME} 443`), proxyHeader: false } as const;
const CONNECT = `CONNECT ${NAME}:443 HTTP/1.1\r\nHost: ${NAME}:443\r\n\r\n`;
const GET = `GET http://${NAME}:443/ HTTP/1.1\r\nHost: ${NAME}:443\r\n\r\n`;

async function setUp(first: readonly ListenerPlan[], options: ProxyOptions = {}) {
  const proxy = setUpProxy(first, { names: { [NAME]: ['10.0.0.7'] }, ...options });
  const running = await proxy.start();
  await settled();
  proxy.logged.take();
  const plane = proxy.planes[0];
  assert.ok(plane);
  const server = proxy.net.serveAt(SERVER);
  /** Ids of the listeners that the data plane has. */
  const ids = () => plane.counters().map(({ listener: id }) => id);
  const reload = async (wanted: readonly ListenerPlan[] | Error) => {
    proxy.wanted.listeners = wanted;
    const { kind } = await running.reload();
    await settled();
    return kind;
  };
  const connect = async (to: SocketAddress) => {
    const client = await proxy.net.connect(to, CLIENT);
    return { client, accepted: await server.accept() };
  };
  return { ...proxy, running, plane, server, ids, reload, connect };
}

describe('vsock of a network namespace that is its own', () => {
  const warnings = async (all: readonly ListenerPlan[], hasOwnVsock: boolean) => {
    const { logged, start } = setUpProxy(all, { names: { [NAME]: ['10.0.0.7'] }, level: 'warn', hasOwnVsock });
    await start();
    return logged.take().filter((line) => line.includes('No enclave'));
  };

  it('is warned of in one line, whatever listens there', async () => {
    const warning =
      'vsock of this network namespace is its own (net.vsock.ns_mode is local). Hint: run the proxy in the network ' +
      'namespace of the host (docker: --network host; Kubernetes: hostNetwork: true; systemd: no PrivateNetwork=)';
    const one = [listener({ on: OTHER })];
    assert.deepEqual(await warnings(one, true), [`WARN No enclave can reach cid: 3 port: 8001: ${warning}`]);
    const two = [...one, listener({ on: THIRD })];
    assert.deepEqual(await warnings(two, true), [
      `WARN No enclave can reach cid: 3 port: 8001 (and 1 more): ${warning}`,
    ]);
  });

  it('is none where enclaves are met, and for what they do not reach anyway', async () => {
    assert.deepEqual(await warnings([listener({ on: OTHER })], false), []);
    assert.deepEqual(await warnings([listener({ on: { family: 'vsock', cid: 1, port: 8001 } })], true), []);
    assert.deepEqual(await warnings([listener({ on: { family: 'tcp', ip: '127.0.0.1', port: 8001 } })], true), []);
  });
});

async function settled(): Promise<void> {
  for (let i = 0; i < 5; i += 1) await settle();
}

describe('an address in use is said to be held by a removed listener', () => {
  const tcp = (ip: string, port = 80) => ({ family: 'tcp', ip, port }) as const;
  const unix = (path: string) => ({ family: 'unix', path }) as const;
  for (const [removed, added, overlaps] of [
    [tcp('0.0.0.0'), tcp('127.0.0.1'), true],
    [tcp('127.0.0.1'), tcp('0.0.0.0'), true],
    [tcp('::1'), tcp('::'), true],
    [unix('/var/run/x.sock'), unix('/run/x.sock'), true],
    [tcp('127.0.0.1', 18003), tcp('127.0.0.1', 18080), false],
    [tcp('0.0.0.0', 81), tcp('127.0.0.1'), false],
    [tcp('127.0.0.1'), tcp('127.0.0.2'), false],
    [tcp('0.0.0.0'), tcp('::'), false],
    [tcp('127.0.0.1', 8001), OTHER, false],
    [unix('/run/x.sock'), unix('/run/y.sock'), false],
    [{ family: 'vsock', cid: 16, port: 8001 }, OTHER, false],
  ] as const satisfies readonly (readonly [SocketAddress, SocketAddress, boolean])[]) {
    it(`${JSON.stringify(removed)} for ${JSON.stringify(added)}: ${overlaps}`, async () => {
      const { reload, logged } = await setUp([listener({ on: removed, route: fixed })], {
        level: 'error',
        bindErrno: (on) => (JSON.stringify(on) === JSON.stringify(added) ? 'EADDRINUSE' : undefined),
      });
      assert.equal(await reload([listener({ on: added, route: fixed, place: 'proxy.yaml:9' })]), 'failed');
      const line = logged.take().join();
      assert.match(line, /EADDRINUSE/);
      assert.equal(line.includes('may overlap with it'), overlaps, line);
      assert.equal(/`ss /.test(line), !overlaps, line);
    });
  }
});

describe('a reload that fails keeps everything, and says where', () => {
  const errors: readonly (readonly [
    what: string,
    wanted: readonly ListenerPlan[] | Error,
    line: RegExp,
    options?: ProxyOptions,
  ])[] = [
    [
      'because the file cannot be read',
      new VsockProxyError('config', 'Bad yaml format: a tab', { place: 'proxy.yaml:14', hint: 'use spaces' }),
      /^ERROR Reload failed, and everything goes on as before: Bad yaml format: a tab \(proxy\.yaml:14\)\. Hint: use spaces$/,
    ],
    ['because of a mistake of ours', new TypeError('not a function'), /as before: TypeError: not a function$/],
    [
      'because a new route is denied',
      [listener({ route: fixed }), listener({ on: OTHER, route: fixed, allow: ['x.example'], place: 'proxy.yaml:9' })],
      /as before: The given address and port are not allowed: .* \(proxy\.yaml:9\)\. Hint: /,
    ],
    [
      'because a changed route is denied',
      [listener({ route: fixed, allow: ['x.example'] })],
      /as before: The given address and port are not allowed: .* \(proxy\.yaml:3\)\. Hint: /,
    ],
    [
      'because a new route turns out to be denied',
      [listener({ on: OTHER, route: fixed, allow: ['192.0.2.0/24 443'], place: 'proxy.yaml:9' })],
      /as before: .*10\.0\.0\.7 is not in the allowlist for port 443 \(proxy\.yaml:9\)/,
    ],
    [
      'because a new address cannot be bound, after others could',
      [
        listener({ route: fixed, limits: { connections: 7, connectionsPerClient: 0, ratePerClient: 0 } }),
        listener({ on: THIRD, route: fixed }),
        listener({ on: OTHER, route: fixed, place: 'proxy.yaml:9' }),
      ],
      /as before: Could not bind to cid: 3 port: 8001: EACCES: .* \(proxy\.yaml:9\)/,
      { bindErrno: (on) => (on.family === 'vsock' && on.port === 8001 ? 'EACCES' : undefined) },
    ],
    [
      'because an address is taken by what the same change removes',
      [listener({ on: { family: 'vsock', cid: CID_ANY, port: 8000 }, route: fixed, place: 'proxy.yaml:9' })],
      /8000: EADDRINUSE: .* Hint: cid: 3 port: 8000 may overlap with it and is removed in the same step: reload once without/,
      { bindErrno: (on) => (on.family === 'vsock' && on.cid === CID_ANY ? 'EADDRINUSE' : undefined) },
    ],
    [
      'because an address is taken by another process, whatever the same change removes',
      [listener({ on: OTHER, route: fixed, place: 'proxy.yaml:9' })],
      /8001: EADDRINUSE: .* Hint: another process listens on this port; `ss --vsock -lnp` shows which/,
      { bindErrno: (on) => (on.family === 'vsock' && on.port === 8001 ? 'EADDRINUSE' : undefined) },
    ],
    [
      'because systemd has passed no such socket',
      [listener({ on: { family: 'systemd', name: 'kms' }, route: fixed, place: 'proxy.yaml:9' })],
      /as before: systemd has passed no socket with the name "kms" \(proxy\.yaml:9\)\. Hint: it has passed "a", "b": /,
      { sockets: { a: [3], b: [4] } },
    ],
  ];
  for (const [what, wanted, line, options] of errors) {
    it(what, async () => {
      const { reload, logged, connect, net, clock, running } = await setUp([listener({ route: fixed })], {
        level: 'error',
        ...options,
      });
      const before = await connect(ON);
      const pending = clock.pending;
      const listening = [...net.listening.keys()];
      assert.equal(await reload(wanted), 'failed');
      const lines = logged.take();
      assert.equal(lines.length, 1, lines.join('\n'));
      assert.match(lines[0] ?? '', line);
      assert.deepEqual([...net.listening.keys()], listening);
      assert.equal(clock.pending, pending, 'nothing is resolved for what does not run');
      before.client.write('still here');
      await before.accepted.receives('still here');
      await connect(ON);
      assert.match(
        running.status(),
        /^Reload failed( at proxy\.yaml:\d+)?: [^;]*; running with the configuration of 00:00:00Z$/,
      );
      assert.equal(await reload([listener({ route: fixed })]), 'done', 'and the next one may succeed');
      assert.equal(running.status(), 'Listening on 1 address; 2 connections');
    });
  }
});

describe('what a listener has counted goes on over reloads', () => {
  const figuresOf = (running: { snapshot(): Snapshot }) => {
    const [{ counters, http, denials, lastFailure } = assert.fail()] = running.snapshot().listeners;
    const { accepted, active, bytesUp, closed, duration } = counters;
    const ended = duration.counts.reduce((sum, count) => sum + count, 0);
    return { accepted, active, bytesUp, finished: closed.finished, ended, http, denials, lastFailure };
  };

  it('with the connections that are open still, and after their end, and once their listener is forgotten', async () => {
    const { reload, running, connect } = await setUp([listener({ route: fixed })]);
    const ends = [await connect(ON), await connect(ON)];
    const end = async ({ client, accepted }: (typeof ends)[number]) => {
      client.write('hello');
      await accepted.receives('hello');
      client.end();
      accepted.end();
      await settled();
    };
    await end(ends[0] ?? assert.fail());
    const { lastFailure: _, ...before } = figuresOf(running);
    assert.deepEqual(before, {
      ...{ accepted: 2, active: 1, bytesUp: 5, finished: 1, ended: 1 },
      ...{ http: undefined, denials: undefined },
    });
    for (const line of [4, 5, 6, 7]) {
      assert.equal(await reload([listener({ route: fixed, place: `proxy.yaml:${line}` })]), 'done');
      const { lastFailure: _, ...now } = figuresOf(running);
      assert.deepEqual(now, before);
    }
    ends.push(await connect(ON));
    await end(ends[1] ?? assert.fail());
    await end(ends[2] ?? assert.fail());
    for (const line of [8, 9, 10]) {
      assert.equal(await reload([listener({ route: fixed, place: `proxy.yaml:${line}` })]), 'done');
      const { accepted, active, bytesUp, finished, ended } = figuresOf(running);
      assert.deepEqual([accepted, active, bytesUp, finished, ended], [3, 0, 15, 3, 3]);
    }
  });

  it('with requests, denials and the last failure', async () => {
    const http = (line: number) => listener({ route: { kind: 'http' }, place: `proxy.yaml:${line}` });
    const { reload, running, net } = await setUp([http(3)]);
    const deny = async () => {
      const client = await net.connect(ON, CLIENT);
      client.write('CONNECT x.example:443 HTTP/1.1\r\nHost: x.example:443\r\n\r\n');
      await settled();
      client.end();
      await settled();
    };
    await deny();
    const before = figuresOf(running);
    assert.deepEqual([before.http?.methods, before.http?.statuses], [{ CONNECT: 1 }, { '4xx': 1 }]);
    assert.deepEqual(before.denials, { denied: 1 });
    assert.ok(before.lastFailure);
    for (const line of [4, 5, 6]) {
      assert.equal(await reload([http(line)]), 'done');
      assert.deepEqual(figuresOf(running), before);
    }
    await deny();
    const after = figuresOf(running);
    assert.deepEqual([after.http?.methods, after.denials], [{ CONNECT: 2 }, { denied: 2 }]);
  });

  it('from the first on, where it is replaced by a listener that cannot be bound after all', async () => {
    const { reload, running, connect } = await setUp([listener({ route: fixed })], {
      bindErrno: (on) => (on.family === 'vsock' && on.port === 8001 ? 'EACCES' : undefined),
    });
    await connect(ON);
    const moved = listener({ route: fixed, place: 'proxy.yaml:4' });
    for (let i = 0; i < 4; i += 1) {
      assert.equal(await reload([moved, listener({ on: OTHER, route: fixed })]), 'failed');
      await connect(ON);
      const { accepted, active } = figuresOf(running);
      assert.deepEqual([accepted, active], [i + 2, i + 2]);
    }
  });
});

describe('a reload', () => {
  it('without a difference leaves the listener alone', async () => {
    const { reload, logged, ids } = await setUp([listener({ route: fixed })]);
    assert.equal(await reload([listener({ route: fixed })]), 'done');
    assert.deepEqual(ids(), [1]);
    assert.deepEqual(logged.take(), ['INFO Reloaded: 1 listener unchanged']);
  });

  it('of a listener that only moved in the file makes it anew, so that messages name its lines, and calls it unchanged', async () => {
    const { reload, logged, ids } = await setUp([listener({ route: fixed })]);
    const moved = listener({ route: fixed, place: 'proxy.yaml:20' });
    const allow = moved.policy.allow.map((rule) => ({ ...rule, place: 'proxy.yaml:4' }));
    assert.equal(await reload([{ ...moved, policy: { allow, deny: [] } }]), 'done');
    assert.equal(ids().at(-1), 2);
    assert.equal(logged.take().at(-1), 'INFO Reloaded: 1 listener unchanged');
  });

  it('adds and removes listeners; connections of a removed one go on', async () => {
    const { reload, logged, connect, net } = await setUp([
      listener({ route: fixed }),
      listener({ on: OTHER, route: fixed }),
    ]);
    const { client, accepted } = await connect(OTHER);
    logged.take();
    assert.equal(await reload([listener({ route: fixed }), listener({ on: THIRD, route: fixed })]), 'done');
    const lines = logged.take();
    const summary = 'INFO Reloaded: added cid: 3 port: 8002; removed cid: 3 port: 8001; 1 listener unchanged';
    assert.ok(lines.includes('INFO Bound to cid: 3 port: 8002') && lines.includes(summary), lines.join('\n'));
    await assert.rejects(net.connect(OTHER, CLIENT));
    client.write('still here');
    await accepted.receives('still here');
    await connect(THIRD);
    await connect(ON);
  });

  it('that removes a listener ends the clients that wait for the first addresses of its name', async () => {
    const names = { [NAME]: new Promise<never>(() => undefined) };
    const { reload, net } = await setUp([listener({ route: fixed }), listener({ on: OTHER, route: fixed })], { names });
    const client = await net.connect(OTHER, CLIENT);
    assert.equal(await reload([listener({ route: fixed })]), 'done');
    assert.equal(await client.ended, 'reset');
  });

  it('keeps the clients that wait for the first addresses of a name, as often as it changes their listener', async () => {
    const addresses = Promise.withResolvers<readonly string[]>();
    const names = { [NAME]: addresses.promise };
    const { reload, net, server } = await setUp([listener({ route: fixed })], { names });
    const client = await net.connect(ON, CLIENT);
    assert.equal(await reload([listener({ route: fixed, place: 'proxy.yaml:4' })]), 'done');
    assert.equal(await reload([listener({ route: fixed, place: 'proxy.yaml:5' })]), 'done');
    addresses.resolve(['10.0.0.7']);
    const accepted = await server.accept();
    client.write('patience');
    await accepted.receives('patience');
  });

  it('that removes a changed listener ends the clients that have waited since before the change', async () => {
    const names = { [NAME]: new Promise<never>(() => undefined) };
    const { reload, net } = await setUp([listener({ route: fixed })], { names });
    const client = await net.connect(ON, CLIENT);
    assert.equal(await reload([listener({ route: fixed, place: 'proxy.yaml:4' })]), 'done');
    assert.equal(await reload([listener({ on: OTHER, route: fixed })]), 'done');
    assert.equal(await client.ended, 'reset');
  });

  it('of a changed listener keeps its socket, and the clients that wait in its queue', async () => {
    const one = { connections: 1, connectionsPerClient: 0, ratePerClient: 0 };
    const { reload, connect, net, server, logged } = await setUp([listener({ route: fixed, limits: one })], {
      level: 'warn',
    });
    const first = await connect(ON);
    const waiting = await net.connect(ON, CLIENT);
    waiting.write('patience');
    assert.equal(await reload([listener({ route: fixed, limits: { ...one, connections: 2 } })]), 'done');
    const accepted = await server.accept();
    await accepted.receives('patience');
    first.client.write('still here');
    await first.accepted.receives('still here');
    assert.match(
      logged.take()[0] ?? '',
      /^WARN Limit of 1 simultaneous connections reached: .* limits\.connections of the listener \(proxy\.yaml:3\) or of the file$/,
    );
  });

  it('opens the receiver of the log that could not be opened before', async () => {
    let descriptors = 0;
    const receiver = { address: SERVER, introduce: () => Buffer.of(), close: () => undefined };
    const openLogReceiver = () =>
      descriptors === 0 ? Promise.reject(new Error('listen EMFILE')) : Promise.resolve(receiver);
    const { reload } = await setUp([], { support: { openLogReceiver } });
    const wanted = [listener({ route: { kind: 'log' } })];
    assert.equal(await reload(wanted), 'failed');
    descriptors = 1;
    assert.equal(await reload(wanted), 'done');
  });

  it('of a fixed route while the DNS servers fail goes on with the last good answer', async () => {
    const { reload, connect, names, logged } = await setUp([listener({ route: fixed })], { level: 'warn' });
    names[NAME] = 'ESERVFAIL';
    assert.equal(
      await reload([listener({ route: fixed, timeouts: { connectMs: 1, idleMs: 0, headMs: 1, reuseMs: 0 } })]),
      'done',
    );
    await connect(ON);
    assert.match(logged.take()[0] ?? '', /serving the last good answer, 0 s old/);
  });

  it('of a fixed route to addresses that are not listed any more is decided by what its name resolves to now', async () => {
    const { reload, net, names, clock } = await setUp([listener({ route: fixed, allow: ['10.0.0.0/24 443'] })]);
    names[NAME] = ['10.0.1.7'];
    const moved = net.serveAt({ ...SERVER, ip: '10.0.1.7' });
    assert.equal(await reload([listener({ route: fixed, allow: ['10.0.1.0/24 443'] })]), 'done');
    await clock.advance(0);
    await net.connect(ON, CLIENT);
    await moved.accept();
  });

  it('of a fixed route to another name does not go on with the old answer', async () => {
    const { reload, net, clock } = await setUp([listener({ route: fixed })]);
    const route = { ...fixed, target: target('other.example 443') };
    assert.equal(await reload([listener({ route, allow: ['other.example 443'] })]), 'done');
    await clock.advance(0);
    assert.equal((await net.connect(ON, CLIENT)).ending, 'reset');
  });

  it('changes the policy for the next request on a connection that stays open', async () => {
    const { reload, net, server } = await setUp([listener({})]);
    const client = await net.connect(ON, CLIENT);
    client.write(GET);
    const accepted = await server.accept();
    accepted.write('HTTP/1.1 204 No Content\r\n\r\n');
    await settled();
    const passed = client.received;
    assert.match(passed, /^HTTP\/1\.1 204 /);
    assert.equal(await reload([listener({ allow: [NAME, 'more.example 443'] })]), 'done');
    client.write(GET);
    (await server.accept()).write('HTTP/1.1 204 No Content\r\n\r\n');
    await client.receives(passed + passed);
    assert.equal(await reload([listener({ allow: ['other.example 443'] })]), 'done');
    client.write(GET);
    await settled();
    assert.match(client.received.slice(2 * passed.length), /^HTTP\/1\.1 403 /);
  });

  it('brings a request that is under way on a removed listener to its end, and takes no other', async () => {
    const { reload, net, server, logged } = await setUp([listener({}), listener({ on: OTHER })], { level: 'warn' });
    const client = await net.connect(OTHER, CLIENT);
    client.write(GET);
    const accepted = await server.accept();
    assert.equal(await reload([listener({})]), 'done');
    accepted.write('HTTP/1.1 204 No Content\r\n\r\n');
    await settled();
    assert.match(client.received, /^HTTP\/1\.1 204 /);
    client.write(GET);
    await settled();
    assert.equal(client.ending, 'reset');
    assert.match(logged.take()[0] ?? '', /its listener has been removed from the configuration/);
  });

  it('asked for during another one is made once more after it, with the plan of then', async () => {
    const { running, wanted, net } = await setUp([listener({ route: fixed })]);
    wanted.listeners = [listener({ route: fixed }), listener({ on: OTHER, route: fixed })];
    const first = running.reload();
    await settle();
    await settle();
    wanted.listeners = [listener({ route: fixed }), listener({ on: THIRD, route: fixed })];
    const [second, third] = [running.reload(), running.reload()];
    await Promise.all([first, second, third]);
    await assert.rejects(net.connect(OTHER, CLIENT));
    await net.connect(THIRD, CLIENT);
  });

  it('during the drain changes nothing', async () => {
    const { running, wanted, net, logged } = await setUp([listener({ route: fixed })]);
    wanted.listeners = [listener({ on: OTHER, route: fixed })];
    const reloading = running.reload();
    await running.drain();
    assert.equal((await reloading).kind, 'failed');
    assert.equal(net.listening.size, 1, 'the server of the test');
    assert.ok(!logged.take().some((line) => line.startsWith('ERROR')));
  });
});

describe('sockets that systemd has passed', () => {
  const SYSTEMD = { family: 'systemd', name: 'kms' } as const;

  it('are listened on, all of one name, and told by their own address', async () => {
    const proxy = setUpProxy([listener({ on: SYSTEMD, route: fixed })], {
      names: { [NAME]: ['10.0.0.7'] },
      sockets: { kms: [3, 5] },
    });
    proxy.net.pass(3, ON);
    proxy.net.pass(5, OTHER);
    const server = proxy.net.serveAt(SERVER);
    const waiting = await proxy.net.connect(OTHER, CLIENT); // before anybody accepts
    const running = await proxy.start();
    assert.equal(running.status(), 'Listening on 2 addresses; 1 connection');
    await settled();
    waiting.write('early');
    await (await server.accept()).receives('early');
    await proxy.net.connect(ON, CLIENT);
    await server.accept();
    const lines = proxy.logged.take();
    assert.ok(lines.includes('INFO Bound to cid: 3 port: 8000'));
    assert.ok(lines.includes('INFO Bound to cid: 3 port: 8001'));
  });

  it('keep their clients over a change, a removal and an addition', async () => {
    const proxy = setUpProxy([listener({ on: SYSTEMD, route: fixed })], {
      names: { [NAME]: ['10.0.0.7'] },
      sockets: { kms: [3] },
    });
    proxy.net.pass(3, ON);
    const server = proxy.net.serveAt(SERVER);
    const running = await proxy.start();
    for (const next of [[listener({ on: SYSTEMD })], [], [listener({ on: SYSTEMD, route: fixed })]]) {
      proxy.wanted.listeners = next;
      assert.equal((await running.reload()).kind, 'done');
    }
    await settled();
    await proxy.net.connect(ON, CLIENT);
    await server.accept();
  });

  it('and that no listener uses are told at the start and at each reload, and may be used by the next one', async () => {
    const proxy = setUpProxy([listener({ route: fixed })], {
      names: { [NAME]: ['10.0.0.7'] },
      sockets: { kms: [3, 4], 'a\u0007"b': [5] },
      level: 'warn',
    });
    proxy.net.pass(3, OTHER);
    proxy.net.pass(4, THIRD);
    const server = proxy.net.serveAt(SERVER);
    const waiting = await proxy.net.connect(OTHER, CLIENT);
    const running = await proxy.start();
    const kms =
      'WARN systemd has passed a socket with the name "kms", which no listener uses: its clients wait for nobody. ' +
      'Hint: give it a listener (listen: "systemd:kms"), or stop its .socket unit';
    const [first, second] = proxy.logged.take();
    assert.equal(first, kms);
    assert.match(
      second ?? '',
      /^WARN systemd has passed a socket with the name "a\\u\{7\}\\"b", which no listener uses/,
    );
    await running.reload();
    assert.equal(proxy.logged.take().length, 2);
    proxy.wanted.listeners = [listener({ on: SYSTEMD, route: fixed })];
    await running.reload();
    assert.equal(proxy.logged.take().length, 1);
    await settled();
    waiting.write('patience');
    await (await server.accept()).receives('patience');
  });

  it('that are not there do not let the proxy start', async () => {
    const proxy = setUpProxy([listener({ on: SYSTEMD, route: fixed })]);
    await assert.rejects(
      proxy.start(),
      (error) =>
        error instanceof VsockProxyError &&
        error.line ===
          'systemd has passed no socket with the name "kms" (proxy.yaml:3). Hint: it has passed none at all: the service ' +
            'needs a .socket unit, with FileDescriptorName=',
    );
  });

  it('that cannot be listened on say so by their name', async () => {
    const proxy = setUpProxy([listener({ on: SYSTEMD, route: fixed })], { sockets: { kms: [9] } });
    await assert.rejects(
      proxy.start(),
      (error) => error instanceof VsockProxyError && /^Could not bind to systemd: kms: EBADF/.test(error.line),
    );
  });
});

describe('many reloads', () => {
  it('leave nothing behind, and lose no connection', async () => {
    const { reload, ids, clock, net, server, running, connect } = await setUp([listener({})], { level: 'warn' });
    const tunnel = await net.connect(ON, CLIENT);
    tunnel.write(CONNECT);
    const far = await server.accept();
    const sizes: number[][] = [];
    for (let round = 0; round < 500; round += 1) {
      const limits = { connections: 10 + (round % 3), connectionsPerClient: 0, ratePerClient: 0 };
      const wanted: ListenerPlan[] = [
        listener({ limits }),
        ...(round % 2 === 0 ? [listener({ on: OTHER, route: fixed })] : []),
      ];
      assert.equal(await reload(wanted), 'done');
      if (round % 2 === 0) {
        const { client, accepted } = await connect(OTHER);
        client.end();
        accepted.end();
      }
      if (round % 100 === 99) sizes.push([ids().length, net.listening.size, clock.pending]);
    }
    assert.equal(new Set(sizes.map(String)).size, 1, JSON.stringify(sizes));
    tunnel.write('still here');
    await far.receives('still here');
    tunnel.end();
    far.end();
    await settled();
    assert.equal(running.status(), 'Listening on 1 address; 0 connections');
  });
});
