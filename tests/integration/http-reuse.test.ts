/**
 * Connections to HTTP servers that are used again, and requests that the data plane decides about by a cached decision: who
 * shares what with whom, when a connection is not used again, and that nothing gets past the proxy which it refuses
 * elsewhere.
 */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { after, before, beforeEach, describe, test } from 'node:test';
import { REFUSED_REQUESTS } from '../vectors/http-requests.ts';
import { REFUSED_RESPONSES } from '../vectors/http-responses.ts';
import { enterNamespace } from './namespace.ts';
import { Client, type RawServer, startRawServer } from './raw.ts';
import { type RunningServe, startServe } from './serve.ts';

const SERVER = '10.77.0.1';

enterNamespace(import.meta.filename, { servers: { [SERVER]: ['a.example', 'b.example'] } });

const PROXY = { host: '127.0.0.1', port: 3128 };
const NO_REUSE = { host: '127.0.0.1', port: 3129 };
const SHORT = { host: '127.0.0.1', port: 3130 };
const listeners = `
listeners:
- {listen: "tcp:127.0.0.1:3128", route: http}
- {listen: "tcp:127.0.0.1:3129", route: http, timeouts: {reuse: 0}}
- {listen: "tcp:127.0.0.1:3130", route: http, timeouts: {reuse: 100ms}}
`;
const CONFIG = `allowlist:\n- {address: "*.example", port: [80, 443]}\n${listeners}`;

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const get = (path: string, host = 'a.example', ...fields: readonly string[]) =>
  [`GET http://${host}${path} HTTP/1.1`, `Host: ${host}`, ...fields, '', ''].join('\r\n');
const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n';

let proxy: RunningServe;
let server: RawServer;
/** What is done with each request. */
let answer: (socket: Socket, path: string) => void;

before(async () => {
  server = await startRawServer(SERVER, 80, (socket, all) => {
    if (!all.endsWith('\r\n\r\n')) return;
    answer(socket, /([^ ]*) HTTP\/1\.1\r\n(?:[^\r]+\r\n)*\r\n$/.exec(all)?.[1] ?? '');
  });
  proxy = await startServe(CONFIG);
});

beforeEach(() => {
  answer = (socket) => socket.write(OK);
  server.clear();
});

after(async () => {
  for (const each of [proxy, server]) await each?.[Symbol.asyncDispose]();
});

/** The paths of the requests on each connection of the server. */
function asked(): readonly (readonly string[])[] {
  return server.received.map((all) => [...all.matchAll(/(?:GET|POST|HEAD) (\S+) HTTP/g)].map(([, path = '']) => path));
}

/** Sends it, and waits for a response of its own. */
function exchange(client: Client, request: string, expected = /\r\n\r\nok$/): Promise<string> {
  client.received = '';
  client.send(request);
  return client.receives(expected);
}

describe('a connection to a server is used again', () => {
  test('by GETs of the same client for the same server, without Connection: close', async () => {
    using client = await Client.open(PROXY);
    for (const path of ['/one', '/two', '/three']) await exchange(client, get(path));
    assert.deepEqual(asked(), [['/one', '/two', '/three']]);
    assert.doesNotMatch(server.received[0] ?? '', /connection/i);
  });

  test('by pipelined requests, each with its own response', async () => {
    answer = (socket, path) => socket.write(OK.replace('ok', path.slice(1)));
    using client = await Client.open(PROXY);
    client.send(get('/01') + get('/02') + get('/03'));
    await client.receives(/01[\s\S]*02[\s\S]*03$/);
    assert.deepEqual(asked(), [['/01', '/02', '/03']]);
  });

  test('behind a body in chunks', async () => {
    answer = (socket) => socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n');
    using client = await Client.open(PROXY);
    for (const path of ['/one', '/two']) await exchange(client, get(path), /0\r\n\r\n$/);
    assert.deepEqual(asked(), [['/one', '/two']]);
  });

  test('until its client has gone', async () => {
    using client = await Client.open(PROXY);
    await exchange(client, get('/one'));
    client.socket.end();
    await server.ended(1);
  });

  test('for as long as timeouts.reuse allows', async () => {
    using client = await Client.open(SHORT);
    await exchange(client, get('/one'));
    await server.ended(1);
    await exchange(client, get('/two'));
    assert.deepEqual(asked(), [['/one'], ['/two']]);
  });
});

