import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { FIELD_LIMIT, HEAD_LIMIT } from '../../../src/protocol/head.ts';
import { type ForwardRequest, parseRequest } from '../../../src/protocol/http-request.ts';
import { CONNECT, GET, HOST, headOf, REFUSED_REQUESTS, WEB_SOCKET } from '../../vectors/http-requests.ts';
import { assertPrintable, head, latin1, parseEachPrefix } from './fixture.ts';

function forwarded(...lines: readonly string[]): ForwardRequest & { readonly text: string } {
  const request = parseEachPrefix(parseRequest, head(...lines));
  assert(request.kind === 'forward', JSON.stringify(request));
  return { ...request, text: request.head.toString('latin1') };
}

suite('request refused', () => {
  for (const [input, status, problem] of REFUSED_REQUESTS) {
    const bytes = typeof input === 'string' ? latin1(input) : input;
    test(`with ${status}, ${problem}: ${JSON.stringify(bytes.toString('latin1').slice(0, 100))}`, () => {
      const request = parseEachPrefix(parseRequest, bytes);
      assert(request.kind === 'malformed', JSON.stringify(request));
      assert.ok(request.problem.includes(problem), request.problem);
      assert.equal(request.status, status, request.problem);
      assertPrintable(request.problem);
      assert.doesNotMatch(request.problem, /word|secret/);
    });
  }
});

test('a request in progress waits for more, and one byte below the limit it still may', () => {
  for (const text of [
    '',
    '\r',
    '\r\n',
    'G',
    'GET',
    'GET ',
    'GET http://a',
    `${GET}\r`,
    `${GET}\r\n`,
    `${GET}\r\n${HOST}\r\n\r`,
  ]) {
    assert.deepEqual(parseRequest(latin1(text)), { kind: 'more' }, JSON.stringify(text));
  }
  assert.deepEqual(parseRequest(headOf(HEAD_LIMIT).subarray(0, -1)), { kind: 'more' });
});

test('a head of exactly 16 KiB and one of 256 fields are read', () => {
  const largest = parseRequest(headOf(HEAD_LIMIT));
  assert(largest.kind === 'forward');
  assert.equal(largest.headBytes, HEAD_LIMIT);
  assert.equal(parseRequest(head(GET, HOST, ...Array.from({ length: FIELD_LIMIT - 1 }, () => 'X: 1'))).kind, 'forward');
});

suite('CONNECT', () => {
  for (const [lines, host, port] of [
    [[CONNECT, HOST], 'a.example', 443],
    [[CONNECT, 'Host: A.Example:443'], 'a.example', 443],
    [['CONNECT a.example:443 HTTP/1.0'], 'a.example', 443],
    [
      [
        'CONNECT a.example:443 HTTP/1.1',
        'Host: a.example:443',
        'Proxy-Connection: keep-alive',
        'User-Agent: curl/8.5.0',
      ],
      'a.example',
      443,
    ],
    [['CONNECT [2001:DB8::1]:8443 HTTP/1.1', 'Host: [2001:db8::1]:8443'], '2001:DB8::1', 8443],
    [['CONNECT 192.0.2.1:1 HTTP/1.1', 'Host: 192.0.2.1:1'], '192.0.2.1', 1],
    // RFC 9112 3.2.2: the target decides alone.
    [[CONNECT], 'a.example', 443],
    [[CONNECT, 'Host: 127.0.0.1:3128'], 'a.example', 443],
    [[CONNECT, 'Host: b.example:80'], 'a.example', 443],
    [[CONNECT, 'Host:'], 'a.example', 443],
    [[CONNECT, 'Host: user@a.example/b, c'], 'a.example', 443],
    [[CONNECT, HOST, 'Content-Length: 0'], 'a.example', 443],
    [[CONNECT, HOST, 'Connection: Transfer-Encoding, Trailer, Upgrade, TE, Keep-Alive'], 'a.example', 443],
    [['CONNECT ::1:443 HTTP/1.1'], '::1', 443],
    [['CONNECT :::443 HTTP/1.1'], '::', 443],
    [['CONNECT 2001:DB8::1:8443 HTTP/1.0'], '2001:DB8::1', 8443],
    [['CONNECT 1:2:3:4:5:6:7:8:443 HTTP/1.1'], '1:2:3:4:5:6:7:8', 443],
    [['CONNECT ::ffff:192.0.2.1:443 HTTP/1.1'], '::ffff:192.0.2.1', 443],
    [['CONNECT a_b.EXAMPLE.:65535 HTTP/1.1', 'Host: a_b.example.:65535'], 'a_b.EXAMPLE.', 65535],
  ] as const) {
    test(`${lines.join(' · ')} is a tunnel to ${host} port ${port}`, () => {
      const bytes = head(...lines);
      assert.deepEqual(parseEachPrefix(parseRequest, bytes), { kind: 'connect', host, port, headBytes: bytes.length });
    });
  }

  test('what follows the head is left alone, and an empty line before it belongs to it', () => {
    const bytes = Buffer.concat([
      latin1('\r\n'),
      head(CONNECT, HOST),
      latin1('\x16\x03\x01 first bytes of the tunnel\r\n\r\n'),
    ]);
    const request = parseEachPrefix(parseRequest, bytes);
    assert(request.kind === 'connect');
    assert.equal(bytes.subarray(request.headBytes)[0], 0x16);
  });
});

