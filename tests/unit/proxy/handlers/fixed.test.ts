import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { SocketAddress } from '../../../../src/dataplane/contract.ts';
import { VsockProxyError } from '../../../../src/platform/errors.ts';
import { proxyHeader } from '../../../../src/protocol/proxy-header.ts';
import { target } from '../../access/fixture.ts';
import { settle } from '../fixture.ts';
import { listener, NAME, ON, type ProxyOptions, SERVER, setUpProxy } from '../running.ts';

const route = { kind: 'target', target: target(`${NAME} 443`), proxyHeader: false } as const;
const from = (cid: number): SocketAddress => ({ family: 'vsock', cid, port: 5005 });

async function setUp(changes: Parameters<typeof listener>[0], options: ProxyOptions = {}) {
  const proxy = setUpProxy([listener({ route, ...changes })], { names: { [NAME]: ['10.0.0.7'] }, ...options });
  const running = await proxy.start();
  await settled();
  proxy.logged.take();
  return { ...proxy, running };
}

async function settled(): Promise<void> {
  for (let i = 0; i < 5; i += 1) await settle();
}

describe('one server, and rules for some clients only', () => {
  it('a client that no rule is for is refused, and nothing is resolved for it', async () => {
    const { net, logged, queries } = await setUp({ allow: [`${NAME} 443 16`] }, { level: 'warn' });
    const client = await net.connect(ON, from(17));
    await settled();
    assert.equal(client.ending, 'reset');
    assert.deepEqual(queries, []);
    const lines = logged.take();
    assert.equal(lines.length, 1);
    assert.match(
      lines[0] ?? '',
      /^WARN Client on cid: 17 port: 5005: .* is listed for CID 16 \(allow\.yaml:2\), not for CID 17/,
    );
  });

  it('a client that a deny rule is for is refused, others are served', async () => {
    const { net } = await setUp({ allow: [NAME], deny: [`${NAME} any 17`] });
    const server = net.serveAt(SERVER);
    const denied = await net.connect(ON, from(17));
    await settled();
    assert.equal(denied.ending, 'reset');
    const served = await net.connect(ON, from(16));
    served.write('hello');
    await (await server.accept()).receives('hello');
  });

  it('an address may be denied to one client and not to another', async () => {
    const { net } = await setUp({ allow: [NAME], deny: ['10.0.0.0/8 any 17'] });
    const server = net.serveAt(SERVER);
    const denied = await net.connect(ON, from(17));
    await settled();
    assert.equal(denied.ending, 'reset');
    await net.connect(ON, from(16));
    await server.accept();
  });

  it('a route that is denied to every client does not start', async () => {
    const deny = [`${NAME} any`, 'unrelated.example any 16'];
    const proxy = setUpProxy([listener({ route, allow: [NAME], deny })]);
    await assert.rejects(
      proxy.start(),
      (error) => error instanceof VsockProxyError && error.code === 'denied' && error.place === 'proxy.yaml:3',
    );
    assert.equal(proxy.planes.length, 0);
  });

  it('a route that is denied to all clients that may connect does not start', async () => {
    const proxy = setUpProxy([listener({ route, allow: [`${NAME} 443 16`], cids: [17, 18] })]);
    await assert.rejects(proxy.start(), (error) => error instanceof VsockProxyError && error.code === 'denied');
  });

  it('rules for other ports do not cost each client a question', async () => {
    const { planes } = await setUp({ allow: [`${NAME} 443`, 'other.example 80 16'] });
    assert.deepEqual(planes[0]?.kinds(), ['fixed']);
  });

  it('a listener for one client alone is decided once', async () => {
    const { planes, net } = await setUp({ allow: [`${NAME} 443 16`], cids: [16] });
    assert.deepEqual(planes[0]?.kinds(), ['fixed']);
    const server = net.serveAt(SERVER);
    await net.connect(ON, from(16));
    await server.accept();
  });

  it('an IP address that a listed name leads to is allowed to whom the name is', async () => {
    const { net } = await setUp({
      route: { ...route, target: target('10.0.0.7 443') },
      allow: [`${NAME} 443 16`, 'unrelated.example 443'],
    });
    const server = net.serveAt(SERVER);
    const denied = await net.connect(ON, from(17));
    await settled();
    assert.equal(denied.ending, 'reset');
    await net.connect(ON, from(16));
    await server.accept();
  });
});

describe('the PROXY protocol', () => {
  const TCP_ON: SocketAddress = { family: 'tcp', ip: '192.0.2.1', port: 8443 };
  const TCP_CLIENT: SocketAddress = { family: 'tcp', ip: '192.0.2.9', port: 40_000 };
  const bytes = (buffer: Buffer) => buffer.toString();

  it('tells a server by name who the client is', async () => {
    const { net } = await setUp({ on: TCP_ON, route: { ...route, proxyHeader: true } });
    const server = net.serveAt(SERVER);
    const client = await net.connect(TCP_ON, TCP_CLIENT);
    client.write('hello');
    const accepted = await server.accept();
    await accepted.receives(`${bytes(proxyHeader(TCP_CLIENT, TCP_ON))}hello`);
  });

  it('tells an enclave, and a client without an IP address as such', async () => {
    const enclave: SocketAddress = { family: 'vsock', cid: 16, port: 443 };
    const { net } = await setUp({ route: { kind: 'address', address: enclave, proxyHeader: true } });
    const server = net.serveAt(enclave);
    await net.connect(ON, from(17));
    await (await server.accept()).receives(bytes(proxyHeader(undefined, undefined)));
  });
});

describe('an address that the operator wrote down', () => {
  it('is connected to without a question', async () => {
    const path: SocketAddress = { family: 'unix', path: '/run/server.sock' };
    const { net, planes } = await setUp({ route: { kind: 'address', address: path, proxyHeader: false }, allow: [] });
    assert.deepEqual(planes[0]?.kinds(), ['fixed']);
    const server = net.serveAt(path);
    const client = await net.connect(ON, from(16));
    client.write('hello');
    await (await server.accept()).receives('hello');
  });
});

describe('who may connect', () => {
  it('a client whose CID is not listed is refused, with one line per period', async () => {
    const { net, logged, clock } = await setUp(
      { cids: [16], allow: [NAME], route: { kind: 'http' } },
      { level: 'warn' },
    );
    for (let i = 0; i < 40; i += 1) {
      assert.equal((await net.connect(ON, from(17 + (i % 2)))).ending, 'reset');
      await clock.advance(200);
    }
    await clock.advance(2_000);
    assert.deepEqual(logged.take(), [
      "WARN Client on cid: 17 port: 5005 refused: CID 17 may not connect. Hint: the listener's cids say who may (proxy.yaml:3)",
      "WARN 39 more clients refused (not-admitted) within 10 s, among them CID 18, CID 17. Hint: the listener's cids say who may (proxy.yaml:3)",
    ]);
  });

  it('one client has its share of the connections, and others theirs', async () => {
    const limits = { connections: 100, connectionsPerClient: 2, ratePerClient: 0 };
    const { net, logged } = await setUp({ limits }, { level: 'warn' });
    net.serveAt(SERVER);
    for (const cid of [16, 16, 17]) assert.equal((await net.connect(ON, from(cid))).ending, undefined);
    assert.equal((await net.connect(ON, from(16))).ending, 'reset');
    await settled();
    assert.deepEqual(logged.take(), [
      'WARN Client on cid: 16 port: 5005 refused: CID 16 has 2 connections open already. Hint: the limit is ' +
        'limits.connections_per_client of the listener (proxy.yaml:3) or of the file',
    ]);
  });
});