describe('a connection to a server is not used again', () => {
  const own = (what: string, requests: readonly string[], paths: readonly string[], to = PROXY) =>
    test(what, async () => {
      using client = await Client.open(to);
      for (const request of requests) await exchange(client, request, /\r\n\r\n(?:ok)?$/);
      assert.deepEqual(
        asked(),
        paths.map((path) => [path]),
      );
    });

  own('for another server', [get('/a'), get('/b', 'b.example'), get('/c')], ['/a', '/b', '/c']);
  own('where the file says so', [get('/a'), get('/b')], ['/a', '/b'], NO_REUSE);

  test('if the file forbids it, and the request has Connection: close', async () => {
    using client = await Client.open(NO_REUSE);
    for (const path of ['/one', '/two']) await exchange(client, get(path));
    for (const all of server.received) assert.match(all, /\r\nConnection: close\r\n\r\n$/);
  });

  test('for other methods and requests with a body, which have a connection of their own', async () => {
    using client = await Client.open(PROXY);
    await exchange(client, get('/one'));
    for (const request of [
      get('/two').replace('GET', 'POST'),
      get('/three', 'a.example', 'Content-Length: 0'),
      get('/four').replace('GET', 'HEAD'),
    ]) {
      await exchange(client, request, /\r\n\r\n(?:ok)?$/);
    }
    await exchange(client, get('/five'));
    assert.deepEqual(asked(), [['/one'], ['/two'], ['/three'], ['/four'], ['/five']]);
    for (const all of server.received.slice(1, 4)) assert.match(all, /\r\nConnection: close\r\n\r\n$/);
  });

  test('by another client', async () => {
    using one = await Client.open(PROXY);
    using other = await Client.open(PROXY);
    await exchange(one, get('/one', 'a.example', 'Authorization: NTLM x'));
    await exchange(other, get('/other'));
    await exchange(one, get('/again'));
    assert.deepEqual(asked(), [['/one', '/again'], ['/other']]);
  });

  for (const [what, response] of [
    ['that says so', OK.replace('\r\n', '\r\nConnection: close\r\n')],
    ['without a body by its status', 'HTTP/1.1 304 Not Modified\r\nX: ok\r\n\r\n'],
    ['with something behind it', `${OK}HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled`],
  ] as const) {
    test(`behind a response ${what}`, async () => {
      answer = (socket) => socket.write(response);
      using client = await Client.open(PROXY);
      for (const path of ['/one', '/two', '/three']) await exchange(client, get(path), /ok(?:\r\n[\s\S]*)?$/);
      assert.deepEqual(asked(), [['/one'], ['/two'], ['/three']]);
      assert.doesNotMatch(client.received, /smuggled/);
    });
  }

  test('after it has sent bytes unasked', async () => {
    const { promise: said, resolve } = Promise.withResolvers<void>();
    answer = (socket, path) => {
      socket.write(OK);
      if (path !== '/two') return;
      setTimeout(() => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled', () => resolve()), 20);
    };
    using client = await Client.open(PROXY);
    await exchange(client, get('/one'));
    await exchange(client, get('/two'));
    await said;
    await server.ended(1);
    assert.doesNotMatch(await exchange(client, get('/three')), /smuggled/);
    assert.deepEqual(asked(), [['/one', '/two'], ['/three']]);
  });

  test('when it has ended meanwhile', async () => {
    answer = (socket, path) => (path === '/two' ? socket.end(OK) : socket.write(OK));
    using client = await Client.open(PROXY);
    await exchange(client, get('/one'));
    await exchange(client, get('/two'));
    await server.ended(1);
    await exchange(client, get('/three'));
    assert.deepEqual(asked(), [['/one', '/two'], ['/three']]);
  });

  test('once the rules have changed', async () => {
    using client = await Client.open(PROXY);
    for (const path of ['/one', '/two']) await exchange(client, get(path));
    await proxy.reload(CONFIG.replace('443]', '444]'));
    await exchange(client, get('/three'));
    assert.deepEqual(asked(), [['/one', '/two'], ['/three']]);
    await proxy.reload(CONFIG.replace('"*.example"', 'b.example'));
    await exchange(client, get('/four'), / 403 [\s\S]*\}\n$/);
    await client.ended();
    await proxy.reload(CONFIG);
    assert.deepEqual(asked(), [['/one', '/two'], ['/three']]);
  });
});

