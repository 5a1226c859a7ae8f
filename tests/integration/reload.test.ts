/** SIGHUP: a reload of the file affects only the clients that it concerns. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createServer, connect as dial, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { enterNamespace } from './namespace.ts';
import { Client, type Dial, type RawServer, startRawServer } from './raw.ts';
import { type RunningServe, startServe } from './serve.ts';

const SERVER = '10.77.0.1';

const files = enterNamespace(import.meta.filename, {
  servers: { [SERVER]: ['web.example.com', 'other.example.com', 'kms.us-east-1.amazonaws.com'] },
});

const HOST = '127.0.0.1';
const ECHO_PORT = 9000;
const KIB = 1024;
const DEADLINE_MS = 20_000;

let echo: Server;
let web: RawServer;

before(async () => {
  echo = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  }).listen(ECHO_PORT, SERVER);
  await once(echo, 'listening');
  web = await startRawServer(SERVER, 80, (socket, all) => {
    if (all.endsWith('\r\n\r\n')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  });
});

after(async () => {
  echo?.close();
  await web?.[Symbol.asyncDispose]();
});

/** Each relay thread holds one descriptor in reserve from its first client on; there are four threads at most. */
const RESERVED = 4;

/** Polls /proc until the condition holds, because there is no event for it. */
async function until(isSo: () => boolean, what: () => string): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  while (!isSo()) {
    assert.ok(performance.now() < deadline, what());
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Waits until the relay threads have closed the socket. Until then the kernel may take a client that nobody serves. */
async function refusesSoon(to: Dial): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  const slipsIn = () => Client.open(to).catch((error) => assert.equal(error.code, 'ECONNREFUSED'));
  for (let client = await slipsIn(); client !== undefined; client = await slipsIn()) {
    client[Symbol.dispose]();
    assert.ok(performance.now() < deadline, 'clients are still accepted');
  }
}

const tunnel = (authority: string) => `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`;

