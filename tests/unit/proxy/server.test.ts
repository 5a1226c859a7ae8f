import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { SocketAddress } from '../../../src/dataplane/contract.ts';
import type { ListenerPlan } from '../../../src/plan.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';
import { serve } from '../../../src/proxy/server.ts';
import { FakeDataPlane } from '../../dataplane/fake.ts';
import { FakeNetwork, type FakeNetworkOptions } from '../../dataplane/network.ts';
import { policy, target } from '../access/fixture.ts';
import { ManualClock, type Names, recordLog, resolverOf, settle } from './fixture.ts';

const NAME = 'api.example.com';
const ON: SocketAddress = { family: 'vsock', cid: 3, port: 8000 };
const CLIENT: SocketAddress = { family: 'vsock', cid: 16, port: 5005 };
const SERVER = { family: 'tcp', ip: '10.0.0.7', port: 443 } as const;

function setUp(names: Names = {}, { level = 'info', ...network }: FakeNetworkOptions & { level?: string } = {}) {
  const clock = new ManualClock();
  const net = new FakeNetwork({ ...network, clock });
  const logged = recordLog(level);
  const planes: FakeDataPlane[] = [];
  const resolver = resolverOf(names);
  const listener: ListenerPlan = {
    on: ON,
    route: { kind: 'target', target: target(`${NAME} 443`), proxyHeader: false },
    family: 'any',
    policy: policy([`${NAME} 443`]),
    limits: { connections: 4, connectionsPerClient: 0, ratePerClient: 0 },
    timeouts: { connectMs: 5000, idleMs: 0, headMs: 5000, reuseMs: 0 },
  };
  const start = (changes: Partial<ListenerPlan> = {}) =>
    serve(() => Promise.resolve({ listeners: [{ ...listener, ...changes }], drainMs: 30_000 }), {
      logFor: logged.logFor,
      clock,
      now: () => new Date(0),
      resolver: { resolve: (...query) => settle().then(() => resolver.resolve(...query)) }, // no sooner than a network
      activatedSockets: () => Promise.resolve(new Map()),
      hasOwnVsock: () => false,
      openDataPlane(events) {
        const plane = new FakeDataPlane(net, events);
        planes.push(plane);
        return plane;
      },
    });
  return { clock, net, logged, planes, names, start };
}

describe('a start that fails', () => {
  it('for a denied route binds nothing and leaves nothing behind', async () => {
    const { clock, net, planes, start } = setUp();
    await assert.rejects(
      start({ policy: policy(['other.example 443']) }),
      (error) => error instanceof VsockProxyError && error.code === 'denied',
    );
    assert.equal(planes.length, 0);
    assert.equal(net.listening.size, 0);
    assert.equal(clock.pending, 0);
  });

  it('for a route that turns out to be denied binds nothing and leaves nothing behind', async () => {
    const { clock, planes, start } = setUp({ [NAME]: ['192.0.2.1'] });
    await assert.rejects(
      start({ policy: policy(['10.0.0.0/8 443']) }),
      (error) => error instanceof VsockProxyError && error.code === 'denied',
    );
    assert.equal(planes.length, 0);
    await settle();
    assert.equal(clock.pending, 0);
  });

  it('for want of the address says why and leaves nothing behind', async () => {
    const { clock, logged, start } = setUp({ [NAME]: ['10.0.0.7'] }, { bindErrno: () => 'EADDRNOTAVAIL' });
    await assert.rejects(
      start(),
      (error) =>
        error instanceof VsockProxyError && /^Could not bind to cid: 3 port: 8000: EADDRNOTAVAIL/.test(error.line),
    );
    await settle();
    assert.equal(clock.pending, 0);
    assert.ok(!logged.take().some((line) => line.includes('listening')));
  });
});

