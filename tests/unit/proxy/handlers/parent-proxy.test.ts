import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type Hostname, parseIpAddress, type TargetHost } from '../../../../src/access/address.ts';
import type { SocketAddress } from '../../../../src/dataplane/contract.ts';
import type { ListenerPlan } from '../../../../src/plan.ts';
import type { Peer } from '../../../dataplane/harness.ts';
import type { FakeEnd } from '../../../dataplane/network.ts';
import { settle } from '../fixture.ts';
import { listener, NAME, setUpProxy } from '../running.ts';

/** The HTTP proxy of the parent. */
const PARENT: SocketAddress = { family: 'vsock', cid: 3, port: 10_000 };
const PROXY: SocketAddress = { family: 'tcp', ip: '127.0.0.1', port: 10_000 };
/** Stands for NAME inside the enclave. */
const NAMED = { family: 'tcp', ip: '198.18.0.2', port: 443 } as const;
/** Stands for itself. */
const LISTED = { family: 'tcp', ip: '169.254.169.254', port: 80 } as const;
const APPLICATION: SocketAddress = { family: 'tcp', ip: '127.0.0.1', port: 40_000 };

const CONNECT = `CONNECT ${NAME}:443 HTTP/1.1\r\nHost: ${NAME}:443\r\n\r\n`;
const ESTABLISHED = 'HTTP/1.1 200 Connection established\r\n\r\n';

async function settled(): Promise<void> {
  for (let i = 0; i < 5; i += 1) await settle();
}

async function setUp(changes: Partial<ListenerPlan> & { readonly allow?: readonly string[] }, allow = [`${NAME} 443`]) {
  const hosts: Readonly<Record<string, TargetHost>> = {
    [NAMED.ip]: { kind: 'name', name: NAME as Hostname },
    [LISTED.ip]: { kind: 'ip', ip: parseIpAddress(LISTED.ip) ?? assert.fail() },
  };
  const hostOf = (ip: string) => hosts[ip];
  const proxy = setUpProxy([listener({ allow, ...changes })], { level: 'warn', support: { hostOf } });
  await proxy.start();
  const parent = proxy.net.serveAt(PARENT);
  const connect = async (on: SocketAddress, text = ''): Promise<FakeEnd> => {
    const client = await proxy.net.connect(on, APPLICATION);
    if (text !== '') client.write(text);
    await settled();
    return client;
  };
  return { ...proxy, parent, connect };
}

const setUpHttp = (allow?: readonly string[]) =>
  setUp({ on: PROXY, route: { kind: 'http', via: PARENT } }, allow && [...allow]);
const setUpNames = (allow?: readonly string[]) =>
  setUp({ on: NAMED, route: { kind: 'names', via: PARENT } }, allow && [...allow]);

/** Whether anything has reached the parent. */
async function isReached(parent: { accept(): Promise<Peer> }): Promise<boolean> {
  return await Promise.race([parent.accept().then(() => true), settled().then(() => false)]);
}

function statusOf({ received }: FakeEnd): number {
  return Number(/^HTTP\/1\.1 (\d+) /.exec(received)?.[1]);
}

function denial(text: string): string {
  return `HTTP/1.1 403 Forbidden\r\nContent-Length: ${text.length}\r\n\r\n${text}`;
}

