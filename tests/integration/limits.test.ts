/** Limits per client: a client over a limit is refused, with one line per period, and other clients are not affected. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type DnsServer, startDnsServer } from '../unit/dns/server.ts';
import { enterNamespace } from './namespace.ts';
import { Client, type RawServer, startRawServer } from './raw.ts';
import { type RunningServe, startServe } from './serve.ts';

const SERVER = '10.77.0.1';

enterNamespace(import.meta.filename, { servers: { [SERVER]: ['web.example.com'] } });

const FIXED = 8000;
const HTTP = 3128;
const RATED = 8001;
const SLOW = 3129;
const CONFIG = `
allowlist:
- {address: web.example.com, port: 80}
- {address: silent.example.com, port: 443}
limits: {connections_per_client: 5}
listeners:
- {listen: "tcp:0.0.0.0:${FIXED}", connect: "web.example.com:80"}
- {listen: "tcp:0.0.0.0:${HTTP}", route: http}
- {listen: "tcp:0.0.0.0:${RATED}", connect: "web.example.com:80", limits: {connections_per_client: 0, rate_per_client: 10}}
- {listen: "tcp:0.0.0.0:${SLOW}", route: http, limits: {connections_per_client: 2}, timeouts: {head: 1s}}
`;

let dns: DnsServer;
let server: RawServer;
let proxy: RunningServe;

before(async () => {
  dns = await startDnsServer(() => 'silence', 53);
  server = await startRawServer(SERVER, 80, (socket, all) => {
    if (all.endsWith('?')) socket.write('!');
  });
  proxy = await startServe(CONFIG);
});

after(async () => {
  for (const each of [proxy, server]) await each?.[Symbol.asyncDispose]();
  dns?.close();
});

function connect(port: number, from: string): Promise<Client> {
  return Client.open({ host: '127.0.0.1', port, localAddress: from });
}

/** A connection that has reached the server, or `refused`. */
async function tryIt(port: number, from: string): Promise<Client | 'refused'> {
  const client = await connect(port, from);
  client.send('?');
  return await client.receives(/^!$/).then(
    () => client,
    () => 'refused' as const,
  );
}

test('connections per client: more of them are refused, other clients are not', async () => {
  const mine: Client[] = [];
  for (let i = 0; i < 5; i += 1) mine.push(ok(await tryIt(FIXED, '127.0.0.2')));
  for (let i = 0; i < 100; i += 1) assert.equal(await tryIt(FIXED, '127.0.0.2'), 'refused');
  for (let i = 0; i < 5; i += 1) ok(await tryIt(FIXED, '127.0.0.3'))[Symbol.dispose]();
  for (const client of mine) {
    client.send('?');
    await client.receives(/^!!$/);
  }
  await proxy.logged(
    /WARN .*Client on tcp: 127\.0\.0\.2:\d+ refused: 127\.0\.0\.2 has 5 connections open already\. Hint: the limit is limits\.connections_per_client of the listener \(.*config\.yaml:7\) or of the file\n/,
  );
  const [first] = mine;
  first?.socket.end();
  await first?.ended();
  const again = tryIt(FIXED, '127.0.0.2');
  ok(await again);
});

test('incomplete requests count, too: a client cannot take all places of the HTTP proxy', async () => {
  const mine = await Promise.all(Array.from({ length: 5 }, () => connect(HTTP, '127.0.0.4')));
  for (const client of mine) client.send('GET http://web.exa');
  const sixth = await connect(HTTP, '127.0.0.4');
  assert.match(await sixth.ended(), /^(EOF|ECONNRESET)$/);
  const other = await connect(HTTP, '127.0.0.5');
  other.send('CONNECT web.example.com:80 HTTP/1.1\r\nHost: web.example.com:80\r\n\r\n?');
  await other.receives(/^HTTP\/1\.1 200 .*\r\n\r\n!$/);
});

test('new connections per second: a burst up to the limit is served, the rest of a flood is refused', async () => {
  let served = 0;
  let refused = 0;
  const flood = await Promise.all(Array.from({ length: 60 }, () => tryIt(RATED, '127.0.0.6')));
  for (const outcome of flood) {
    if (outcome === 'refused') refused += 1;
    else served += 1;
  }
  assert.ok(served >= 10 && served < 40, `${served} served`);
  assert.equal(served + refused, 60);
  ok(await tryIt(RATED, '127.0.0.7'));
  await proxy.logged(
    /WARN .*Client on tcp: 127\.0\.0\.6:\d+ refused: 127\.0\.0\.6 opens more than 10 connections per second\. Hint: .*rate_per_client/,
  );
});

test('clients whose name is not resolved in time free their places', async () => {
  for (let i = 0; i < 4; i += 1) {
    using client = await connect(SLOW, '127.0.0.8');
    client.send('CONNECT silent.example.com:443 HTTP/1.1\r\nHost: silent.example.com:443\r\n\r\n');
    assert.equal(await client.ended(), 'EOF', `client ${i + 1}`);
  }
  await proxy.logged(
    /WARN .*127\.0\.0\.8:\d+: there was no decision about its target within 1000 ms \(timeouts\.head\)/,
  );
});

test('one line per period has the number of refused clients', async () => {
  const [line] = await proxy.logged(
    /(\d+) more clients on tcp: 0\.0\.0\.0:8000 refused \(client-limit\) within 10 s.*\n/,
  );
  assert.match(line, /^99 more .*Hint: the limit is limits\.connections_per_client/);
  await proxy.logged(/\d+ more clients on tcp: 0\.0\.0\.0:8001 refused \(client-rate\) within 10 s/);
  const lines = proxy.log.split('\n').filter((each) => /refused/.test(each));
  // For each of three listeners the first one at once, and then a sum; on one of them there is nothing to sum up.
  assert.equal(lines.length, 5, lines.join('\n'));
});

function ok(outcome: Client | 'refused'): Client {
  assert.notEqual(outcome, 'refused');
  return outcome as Client;
}
