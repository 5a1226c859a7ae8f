/**
 * `route: http` against clients that want to get a second request past the policy, and servers that want to get a second
 * response to somebody: nobody but the proxy may say where a message ends.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { REFUSED_REQUESTS } from '../vectors/http-requests.ts';
import { REFUSED_RESPONSES } from '../vectors/http-responses.ts';
import { enterNamespace } from './namespace.ts';
import { Client, type RawServer, startRawServer } from './raw.ts';
import { type RunningServe, startServe } from './serve.ts';

const SERVER = '10.77.0.1';
const DENIED = '10.77.0.2';

enterNamespace(import.meta.filename, { servers: { [SERVER]: ['a.example'], [DENIED]: ['b.example'] } });

const PROXY = { host: '127.0.0.1', port: 3128 };
const CONFIG = `
allowlist:
- {address: "a.example", port: [80, 443]}
listeners:
- {listen: "tcp:127.0.0.1:3128", route: http}
`;

/** As a request within another one would be written for the server, and for the proxy. */
const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n';
const PROXIED = 'GET http://b.example/smuggled HTTP/1.1\r\nHost: b.example\r\n\r\n';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const request = (path: string, ...fields: readonly string[]) =>
  [`POST http://a.example${path} HTTP/1.1`, 'Host: a.example', ...fields, '', ''].join('\r\n');

let proxy: RunningServe;
let server: RawServer;
let denied: RawServer;
/** Whether the server has a whole request. */
let whole: { readonly test: (all: string) => boolean };
/** What it answers then, and whether it ends the connection behind it. */
let answer: string;
let ends: boolean;

before(async () => {
  server = await startRawServer(SERVER, 80, (socket, all) => {
    if (!whole.test(all)) return;
    if (ends) socket.end(answer, 'latin1');
    else socket.write(answer, 'latin1');
  });
  denied = await startRawServer(DENIED, 80, (socket) => socket.end(OK));
  proxy = await startServe(CONFIG);
});

beforeEach(() => {
  whole = /\r\n\r\n$/;
  answer = OK;
  ends = false;
  server.clear();
});

after(async () => {
  assert.deepEqual(denied?.received, []);
  for (const each of [proxy, server, denied]) await each?.[Symbol.asyncDispose]();
});