describe('a started proxy', () => {
  it('tells of its start, and of each connection, in the words of the AWS proxy', async () => {
    const { clock, net, logged, start } = setUp({ [NAME]: ['10.0.0.7'] });
    const server = net.serveAt(SERVER);
    await start();
    await clock.advance(0);
    const client = await net.connect(ON, CLIENT);
    const accepted = await server.accept();
    client.write('question');
    await accepted.receives('question');
    client.end();
    accepted.end();
    await settle();
    assert.deepEqual(logged.take(), [
      'INFO Matched with host name "api.example.com" and port "443"',
      'INFO Bound to cid: 3 port: 8000',
      'INFO Proxy is now in listening state',
      'INFO Accepted connection on cid: 16 port: 5005',
      'INFO Resolving hostname: api.example.com.',
      'INFO Using IP "10.0.0.7" for the given server "api.example.com". (TTL: 60 secs)',
      'INFO Connected client from cid: 16 port: 5005 to 10.0.0.7:443',
      'INFO Client on cid: 16 port: 5005 disconnected',
    ]);
  });

  it('keeps clients waiting until its name is resolved for the first time', async () => {
    const { clock, net, start } = setUp({ [NAME]: ['10.0.0.7'] });
    const server = net.serveAt(SERVER);
    const starting = start();
    await starting;
    const client = await net.connect(ON, CLIENT);
    client.write('early');
    await clock.advance(0);
    await (await server.accept()).receives('early');
  });

  it('refuses clients while its name cannot be resolved, with the reason, and serves them when it can be', async () => {
    const { clock, net, logged, names, start } = setUp({ [NAME]: 'ETIMEOUT' }, { level: 'warn' });
    const server = net.serveAt(SERVER);
    await start();
    await clock.advance(0);
    const refused = await net.connect(ON, CLIENT);
    assert.equal(await refused.ended, 'reset');
    await settle();
    assert.match(
      logged.take()[1] ?? '',
      /^WARN Client on cid: 16 port: 5005: no address for api\.example\.com:443: Could not resolve api\.example\.com: ETIMEOUT /,
    );
    names[NAME] = ['10.0.0.7'];
    await clock.advance(60_000);
    await net.connect(ON, CLIENT);
    await server.accept();
  });

  it('follows its name: new clients go to the new address, connected ones stay', async () => {
    const { clock, net, names, start } = setUp({ [NAME]: ['10.0.0.7'] });
    const [old, young] = [net.serveAt(SERVER), net.serveAt({ ...SERVER, ip: '10.0.0.8' })];
    await start();
    await clock.advance(0);
    const first = await net.connect(ON, CLIENT);
    const accepted = await old.accept();
    names[NAME] = ['10.0.0.8'];
    await clock.advance(60_000);
    await net.connect(ON, CLIENT);
    await young.accept();
    first.write('still here');
    await accepted.receives('still here');
  });

  it('has the data plane tell of every connection only if somebody reads it', async () => {
    for (const [level, lines] of [
      ['info', 5],
      ['warn', 0],
    ] as const) {
      const { clock, net, logged, start } = setUp({ [NAME]: ['10.0.0.7'] }, { level });
      const server = net.serveAt(SERVER);
      await start();
      await clock.advance(0);
      logged.take();
      const client = await net.connect(ON, CLIENT);
      const accepted = await server.accept();
      client.end();
      accepted.end();
      await settle();
      assert.equal(logged.take().length, lines, level);
    }
  });
});

describe('a drain', () => {
  it('without connections ends at once', async () => {
    const { clock, net, logged, start } = setUp({ [NAME]: ['10.0.0.7'] });
    const proxy = await start();
    await clock.advance(0);
    logged.take();
    await proxy.drain();
    assert.deepEqual(logged.take(), [
      'INFO No new clients are accepted; 0 open connections may take 30.0 s to end',
      'INFO All connections have ended',
    ]);
    assert.equal(clock.pending, 0);
    assert.equal(net.listening.size, 0);
  });

  it('waits for the connections that are open', async () => {
    const { clock, net, logged, start } = setUp({ [NAME]: ['10.0.0.7'] });
    const server = net.serveAt(SERVER);
    const proxy = await start();
    await clock.advance(0);
    const client = await net.connect(ON, CLIENT);
    const accepted = await server.accept();
    await settle();
    logged.take();
    const drained = proxy.drain();
    await assert.rejects(net.connect(ON, CLIENT));
    await clock.advance(10_000);
    client.write('last words');
    await accepted.receives('last words');
    client.end();
    accepted.end();
    await drained;
    assert.deepEqual(logged.take(), [
      'INFO No new clients are accepted; 1 open connection may take 30.0 s to end',
      'INFO Client on cid: 16 port: 5005 disconnected',
      'INFO All connections have ended',
    ]);
    assert.equal(clock.pending, 0);
  });

  it('serves clients that wait for the first addresses of the name', async () => {
    const addresses = Promise.withResolvers<readonly string[]>();
    const { clock, net, logged, start } = setUp({ [NAME]: addresses.promise }, { level: 'warn' });
    const server = net.serveAt(SERVER);
    const proxy = await start();
    const client = await net.connect(ON, CLIENT);
    const drained = proxy.drain();
    await settle();
    addresses.resolve(['10.0.0.7']);
    const accepted = await server.accept();
    client.write('patience');
    await accepted.receives('patience');
    client.end();
    accepted.end();
    await drained;
    assert.deepEqual(logged.take(), []);
    assert.equal(clock.pending, 0);
  });

  it('resets what is still open at its deadline, and warns', async () => {
    const { clock, net, logged, start } = setUp({ [NAME]: ['10.0.0.7'] });
    net.serveAt(SERVER);
    const proxy = await start();
    await clock.advance(0);
    const client = await net.connect(ON, CLIENT);
    await settle();
    logged.take();
    const drained = proxy.drain();
    await clock.advance(30_000);
    await drained;
    assert.equal(await client.ended, 'reset');
    assert.deepEqual(logged.take(), [
      'INFO No new clients are accepted; 1 open connection may take 30.0 s to end',
      'INFO Client on cid: 16 port: 5005 disconnected: still open at the end of the drain',
      'WARN 1 connection still open after 30.0 s (timeouts.drain): reset',
    ]);
  });
});