/** A connection whose bytes come back. */
class Transfer {
  readonly #socket: Socket;
  readonly #sent = createHash('sha256');
  readonly #received = createHash('sha256');
  #missing = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#received.update(chunk);
      this.#missing -= chunk.length;
      if (this.#missing === 0) socket.emit('complete');
    });
  }

  /** @param request what opens a tunnel, if that is needed */
  static async open(port: number, request = ''): Promise<Transfer> {
    const socket = dial({ host: HOST, port, allowHalfOpen: true });
    await once(socket, 'connect');
    if (request !== '') {
      socket.write(request);
      const [response] = await once(socket, 'data');
      assert.match(String(response), /^HTTP\/1\.1 200 .*\r\n\r\n$/);
    }
    return new Transfer(socket);
  }

  send(bytes: Buffer): void {
    this.#sent.update(bytes);
    this.#missing += bytes.length;
    this.#socket.write(bytes);
  }

  /** Resolves when all has come back. @throws what ends the connection before */
  async complete(): Promise<void> {
    if (this.#missing > 0) await once(this.#socket, 'complete', { signal: AbortSignal.timeout(DEADLINE_MS) });
  }

  /** Ends it, and looks whether it was the same. */
  async end(): Promise<void> {
    this.#socket.end();
    await once(this.#socket, 'end');
    assert.equal(this.#received.digest('hex'), this.#sent.digest('hex'));
  }
}

describe('500 reloads under load', () => {
  const ROUNDS = 500;
  /** The number of clients of each of five kinds. */
  const TRANSFERS = 10;
  const [FIXED, CHANGING, HTTP, CHANGING_HTTP, PASSING] = [8000, 8001, 3128, 3129, 8100];

  /** What changes with each round: limits, rules, one of three listeners that come and go. */
  const configOf = (round: number) => `
allowlist:
- {address: web.example.com, port: [80, ${ECHO_PORT}]}
listeners:
- {listen: "tcp:${HOST}:${FIXED}", connect: "web.example.com:${ECHO_PORT}"}
- {listen: "tcp:${HOST}:${HTTP}", route: http}
- {listen: "tcp:${HOST}:${CHANGING}", connect: "web.example.com:${ECHO_PORT}", limits: {connections: ${1000 + (round % 7)}}}
- listen: "tcp:${HOST}:${CHANGING_HTTP}"
  route: http
  allowlist: [{address: ${round % 2 === 0 ? 'other' : 'none'}.example.com, port: 80}]
- {listen: "tcp:${HOST}:${PASSING + (round % 3)}", connect: "web.example.com:${ECHO_PORT}"}
- {listen: "unix:${files}/${round % 5}.sock", route: ${round % 2 === 0 ? 'http' : 'sni'}}
`;

  test('no connection is lost or changed, no descriptor and no memory is leaked', { timeout: 120_000 }, async () => {
    await using proxy = await startServe(configOf(0));
    await proxy.reload(configOf(1));
    await proxy.reload(configOf(0));
    const descriptors = proxy.descriptors();

    const transfers: Transfer[] = [];
    for (let i = 0; i < TRANSFERS; i += 1) {
      transfers.push(
        await Transfer.open(FIXED),
        await Transfer.open(CHANGING),
        await Transfer.open(HTTP, tunnel(`web.example.com:${ECHO_PORT}`)),
        await Transfer.open(CHANGING_HTTP, tunnel(`web.example.com:${ECHO_PORT}`)),
        await Transfer.open(PASSING),
      );
    }
    using keptAlive = await Client.open({ host: HOST, port: CHANGING_HTTP });

    let memory = 0;
    for (let round = 1; round <= ROUNDS; round += 1) {
      for (const transfer of transfers) transfer.send(randomBytes(16 * KIB));
      const reloaded = proxy.reload(configOf(round));
      // Somebody always comes while it is under way.
      const late = await Transfer.open(CHANGING);
      late.send(randomBytes(KIB));
      assert.match(await reloaded, /^Reloaded: added .*; changed .*; removed .*; 2 listeners unchanged$/);
      await late.complete();
      await late.end();
      await Promise.all(transfers.map((transfer) => transfer.complete()));

      // A connection that is older than the rules is decided about by those of now.
      keptAlive.received = '';
      keptAlive.send('GET http://web.example.com/ HTTP/1.1\r\nHost: web.example.com\r\n\r\n');
      await keptAlive.receives(/ok$/);
      if (round % 25 === 0) {
        using client = await Client.open({ host: HOST, port: CHANGING_HTTP });
        client.send('GET http://other.example.com/ HTTP/1.1\r\nHost: other.example.com\r\nConnection: close\r\n\r\n');
        await client.ended();
        assert.match(client.received, round % 2 === 0 ? / 200 OK\r\n/ : / 403 Forbidden: /);
      }
      if (round === ROUNDS / 2) memory = proxy.rssAnon(); // until then the heap grows to its size
    }
    const grown = proxy.rssAnon() - memory;
    for (const transfer of transfers) await transfer.end();
    keptAlive.socket.end();
    await keptAlive.ended();
    await proxy.reload(configOf(0));
    await until(
      () => proxy.descriptors() <= descriptors + RESERVED,
      () => `${proxy.descriptors()} descriptors, not ${descriptors}, or up to ${RESERVED} more`,
    );
    assert.ok(grown < 8 * KIB, `memory has grown by ${grown} KiB in ${ROUNDS / 2} reloads`);
    const faults = proxy.log.match(/^.*(?:WARN|ERROR).*$/gm) ?? [];
    assert.deepEqual(
      faults.filter(
        (line) => !/ WARN .*: no entry of the allowlist matches other\.example\.com on port 80 /.test(line),
      ),
      [],
    );
  });
});

describe('a wrong file changes nothing, and the error has its place', () => {
  const GOOD = `
allowlist:
- {address: web.example.com, port: [80, ${ECHO_PORT}]}
listeners:
- {listen: "tcp:${HOST}:8000", connect: "web.example.com:${ECHO_PORT}"}
- {listen: "tcp:${HOST}:3128", route: http}
`;
  let proxy: RunningServe;
  before(async () => {
    proxy = await startServe(GOOD);
  });
  after(() => proxy?.[Symbol.asyncDispose]());

  /** Everything is as it was. */
  async function assertUnchanged(): Promise<void> {
    const fixed = await Transfer.open(8000);
    fixed.send(Buffer.from('hello'));
    await fixed.complete();
    await fixed.end();
    using http = await Client.open({ host: HOST, port: 3128 });
    http.send('GET http://web.example.com/ HTTP/1.1\r\nHost: web.example.com\r\nConnection: close\r\n\r\n');
    await http.ended();
    assert.match(http.received, / 200 OK\r\n/);
  }

  for (const [what, yaml, where] of [
    ['no YAML', GOOD.replace('listeners:', 'listeners: ['), /config\.yaml:\d/],
    [
      'an unknown key',
      `${GOOD}timeout: {head: 1s}\n`,
      /timeout: unknown key.*config\.yaml:7\)\. Hint: did you mean timeouts\?/,
    ],
    ['a port that is none', GOOD.replace(':8000"', ':80000"'), /listeners\[0\]\.listen.*config\.yaml:5/],
    [
      'a route that is denied',
      GOOD.replace(`example.com:${ECHO_PORT}"`, 'example.com:9001"'),
      /listeners\[0\]\.connect: .*config\.yaml:5/,
    ],
    ['nothing', '', /config\.yaml/],
    [
      'an address that somebody else has',
      GOOD.replace(`${HOST}:8000`, `${SERVER}:${ECHO_PORT}`),
      /EADDRINUSE.*config\.yaml:5/,
    ],
    [
      'an address that nobody has, behind one that is new',
      `${GOOD}- {listen: "tcp:${HOST}:8002", route: http}\n- {listen: "tcp:10.99.0.1:1", route: http}\n`,
      /EADDRNOTAVAIL.*config\.yaml:8/,
    ],
    [
      'a socket that systemd has not passed',
      `${GOOD}- {listen: "systemd:web", route: http}\n`,
      /systemd has passed no socket with the name "web".*config\.yaml:7/,
    ],
  ] as const) {
    test(what, async () => {
      const descriptors = proxy.descriptors();
      const told = await proxy.reload(yaml);
      assert.match(told, /^Reload failed, and everything goes on as before: /);
      assert.match(told, where);
      await assertUnchanged();
      await until(
        () => proxy.descriptors() <= descriptors + RESERVED,
        () => `${proxy.descriptors()} descriptors, not ${descriptors}, or up to ${RESERVED} more`,
      );
    });
  }

  test('the next correct file is used', async () => {
    assert.match(await proxy.reload(GOOD), /^Reloaded: 2 listeners unchanged$/);
    await assertUnchanged();
    assert.match(
      await proxy.reload(GOOD.replace(':8000', ':8002')),
      /^Reloaded: added tcp: 127\.0\.0\.1:8002; removed tcp: 127\.0\.0\.1:8000; 1 listener unchanged$/,
    );
    await refusesSoon({ host: HOST, port: 8000 });
  });
});

describe('a changed listener keeps its queue', () => {
  // The proxies are killed, and leave it.
  afterEach(() => rmSync(QUEUE, { force: true }));
  const QUEUE = join(files, 'queue.sock');
  const config = (more: string) => `
allowlist:
- {address: web.example.com, port: [80, ${ECHO_PORT}]}
listeners:
- {listen: "tcp:${HOST}:8000", ${more}}
- {listen: "unix:${QUEUE}", ${more}}
`;
  const fixed = (connections: number) =>
    config(`connect: "web.example.com:${ECHO_PORT}", limits: {connections: ${connections}}`);

  for (const to of [{ host: HOST, port: 8000 }, { path: QUEUE }]) {
    const name = 'path' in to ? 'unix' : 'tcp';
    test(`${name}: clients that waited for a place are served under the new limit`, async () => {
      await using proxy = await startServe(fixed(1));
      using first = await Client.open(to);
      first.send('first');
      await first.receives(/^first$/);
      const waiting = await Promise.all(Array.from({ length: 5 }, () => Client.open(to)));
      for (const client of waiting) client.send('waited');
      await proxy.logged(/WARN .*Limit of 1 simultaneous connections .*reached/);
      await proxy.reload(fixed(100));
      for (const client of waiting) {
        await client.receives(/^waited$/);
        client[Symbol.dispose]();
      }
    });

    test(`${name}: clients that waited are served by the new route`, async () => {
      await using proxy = await startServe(fixed(1));
      using first = await Client.open(to);
      first.send('first');
      await first.receives(/^first$/);
      using waiting = await Client.open(to);
      waiting.send('GET http://web.example.com/ HTTP/1.1\r\nHost: web.example.com\r\n\r\n');
      await proxy.logged(/WARN .*Limit of 1 simultaneous connections .*reached/);
      await proxy.reload(config('route: http'));
      await waiting.receives(/^HTTP\/1\.1 200 OK\r\n[\s\S]*ok$/);
      first.send('first');
      await first.receives(/^firstfirst$/);
    });
  }
});

test('a new denial is in force at once, for new clients and for connected ones', async () => {
  const config = (deny: string) => `
allowlist: [{address: web.example.com, port: [80, ${ECHO_PORT}]}]
denylist: [${deny}]
listeners: [{listen: "tcp:${HOST}:3128", route: http}]
`;
  const request = tunnel(`web.example.com:${ECHO_PORT}`);
  await using proxy = await startServe(config(''));
  using stayed = await Client.open({ host: HOST, port: 3128 });
  stayed.send('GET http://web.example.com/ HTTP/1.1\r\nHost: web.example.com\r\n\r\n');
  await stayed.receives(/ 200 OK\r\n[\s\S]*ok$/);
  // As many as there are relay threads and more: each of them knows by now what it is to do.
  for (let i = 0; i < 2 * RESERVED; i += 1) await (await Transfer.open(3128, request)).end();
  await proxy.reload(config(`{address: web.example.com, port: ${ECHO_PORT}}`));
  using next = await Client.open({ host: HOST, port: 3128 });
  for (const client of [next, stayed]) {
    client.send(request);
    await client.receives(/HTTP\/1\.1 403 /);
  }
});

test('a flood of signals: the last file is used, and SIGTERM after them ends it with status 0', async () => {
  const config = (port: number) => `
allowlist: [{address: web.example.com, port: 80}]
listeners: [{listen: "tcp:${HOST}:${port}", route: http}]
`;
  await using proxy = await startServe(config(3128));
  const last = proxy.reload(config(3130));
  for (let i = 0; i < 100; i += 1) process.kill(proxy.pid, 'SIGHUP');
  await last;
  (await Client.open({ host: HOST, port: 3130 }))[Symbol.dispose]();
  const { status } = await proxy.stop();
  assert.equal(status, 0);
});