/** The statuses of all responses that have come. */
function statuses(client: Client): readonly number[] {
  return [...client.received.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
}

describe('an ambiguous request is refused, and no server gets it', () => {
  for (const [input, status] of REFUSED_REQUESTS) {
    const bytes = Buffer.from(input as string, 'latin1').toString('latin1');
    test(`${status}: ${JSON.stringify(bytes.slice(0, 100))}`, async () => {
      using client = await Client.open(PROXY);
      client.send(bytes);
      await client.receives(/\r\n\r\n.+\n$/);
      client.send(SMUGGLED + PROXIED);
      await client.ended();
      assert.deepEqual(statuses(client), [status]);
      assert.deepEqual(server.received, []);
    });
  }
});

describe('a body with wrong framing ends the connection, and no byte behind the fault is passed on', () => {
  for (const chunks of [
    '\r\n',
    ' 5\r\nhello\r\n0\r\n\r\n',
    '5 \r\nhello\r\n0\r\n\r\n',
    '+5\r\nhello\r\n0\r\n\r\n',
    '-5\r\n',
    '0x5\r\nhello\r\n0\r\n\r\n',
    '5\nhello\r\n0\r\n\r\n',
    '5\r\nhello\n0\r\n\r\n',
    '5\r\nhello0\r\n\r\n',
    '5\r\nhelloX\r\n0\r\n\r\n',
    '5;a\nhello\r\n0\r\n\r\n',
    '5;\0\r\nhello\r\n0\r\n\r\n',
    '0\r\n\n',
    '0\r\nno colon\r\n\r\n',
    '0\r\n folded: 1\r\n\r\n',
    '1234567890abcdef0\r\n',
    'g\r\n',
    '{5}\r\nhello\r\n0\r\n\r\n',
  ]) {
    test(JSON.stringify(chunks), async () => {
      using client = await Client.open(PROXY);
      client.send(request('/first', 'Transfer-Encoding: chunked') + chunks + SMUGGLED + PROXIED);
      await client.ended();
      assert.deepEqual(statuses(client), []);
      await server.ended(1);
      assert.equal(server.received.length, 1);
      assert.doesNotMatch(server.received[0] ?? '', /smuggled/);
    });
  }
});

describe('bytes of a body never count as a request', () => {
  for (const [what, fields, body] of [
    ['with a length', [`Content-Length: ${SMUGGLED.length}`], SMUGGLED],
    ['in a chunk', ['Transfer-Encoding: chunked'], `${SMUGGLED.length.toString(16)}\r\n${SMUGGLED}\r\n0\r\n\r\n`],
    ['in a trailer', ['Transfer-Encoding: chunked'], `0\r\nX: ${SMUGGLED.replaceAll('\r\n', ' ')}\r\n\r\n`],
  ] as const) {
    test(what, async () => {
      whole = { test: (all) => all.endsWith(body) };
      using client = await Client.open(PROXY);
      client.send(request('/first', ...fields) + body + PROXIED);
      await client.receives(/ 200 [\s\S]* 403 /);
      assert.deepEqual(statuses(client), [200, 403]);
      assert.equal(server.received.length, 1);
      assert.match(server.received[0] ?? '', /^POST \/first HTTP\/1\.1\r\n/);
    });
  }
});

describe('several requests on one connection', () => {
  test('have a decision each, also when they are pipelined', async () => {
    using client = await Client.open(PROXY);
    const allowed = request('/one', 'Content-Length: 0');
    client.send(allowed + PROXIED + allowed);
    await client.ended();
    assert.deepEqual(statuses(client), [200, 403]);
    assert.deepEqual(server.received.length, 1);
  });

  test('have a connection of their own to the server each, with Connection: close', async () => {
    using client = await Client.open(PROXY);
    client.send(request('/one') + request('/two') + request('/three'));
    await client.receives(/(ok[\s\S]*){3}/);
    assert.deepEqual(
      server.received.map((all) => all.split(' ', 2)[1]),
      ['/one', '/two', '/three'],
    );
    for (const all of server.received) assert.match(all, /\r\nConnection: close\r\n\r\n$/);
  });

  test('are the same two if they are cut at any byte', async () => {
    const bytes =
      request('/one', 'Transfer-Encoding: chunked') +
      '3\r\nabc\r\n0\r\n\r\n' +
      request('/two', 'Content-Length: 3') +
      'abc';
    whole = /(0\r\n\r\n|\r\n\r\nabc)$/;
    for (let at = 1; at < bytes.length; at += 1) {
      server.clear();
      using client = await Client.open(PROXY);
      client.socket.setNoDelay(true);
      client.send(bytes.slice(0, at));
      setImmediate(() => client.send(bytes.slice(at)));
      await client.receives(/ok[\s\S]*ok/);
      const [one, two] = server.received;
      assert.match(one ?? '', /^POST \/one [\s\S]*\r\n\r\n3\r\nabc\r\n0\r\n\r\n$/, `cut at ${at}`);
      assert.match(two ?? '', /^POST \/two [\s\S]*\r\n\r\nabc$/, `cut at ${at}`);
      assert.equal(server.received.length, 2);
    }
  });

  test('reach the server without Upgrade', async () => {
    using client = await Client.open(PROXY);
    client.send(
      request('/one', 'Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__'),
    );
    await client.receives(/ok$/);
    assert.doesNotMatch(server.received[0] ?? '', /upgrade|h2c|http2/i);
  });
});

describe('an ambiguous response does not reach the client', () => {
  for (const [what, response] of REFUSED_RESPONSES) {
    test(`502: ${what}`, async () => {
      answer = response;
      ends = true;
      using client = await Client.open(PROXY);
      client.send(request('/first') + request('/second'));
      await client.ended();
      assert.deepEqual(statuses(client), [502]);
      assert.match(
        client.received,
        /\r\nProxy-Status: vsock-proxy; error=(http_protocol_error|connection_terminated); /,
      );
      assert.match(client.received, /\r\n\r\n\{"message":"a\.example:80[: ][^\n]+"\}\n$/);
    });
  }
});

describe('a response', () => {
  test('that is followed by another one is the only one that the client gets for its request', async () => {
    answer = `${OK}HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled`;
    using client = await Client.open(PROXY);
    client.send(request('/one'));
    await client.receives(/ok$/);
    answer = 'HTTP/1.1 201 Created\r\nContent-Length: 3\r\n\r\nown';
    client.send(request('/two'));
    await client.receives(/own$/);
    assert.deepEqual(statuses(client), [200, 201]);
    assert.doesNotMatch(client.received, /smuggled/);
  });

  test('to HEAD with a body reaches the client without the body', async () => {
    using client = await Client.open(PROXY);
    client.send('HEAD http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n');
    await client.receives(/\r\n\r\n$/);
    client.send(request('/two'));
    await client.receives(/\r\n\r\nok$/);
    assert.equal(client.received.match(/ok/g)?.length, 1);
  });

  for (const [what, response] of [
    ['its length', 'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\ntoo short'],
    ['its chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14\r\ntoo short'],
    ['its last chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ntoo short\r\n'],
    ['its trailers', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ntoo short\r\n0\r\nX: 1\r\n'],
  ] as const) {
    test(`that ends before ${what} is visibly cut for the client`, async () => {
      answer = response;
      ends = true;
      using client = await Client.open(PROXY);
      client.send(request('/first'));
      assert.equal(await client.ended(), 'ECONNRESET');
    });
  }

  test('with wrong chunks is visibly cut for the client, which gets nothing behind the fault', async () => {
    answer = `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0x2\r\n${OK}`;
    using client = await Client.open(PROXY);
    client.send(request('/first'));
    assert.equal(await client.ended(), 'ECONNRESET');
    assert.deepEqual(statuses(client), [200]);
  });

  test('without a length ends with its connection, and ends that of the client', async () => {
    answer = 'HTTP/1.1 200 OK\r\n\r\nuntil the end';
    ends = true;
    using client = await Client.open(PROXY);
    client.send(request('/first') + request('/second'));
    assert.equal(await client.ended(), 'EOF');
    assert.match(client.received, /\r\nConnection: close\r\n\r\nuntil the end$/);
    assert.equal(server.received.length, 1);
  });

  test('may follow interim ones, which a client of HTTP/1.0 does not get', async () => {
    answer = `HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n${OK}`;
    using client = await Client.open(PROXY);
    client.send(request('/first'));
    await client.receives(/ok$/);
    assert.deepEqual(statuses(client), [103, 100, 200]);
    using old = await Client.open(PROXY);
    old.send('GET http://a.example/ HTTP/1.0\r\n\r\n');
    await old.ended();
    assert.deepEqual(statuses(old), [200]);
  });

  test('that comes before the whole request is passed on, and the rest of the request is dropped', async () => {
    whole = /^POST/;
    answer = 'HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nstop';
    ends = true;
    using client = await Client.open(PROXY);
    client.send(request('/first', 'Content-Length: 10000000') + 'x'.repeat(100_000));
    await client.receives(/stop$/);
    assert.deepEqual(statuses(client), [413]);
    client.send(PROXIED);
    await client.ended();
    assert.equal(server.received.length, 1);
    assert.doesNotMatch(server.received[0] ?? '', /smuggled/);
  });
});
