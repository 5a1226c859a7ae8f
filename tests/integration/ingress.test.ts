/** TCP on the parent to a server of the enclave; natively a unix socket stands in for its vsock port. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { enterNamespace } from './namespace.ts';
import { Client } from './raw.ts';
import { type RunningServe, startServe } from './serve.ts';

const OUTSIDE = '10.77.0.1';
const SIXTH = 'fd77::6';

const files = enterNamespace(import.meta.filename, { servers: { [OUTSIDE]: [], [SIXTH]: [] } });

const ENCLAVE = join(files, 'enclave.sock');
const OTHER = join(files, 'other.sock');
const LISTENER = join(files, 'proxy.sock');
const SIGNATURE = '\r\n\r\n\0\r\nQUIT\n';

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** Says who it is and sends back what it gets. */
async function serveAt(path: string, greeting: string): Promise<Server> {
  rmSync(path, { force: true });
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.write(greeting);
    socket.pipe(socket);
  }).listen(path);
  await once(server, 'listening');
  cleanUps.push(() => server.close());
  return server;
}

async function connect(port: number, from: string, host = from.includes(':') ? SIXTH : OUTSIDE): Promise<Client> {
  const client = await Client.open({ host, port, localAddress: from });
  cleanUps.push(() => client[Symbol.dispose]());
  return client;
}

describe('sources', () => {
  const CONFIG = `
listeners:
- {listen: "tcp:0.0.0.0:8443", connect: "unix:${ENCLAVE}", sources: [127.0.0.0/30, 127.0.1.7]}
- {listen: "tcp:[::]:8444", connect: "unix:${ENCLAVE}", sources: ["fd77::/16"]}
- {listen: "tcp:0.0.0.0:8445", connect: "unix:${ENCLAVE}"}
`;

  test('a client with another address is refused, and the server gets no connection', async () => {
    const server = await serveAt(ENCLAVE, 'hello');
    let connections = 0;
    server.on('connection', () => {
      connections += 1;
    });
    await using proxy = await startServe(CONFIG);
    for (const [port, from] of [
      [8443, '127.0.0.4'],
      [8443, '127.0.1.6'],
      [8443, OUTSIDE],
      [8444, '::1'],
    ] as const) {
      const client = await connect(port, from, from === '::1' ? from : '127.0.0.1');
      assert.match(await client.ended(), /^(EOF|ECONNRESET)$/);
      assert.equal(client.received, '');
    }
    assert.equal(connections, 0);
    await proxy.logged(
      /WARN .*Client on tcp: 127\.0\.0\.4:\d+ refused: 127\.0\.0\.4 may not connect\. Hint: .*sources.*config\.yaml:3\)/,
    );
  });

  test('a client within a range, or listed itself, is served, also over IPv6', async () => {
    await serveAt(ENCLAVE, 'hello');
    await using _proxy = await startServe(CONFIG);
    for (const [port, from] of [
      [8443, '127.0.0.1'],
      [8443, '127.0.0.3'],
      [8443, '127.0.1.7'],
      [8444, SIXTH],
      [8445, OUTSIDE],
    ] as const) {
      const client = await connect(port, from, from === SIXTH ? SIXTH : '127.0.0.1');
      await client.receives(/^hello$/);
    }
  });
});

