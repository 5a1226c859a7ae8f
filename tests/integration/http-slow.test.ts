/** Clients of `route: http` and `route: sni` that take their time: they cost little, for a limited time, and only themselves. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { enterNamespace } from './namespace.ts';
import { ask, Client, type RawServer, startRawServer } from './raw.ts';
import { type RunningServe, startServe } from './serve.ts';

const SERVER = '10.77.0.1';

enterNamespace(import.meta.filename, { servers: { [SERVER]: ['web.example.com'] } });

const HEAD_MS = 2500;
/** Many clients at once. */
const CROWD = 1000;
const KIB = 1024;
const HTTP = { host: '127.0.0.1', port: 3128 };
const SNI = { host: '127.0.0.1', port: 443 };
const CONFIG = `
allowlist:
- {address: web.example.com, port: 80}
timeouts: {head: ${HEAD_MS}ms}
limits: {connections: ${2 * CROWD}}
listeners:
- {listen: "tcp:127.0.0.1:3128", route: http}
- {listen: "tcp:127.0.0.1:443", route: sni}
`;

let server: RawServer;
let proxy: RunningServe;

before(async () => {
  server = await startRawServer(SERVER, 80, (socket, all) => {
    if (all.endsWith('\r\n\r\n')) socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  });
  proxy = await startServe(CONFIG);
});

after(async () => {
  for (const each of [proxy, server]) await each?.[Symbol.asyncDispose]();
});

const REQUEST = 'GET http://web.example.com/ HTTP/1.1\r\nHost: web.example.com\r\nConnection: close\r\n\r\n';
/** A ClientHello of 16,005 bytes up to where its padding begins, which is most of it. */
const HELLO =
  '\x16\x03\x01\x3e\x80\x01\x00\x3e\x7c\x03\x03' +
  `${'r'.repeat(32)}\x00\x00\x02\x13\x01\x01\x00\x3e\x51\x00\x15\x3e\x4d`;

/** Others are served meanwhile. @returns how often one was */
async function othersAreServed(until: Promise<unknown>): Promise<number> {
  let over = false;
  void until.finally(() => {
    over = true;
  });
  let served = 0;
  for (; !over; served += 1) assert.match(await ask(HTTP, REQUEST), / 200 OK\r\n[\s\S]*ok$/);
  return served;
}

/** Opens a crowd of clients that begin with this. */
async function crowd(to: typeof HTTP, bytes: string): Promise<readonly Client[]> {
  const clients: Client[] = [];
  while (clients.length < CROWD) {
    const some = await Promise.all(Array.from({ length: 100 }, () => Client.open(to)));
    for (const client of some) client.send(bytes);
    clients.push(...some);
  }
  return clients;
}

for (const [what, to, head] of [
  ['request heads', HTTP, 'GET http://web.example.com/ HTTP/1.1\r\nHost: web.exam'],
  ['ClientHellos', SNI, HELLO],
] as const) {
  test(`1,000 ${what}, a byte every half second: each ends at its deadline, others are served`, async () => {
    const memory = proxy.rssAnon();
    const from = proxy.log.length;
    const started = performance.now();
    const clients = await crowd(to, head);
    const slowly = setInterval(() => {
      for (const client of clients) if (client.ending === undefined) client.send('x');
    }, 500);
    const all = Promise.all(clients.map((client) => client.ended()));
    assert.ok((await othersAreServed(all.finally(() => clearInterval(slowly)))) > 10);
    for (const ending of await all) assert.match(ending, /^(EOF|ECONNRESET)$/);
    assert.ok(performance.now() - started >= HEAD_MS);
    for (const client of clients) assert.equal(client.received, '');
    assert.ok(proxy.rssAnon() - memory < 20 * KIB, `${proxy.rssAnon() - memory} KiB`);
    await proxy.logged(new RegExp(`WARN .*no whole request head or ClientHello came within ${HEAD_MS} ms`), from);
    assert.equal(proxy.log.slice(from).match(/WARN .*no whole request head/g)?.length, 1);
  });

  test(`1,000 ${what} of nearly 16 KiB that never end: memory is bounded, others are served`, async () => {
    const memory = proxy.rssAnon();
    const filler = to === HTTP ? `\r\nX: ${'x'.repeat(16 * KIB)}` : 'x'.repeat(16 * KIB);
    const clients = await crowd(to, (head + filler).slice(0, 16_000));
    const all = Promise.all(clients.map((client) => client.ended()));
    assert.ok((await othersAreServed(all)) > 10);
    // The clients have sent 16 MiB. They are there up to four times: in the data plane, in its requests, and in the control
    // plane as bytes and as text, until V8 collects them.
    assert.ok(proxy.rssAnon() - memory < 5 * 16 * KIB, `${proxy.rssAnon() - memory} KiB`);
  });
}

test('a client that sends its second request slowly has the time of a head for it, too', async () => {
  using client = await Client.open(HTTP);
  client.send(REQUEST.replace('Connection: close\r\n', ''));
  await client.receives(/ok$/);
  const started = performance.now();
  client.send('GET http:');
  await client.ended();
  assert.ok(performance.now() - started >= HEAD_MS - 100);
});