suite('the proxy of the enclave refuses', () => {
  test('what its own policy does not allow, and the parent hears nothing of it', async () => {
    const { connect, parent, logged } = await setUpHttp(['other.example 443']);
    const client = await connect(PROXY, CONNECT);
    assert.equal(statusOf(client), 403);
    assert.equal(await isReached(parent), false);
    assert.match(logged.take().join(), /no entry of the allowlist matches api\.example\.com on port 443/);
  });

  test('a target that is no name: 400', async () => {
    const { connect, parent } = await setUpHttp();
    assert.equal(
      statusOf(await connect(PROXY, 'CONNECT 2130706433:443 HTTP/1.1\r\nHost: 2130706433:443\r\n\r\n')),
      400,
    );
    assert.equal(await isReached(parent), false);
  });

  test('with the words of the parent, what the parent does not allow', async () => {
    const { connect, parent, logged } = await setUpHttp();
    const client = await connect(PROXY, CONNECT);
    const peer = await parent.accept();
    peer.write(denial('not allowed by the policy of this proxy\n').slice(0, 50));
    await settled();
    assert.equal(client.received, '');
    peer.write(denial('not allowed by the policy of this proxy\n').slice(50));
    await settled();
    assert.equal(statusOf(client), 403);
    assert.match(client.received, /\r\n\r\nnot allowed by the policy of this proxy\n$/);
    assert.match(
      logged.take().join(),
      /answered 403 for api\.example\.com:443: not allowed by the policy of this proxy/,
    );
  });

  test('with the words of the parent, of which the log has one line, and not more than 500 characters', async () => {
    const { connect, parent, logged } = await setUpHttp();
    const client = await connect(PROXY, CONNECT);
    (await parent.accept()).write(denial(`${'x'.repeat(5000)}\nINFO more`));
    await settled();
    assert.equal(statusOf(client), 403);
    const lines = logged.take().filter((line) => line.includes('answered 403'));
    assert.equal(lines.length, 1);
    assert.match(lines[0] ?? '', /for api\.example\.com:443: x{500} \(after/);
  });

  for (const [what, answer, status, error] of [
    ['that ends without an answer', '', 502, 'connection_terminated'],
    ['that ends within its answer', 'HTTP/1.1 200 O', 502, 'connection_terminated'],
    ['that speaks no HTTP', 'SSH-2.0-OpenSSH\r\n', 502, 'http_protocol_error'],
    ['that ends after an interim response', 'HTTP/1.1 100 Continue\r\n\r\n', 502, 'connection_terminated'],
    [
      'that switches protocols',
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n',
      502,
      'http_protocol_error',
    ],
    [
      'that refuses without saying how long its words are',
      'HTTP/1.1 403 Forbidden\r\n\r\nno',
      502,
      'http_protocol_error',
    ],
  ] as const) {
    test(`for want of a tunnel, with a parent ${what}: ${status}`, async () => {
      const { connect, parent } = await setUpHttp();
      const client = await connect(PROXY, CONNECT);
      const peer = await parent.accept();
      peer.write(answer);
      peer.end();
      await settled();
      assert.equal(statusOf(client), status);
      assert.match(client.received, new RegExp(`error=${error};`));
    });
  }

  test('with 504, when the parent cannot be reached in time', async () => {
    const { connect, net, clock } = await setUpHttp();
    net.silence(PARENT);
    const client = await connect(PROXY, CONNECT);
    await clock.advance(5000);
    assert.equal(statusOf(client), 504);
  });
});

suite('the proxy of the enclave passes on', () => {
  test('a tunnel: what came behind the head goes on only once the parent has agreed', async () => {
    const { connect, parent } = await setUpHttp();
    const client = await connect(PROXY, `${CONNECT}early`);
    const peer = await parent.accept();
    await peer.receives(CONNECT);
    await settled();
    assert.equal(client.received, '');
    peer.write(`${ESTABLISHED}hello`);
    await peer.receives(`${CONNECT}early`);
    await client.receives(`${ESTABLISHED}hello`);
  });

  test('a tunnel whose parent says first, with interim responses, that it takes a while', async () => {
    const { connect, parent } = await setUpHttp();
    const client = await connect(PROXY, CONNECT);
    const peer = await parent.accept();
    await peer.receives(CONNECT);
    peer.write('HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n');
    await settled();
    peer.write(`${ESTABLISHED}hello`);
    await client.receives(`${ESTABLISHED}hello`);
  });

  test('a request in absolute form as one, and the next one on the same connection', async () => {
    const { connect, parent } = await setUpHttp([`${NAME} 80`]);
    const get = `GET http://${NAME}/a?b HTTP/1.1\r\nHost: ${NAME}\r\nX: y\r\n\r\n`;
    const passed = `GET http://${NAME}/a?b HTTP/1.1\r\nHost: ${NAME}\r\nX: y\r\nVia: 1.1 vsock-proxy\r\nConnection: close\r\n\r\n`;
    const client = await connect(PROXY, get);
    const first = await parent.accept();
    await first.receives(passed);
    first.write('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none');
    await settled();
    assert.match(client.received, /^HTTP\/1\.1 200 OK\r\n.*one$/s);
    client.write(get);
    await (await parent.accept()).receives(passed);
  });

  test('OPTIONS for a whole server, and a path that is empty', async () => {
    const { connect, parent } = await setUpHttp([`${NAME} 8080`]);
    const head = `Host: ${NAME}:8080\r\n`;
    const rest = `${head}Via: 1.1 vsock-proxy\r\nConnection: close\r\n\r\n`;
    await connect(PROXY, `OPTIONS http://${NAME}:8080 HTTP/1.1\r\n${head}\r\n`);
    await (await parent.accept()).receives(`OPTIONS http://${NAME}:8080 HTTP/1.1\r\n${rest}`);
    await connect(PROXY, `GET http://${NAME}:8080 HTTP/1.1\r\n${head}\r\n`);
    await (await parent.accept()).receives(`GET http://${NAME}:8080/ HTTP/1.1\r\n${rest}`);
  });
});

suite('a client of an address that stands for a name', () => {
  test('is refused where no name is known for the address', async () => {
    const { connect, parent, logged } = await setUp({
      on: { ...NAMED, ip: '198.18.0.9' },
      route: { kind: 'names', via: PARENT },
    });
    const client = await connect({ ...NAMED, ip: '198.18.0.9' });
    assert.equal(client.received, '');
    assert.notEqual(client.ending, undefined);
    assert.equal(await isReached(parent), false);
    assert.match(logged.take().join(), /no name is known for 198\.18\.0\.9:443/);
  });

  test('is refused where the policy does not allow the name on this port', async () => {
    const { connect, parent } = await setUpNames([`${NAME} 80`]);
    assert.notEqual((await connect(NAMED)).ending, undefined);
    assert.equal(await isReached(parent), false);
  });

  test('is refused without a word when the parent refuses, and the log has the parent’s words', async () => {
    const { connect, parent, logged } = await setUpNames();
    const client = await connect(NAMED);
    (await parent.accept()).write(denial('the addresses are not allowed\nby this proxy\n'));
    await settled();
    assert.deepEqual([client.received, client.ending === undefined], ['', false]);
    assert.match(logged.take().join(), /answered 403 for api\.example\.com:443: the addresses are not allowed/);
  });

  test('gets a tunnel before it says anything, and hears nothing of how it was made', async () => {
    const { connect, parent } = await setUpNames();
    const client = await connect(NAMED);
    const peer = await parent.accept();
    await peer.receives(CONNECT);
    peer.write(`${ESTABLISHED}220 server speaks first`);
    await client.receives('220 server speaks first');
    client.write('EHLO');
    await peer.receives(`${CONNECT}EHLO`);
  });

  test('or for an address that is listed itself, gets a tunnel to that, unless a deny rule has it', async () => {
    const setUpListed = (allow: readonly string[]) =>
      setUp({ on: LISTED, route: { kind: 'names', via: PARENT } }, [...allow]);
    const denied = await setUpListed(['169.254.169.254 443']);
    assert.notEqual((await denied.connect(LISTED)).ending, undefined);
    assert.equal(await isReached(denied.parent), false);
    const { connect, parent } = await setUpListed(['169.254.169.254 80']);
    const client = await connect(LISTED);
    const peer = await parent.accept();
    await peer.receives('CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: 169.254.169.254:80\r\n\r\n');
    peer.write(`${ESTABLISHED}i-0abc`);
    await client.receives('i-0abc');
  });
});