describe('the PROXY protocol', () => {
  let proxy: RunningServe;
  before(async () => {
    proxy = await startServe(CONFIG);
  });
  after(() => proxy?.[Symbol.asyncDispose]());
  const CONFIG = `
listeners:
- {listen: "tcp:0.0.0.0:8443", connect: "unix:${ENCLAVE}", proxy_protocol: v2}
- {listen: "tcp:[::]:8444", connect: "unix:${ENCLAVE}", proxy_protocol: v2}
- {listen: "unix:${LISTENER}", connect: "unix:${ENCLAVE}", proxy_protocol: v2}
`;
  /** What an echo gives back: the header that it was sent, and what follows. */
  async function echoed(client: Client): Promise<{ header: Buffer; text: string }> {
    client.send('question');
    const received = Buffer.from(await client.receives(/question$/), 'latin1');
    const end = 16 + received.readUInt16BE(14);
    return { header: received.subarray(0, end), text: received.toString('latin1', end) };
  }

  test('over IPv4 and IPv6: the server gets the addresses and ports of both sides, and then the bytes', async () => {
    await serveAt(ENCLAVE, '');
    for (const [port, from, to, head, bytes] of [
      [8443, '127.0.0.9', OUTSIDE, '\\x21\\x11\\0\\x0c', [127, 0, 0, 9, 10, 77, 0, 1]],
      [8444, SIXTH, SIXTH, '\\x21\\x21\\0\\x24', [...six(), ...six()]],
    ] as const) {
      const client = await connect(port, from, to);
      const { header, text } = await echoed(client);
      assert.equal(text, 'question');
      assert.equal(header.toString('latin1', 0, 12), SIGNATURE);
      assert.match(header.toString('latin1', 12, 16), new RegExp(`^${head}$`));
      assert.deepEqual([...header.subarray(16, -4)], bytes);
      assert.equal(header.readUInt16BE(header.length - 4), client.socket.localPort);
      assert.equal(header.readUInt16BE(header.length - 2), port);
    }
  });

  test('of a client without an address: unspecified, but never the proxy itself', async () => {
    await serveAt(ENCLAVE, '');
    const client = await Client.open({ path: LISTENER });
    cleanUps.push(() => client[Symbol.dispose]());
    const { header, text } = await echoed(client);
    assert.equal(text, 'question');
    assert.deepEqual([...header.subarray(12)], [0x21, 0, 0, 0]);
  });
});

/** The bytes of {@link SIXTH}. */
function six(): readonly number[] {
  return [0xfd, 0x77, ...new Array<number>(13).fill(0), 6];
}

describe('the failure of one listener', () => {
  const CONFIG = `
timeouts: {connect: 2s}
limits: {connections: 20}
listeners:
- {listen: "tcp:127.0.0.1:8443", connect: "unix:${ENCLAVE}"}
- {listen: "tcp:127.0.0.1:8444", connect: "unix:${OTHER}"}
`;

  test('an absent server: its clients are closed at the deadline, those of the other listener are served', async () => {
    rmSync(OTHER, { force: true });
    await serveAt(ENCLAVE, 'hello');
    await using proxy = await startServe(CONFIG);
    const waiting = await Promise.all(Array.from({ length: 10 }, () => connect(8444, '127.0.0.1', '127.0.0.1')));
    for (let i = 0; i < 50; i += 1)
      await (await connect(8443, '127.0.0.1', '127.0.0.1')).receives(/hello/).then(() => cleanUps.pop()?.());
    for (const client of waiting) assert.match(await client.ended(), /^(EOF|ECONNRESET)$/);
    await proxy.logged(/WARN .*could not connect to unix: .*other\.sock.*: ENOENT/);
    await (await connect(8443, '127.0.0.1', '127.0.0.1')).receives(/hello/);
  });

  test('a server that comes back within the deadline: its clients are served', async () => {
    rmSync(OTHER, { force: true });
    await using _proxy = await startServe(CONFIG);
    const client = await connect(8444, '127.0.0.1', '127.0.0.1');
    client.send('early');
    await serveAt(OTHER, 'hello ');
    await client.receives(/^hello early$/);
  });

  test('a full listener: the clients of the other one are served', async () => {
    await serveAt(ENCLAVE, 'hello');
    await serveAt(OTHER, 'hello');
    await using proxy = await startServe(CONFIG);
    await Promise.all(Array.from({ length: 21 }, () => connect(8444, '127.0.0.1', '127.0.0.1')));
    await proxy.logged(/WARN .*Limit of 20 simultaneous connections on tcp: 127\.0\.0\.1:8444 reached/);
    await (await connect(8443, '127.0.0.1', '127.0.0.1')).receives(/hello/);
  });

  test('out of descriptors: both go on when there are descriptors again', async () => {
    await serveAt(ENCLAVE, 'hello');
    await serveAt(OTHER, 'hello');
    await using proxy = await startServe(CONFIG.replace('20', '1000'), { descriptors: 60 });
    const clients: Client[] = [];
    while (!/WARN .*EMFILE/.test(proxy.log)) clients.push(await connect(8444, '127.0.0.1', '127.0.0.1'));
    for (const client of clients) client[Symbol.dispose]();
    for (const port of [8443, 8444]) {
      // Those that come while the descriptors are given back may still find too few.
      let received = '';
      while (received === '') {
        const client = await connect(port, '127.0.0.1', '127.0.0.1');
        received = await client.receives(/hello/).catch(() => '');
      }
    }
  });
});