suite('request sent on', () => {
  test('goes in origin form, for one connection, and without what was for the proxy alone', () => {
    const { text, ...request } = forwarded(
      'POST http://A.example:8080/path?query HTTP/1.1',
      'User-Agent: x',
      'HOST: a.example:8080',
      'Connection: Keep-Alive, X-Hop,, te',
      'X-Hop: 1',
      'x-hop: 2',
      'TE: trailers',
      'Keep-Alive: timeout=5',
      'Proxy-Connection: keep-alive',
      'Proxy-Authorization: Basic c2VjcmV0',
      'Proxy-Authenticate: Basic',
      'Upgrade: h2c',
      'Cookie:  a=b;\tc=\xff  ',
      'X-Empty:',
      'Expect: 100-continue',
      'Via: 1.1 other',
      'Content-Length: 5',
      'Trailer: X-Sum',
    );
    assert.equal(
      text,
      'POST /path?query HTTP/1.1\r\nHost: A.example:8080\r\nUser-Agent: x\r\nCookie:  a=b;\tc=\xff  \r\nX-Empty:\r\n' +
        'Expect: 100-continue\r\nVia: 1.1 other\r\nContent-Length: 5\r\nTrailer: X-Sum\r\nVia: 1.1 vsock-proxy\r\n' +
        'Connection: close\r\n\r\n',
    );
    const { host, port, body, keepAlive, version, method } = request;
    assert.deepEqual(
      { host, port, body, keepAlive, version, method },
      {
        host: 'A.example',
        port: 8080,
        body: { kind: 'length', bytes: 5 },
        keepAlive: true,
        version: '1.1',
        method: 'POST',
      },
    );
  });

  for (const [method, target, origin] of [
    ['GET', 'http://a.example', '/'],
    ['GET', 'http://a.example?q=1', '/?q=1'],
    ['GET', 'http://a.example/?', '/?'],
    ['GET', 'HTTP://a.example/a//b/../c;d?e=/?', '/a//b/../c;d?e=/?'],
    ['GET', 'http://a.example/%00%zz|{}"^`\\@:', '/%00%zz|{}"^`\\@:'],
    ['OPTIONS', 'http://a.example', '*'],
    ['OPTIONS', 'http://a.example/', '/'],
    ['OPTIONS', 'http://a.example?x', '/?x'],
    ['M-SEARCH', 'http://a.example/', '/'],
    ['GET', 'http://a.example:80/', '/'],
    ['GET', 'http://a.example/\xc3\xa4?\xfc', '/\xc3\xa4?\xfc'],
    ['GET', 'http://a.example/#f', '/'],
    ['GET', 'http://a.example#f', '/'],
    ['GET', 'http://a.example/p?q#f?g#h@b.example/', '/p?q'],
    ['OPTIONS', 'http://a.example#f', '*'],
    ['GET', 'http://user:pass@a.example/p', '/p'],
    ['GET', 'http://@a.example', '/'],
    ['GET', 'http://b.example:81@a.example/', '/'],
    ['GET', 'http://u:%40%5c"^;\xe4@a.example/@b', '/@b'],
  ] as const) {
    test(`${method} ${target} asks the server for ${origin}`, () => {
      const { text, host, port } = forwarded(`${method} ${target} HTTP/1.1`, HOST);
      assert.ok(text.startsWith(`${method} ${origin} HTTP/1.1\r\nHost: a.example`), text);
      assert.deepEqual([host, port], ['a.example', 80]);
    });
  }

  test('an IPv6 address loses its brackets as host, and keeps them in Host', () => {
    const { text, host, port } = forwarded('GET http://[::1]:81/ HTTP/1.1', 'Host: [::1]:81');
    assert.deepEqual([host, port], ['::1', 81]);
    assert.match(text, /^GET \/ HTTP\/1\.1\r\nHost: \[::1\]:81\r\n/);
  });

  for (const named of [[], ['Host:'], ['Host: b.example'], ['Host: a.example:8080'], ['Host: x@y/z, a.example']]) {
    test(`with ${named[0] ?? 'no Host'} names the target as Host all the same`, () => {
      const { text, host, port } = forwarded('GET http://a.example:81/ HTTP/1.1', ...named);
      assert.deepEqual(text.match(/^host:.*$/gim), ['Host: a.example:81']);
      assert.deepEqual([host, port], ['a.example', 81]);
    });
  }

  for (const option of ['Transfer-Encoding', 'Trailer', 'Upgrade', 'TE', 'Keep-Alive', 'Proxy-Connection']) {
    test(`with Connection: ${option} is framed as without`, () => {
      const lines = ['POST http://a.example/ HTTP/1.1', HOST, 'Transfer-Encoding: chunked', `Connection: ${option}`];
      const { text, body } = forwarded(...lines);
      assert.deepEqual(body, { kind: 'chunked' });
      assert.equal(text.match(/^Transfer-Encoding: chunked\r$/gm)?.length, 1);
      assert.deepEqual(text.match(/^connection:.*$/gim), ['Connection: close']);
    });
  }

  for (const scheme of ['http', 'ws', 'WS']) {
    test(`that asks for a WebSocket by ${scheme}:// does so on the other side, too`, () => {
      const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==';
      const { text, port, webSocket, keepAlive } = forwarded(
        `GET ${scheme}://a.example/chat HTTP/1.1`,
        ...WEB_SOCKET,
        key,
      );
      assert.equal(
        text,
        `GET /chat HTTP/1.1\r\nHost: a.example\r\n${key}\r\nVia: 1.1 vsock-proxy\r\n` +
          'Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
      );
      assert.deepEqual({ port, webSocket, keepAlive }, { port: 80, webSocket: true, keepAlive: false });
    });
  }

  for (const lines of [
    ['GET http://a.example/ HTTP/1.1', 'Upgrade: websocket'],
    ['GET http://a.example/ HTTP/1.1', 'Connection: Upgrade', 'Upgrade: h2c'],
    ['GET http://a.example/ HTTP/1.1', 'Connection: Upgrade', 'Upgrade: websocket, h2c'],
    ['GET http://a.example/ HTTP/1.1', 'Connection: Upgrade', 'Upgrade: websocket', 'Upgrade: h2c'],
    ['GET http://a.example/ HTTP/1.1', 'Connection: Upgrade', 'Upgrade: websocket', 'Content-Length: 5'],
    ['POST http://a.example/ HTTP/1.1', 'Connection: Upgrade', 'Upgrade: websocket'],
    ['GET http://a.example/ HTTP/1.0', 'Connection: Upgrade', 'Upgrade: websocket'],
  ]) {
    test(`${lines.join(' · ')} goes on without Upgrade, and its server may not switch`, () => {
      const { text, webSocket } = forwarded(...lines);
      assert.doesNotMatch(text, /upgrade/i);
      assert.equal(webSocket, false);
    });
  }

  for (const [accept, form] of [
    [[], 'json'],
    [['Accept: application/json'], 'json'],
    [['Accept: text/html', 'Accept: application/vnd.api+JSON;q=0.5'], 'json'],
    [['Accept: */*'], 'text'],
    [['Accept: text/html, */*;q=0.8'], 'text'],
  ] as const) {
    test(`with ${accept.join(' and ') || 'no Accept'} is refused in ${form}`, () => {
      assert.equal(forwarded(GET, ...accept).form, form);
    });
  }

  for (const [fields, body] of [
    [[], { kind: 'none' }],
    [['Content-Length: 0'], { kind: 'length', bytes: 0 }],
    [['Content-Length:\t999999999999999 '], { kind: 'length', bytes: 999_999_999_999_999 }],
    [['Transfer-Encoding: chunked'], { kind: 'chunked' }],
    [['Transfer-Encoding:Chunked\t'], { kind: 'chunked' }],
  ] as const) {
    test(`with ${fields[0] ?? 'neither length nor coding'} has a body of ${JSON.stringify(body)}`, () => {
      const request = forwarded('PUT http://a.example/ HTTP/1.1', HOST, ...fields);
      assert.deepEqual(request.body, body);
      assert.equal(
        request.text.match(/^Transfer-Encoding: chunked\r$/gm)?.length ?? 0,
        body.kind === 'chunked' ? 1 : 0,
      );
    });
  }

  for (const [lines, keepAlive] of [
    [[GET, HOST], true],
    [[GET, HOST, 'Connection: keep-alive'], true],
    [[GET, HOST, 'Connection: close'], false],
    [[GET, HOST, 'Connection: keep-alive', 'Connection: x, CLOSE'], false],
    [[GET, HOST, 'Proxy-Connection: Close'], false],
    [['GET http://a.example/ HTTP/1.0', 'Connection: keep-alive'], false],
  ] as const) {
    test(`${lines.slice(0).join(' · ')}: the client's connection may ${keepAlive ? 'live on' : 'not live on'}`, () => {
      assert.equal(forwarded(...lines).keepAlive, keepAlive);
    });
  }

  test('a client of HTTP/1.0 gets its server asked in HTTP/1.0, which answers without chunks', () => {
    const { text, version } = forwarded('GET http://a.example/ HTTP/1.0');
    assert.equal(version, '1.0');
    assert.equal(text, 'GET / HTTP/1.0\r\nHost: a.example\r\nVia: 1.0 vsock-proxy\r\nConnection: close\r\n\r\n');
  });
});