describe('a kept server that has gone', () => {
  for (const how of ['end', 'destroy', 'resetAndDestroy'] as const) {
    test(`before the first byte of its response is connected again, once (${how})`, async () => {
      answer = (socket, path) => {
        if (path === '/two' && asked().length === 1) socket[how]();
        else socket.write(OK);
      };
      using client = await Client.open(PROXY);
      for (const path of ['/one', '/two', '/three']) await exchange(client, get(path));
      assert.deepEqual(asked(), [
        ['/one', '/two'],
        ['/two', '/three'],
      ]);
    });
  }

  test('is not connected a third time', async () => {
    answer = (socket, path) => {
      if (path === '/two') socket.end();
      else socket.write(OK);
    };
    using client = await Client.open(PROXY);
    await exchange(client, get('/one'));
    await exchange(client, get('/two'), / 502 [\s\S]*a\.example:80 ended the connection before it answered/);
    assert.deepEqual(asked(), [['/one', '/two'], ['/two']]);
  });

  test('after the first byte of its response is not connected again', async () => {
    answer = (socket, path) => {
      if (path === '/two') socket.end('H');
      else socket.write(OK);
    };
    using client = await Client.open(PROXY);
    await exchange(client, get('/one'));
    await exchange(client, get('/two'), / 502 [\s\S]*a\.example:80 ended the connection in the head of its response/);
    assert.deepEqual(asked(), [['/one', '/two']]);
  });

  test('does not lose the bytes of the client behind the request', async () => {
    answer = (socket, path) => {
      if (path === '/two' && asked().length === 1) socket.end();
      else socket.write(OK.replace('ok', path.slice(1, 3)));
    };
    using client = await Client.open(PROXY);
    await exchange(client, get('/one'), /on$/);
    client.send(get('/two') + get('/three'));
    await client.receives(/tw[\s\S]*th$/);
    assert.deepEqual(asked(), [
      ['/one', '/two'],
      ['/two', '/three'],
    ]);
  });
});

describe('behind a request by a cached decision', () => {
  for (const [input, status] of REFUSED_REQUESTS) {
    const bytes = Buffer.from(input as string, 'latin1').toString('latin1');
    test(`an ambiguous one is refused, ${status}: ${JSON.stringify(bytes.slice(0, 100))}`, async () => {
      using client = await Client.open(PROXY);
      for (const path of ['/one', '/two']) await exchange(client, get(path));
      client.received = '';
      client.send(bytes);
      await client.receives(/\r\n\r\n.+\n$/);
      client.send(SMUGGLED + get('/smuggled', 'b.example'));
      await client.ended();
      assert.deepEqual(
        [...client.received.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, code]) => Number(code)),
        [status],
      );
      assert.deepEqual(asked(), [['/one', '/two']]);
      assert.doesNotMatch(server.received[0] ?? '', /smuggled/);
    });
  }

  for (const [what, response] of REFUSED_RESPONSES) {
    test(`an ambiguous response does not reach the client: ${what}`, async () => {
      answer = (socket, path) => (path === '/three' ? socket.end(response, 'latin1') : socket.write(OK));
      using client = await Client.open(PROXY);
      for (const path of ['/one', '/two']) await exchange(client, get(path));
      client.received = '';
      client.send(get('/three') + get('/four'));
      await client.ended();
      assert.match(client.received, /^HTTP\/1\.1 502 /);
      assert.equal(client.received.match(/HTTP\/1\.1 \d{3} /g)?.length, 1);
      assert.deepEqual(asked(), [['/one', '/two', '/three']]);
    });
  }
});
