import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { FIELD_LIMIT, HEAD_LIMIT } from '../../src/protocol/head.ts';
import { type ForwardRequest, parseRequest } from '../../src/protocol/http-request.ts';
import { assertPrintable, head, latin1, parseEachPrefix } from './protocol-fixture.ts';

function forwarded(...lines: readonly string[]): ForwardRequest & { readonly text: string } {
  const request = parseEachPrefix(parseRequest, head(...lines));
  assert(request.kind === 'forward', JSON.stringify(request));
  return { ...request, text: request.head.toString('latin1') };
}

const GET = 'GET http://a.example/ HTTP/1.1';
const HOST = 'Host: a.example';
const CONNECT = 'CONNECT a.example:443 HTTP/1.1';

suite('request refused', () => {
  const cases: readonly (readonly [input: string | Buffer, status: number, problem: string])[] = [
    // Not HTTP at all, known by the first byte
    ['\x16', 400, 'that is TLS, not HTTP. Hint: the URL of this proxy begins with http://'],
    ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400, 'that is TLS'],
    ['\x05\x01\x00', 400, 'that is SOCKS'],
    ['\x04\x01\x00\x50', 400, 'that is SOCKS'],
    ['\x00', 400, 'is not an HTTP request line'],
    ['\x80\x2e\x01', 400, 'is not an HTTP request line'],
    [' GET', 400, 'is not an HTTP request line'],
    ['\xff\xfe', 400, 'is not an HTTP request line'],
    // Methods
    ['get', 501, 'method "get" is not supported. Hint: methods are upper-case'],
    ['connect a.example:443 HTTP/1.1\r\n', 501, 'method "connect" is not supported'],
    ['A'.repeat(33), 501, 'is not supported'],
    ['GE(T', 400, 'is not an HTTP request line'],
    [head('TRACE http://a.example/ HTTP/1.1', HOST), 501, 'TRACE is not supported'],
    [head('OPTIONS http://a.example/ HTTP/1.1', HOST, 'Max-Forwards: 1'), 501, 'OPTIONS with Max-Forwards'],
    // Versions
    ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505, '"HTTP/2.0" is not supported. Hint: use HTTP/1.1'],
    ['GET http://a.example/ HTTP/2\r\n', 505, '"HTTP/2" is not supported'],
    ['GET http://a.example/ HTTP/1.2\r\n', 505, '"HTTP/1.2" is not supported'],
    ['GET http://a.example/ HTTP/1.10\r\n', 505, '"HTTP/1.10" is not supported'],
    ['GET http://a.example/ HTTP/0.9\r\n', 505, '"HTTP/0.9" is not supported'],
    ['GET http://a.example/\r\n', 505, 'no version, as in HTTP/0.9'],
    ['GET http://a.example/ http/1.1\r\n', 400, 'the request line ends in "http/1.1"'],
    ['GET http://a.example/ HTTP/1.1x\r\n', 400, 'the request line ends in "HTTP/1.1x"'],
    ['GET http://a.example/ HTTP/1,1\r\n', 400, 'the request line ends in'],
    // White space and line ends in the request line
    ['GET  http://a.example/ HTTP/1.1\r\n', 400, 'with one space between each'],
    ['GET http://a.example/  HTTP/1.1\r\n', 400, 'with one space between each'],
    ['GET http://a.example/ HTTP/1.1 \r\n', 400, 'with one space between each'],
    ['GET http://a.example/a b HTTP/1.1\r\n', 400, 'with one space between each'],
    ['GET\thttp://a.example/ HTTP/1.1\r\n', 400, 'is not an HTTP request line'],
    ['GET http://a.example/\tHTTP/1.1\r\n', 505, 'no version'],
    ['GET http://a.example/\t HTTP/1.1\r\n', 400, 'with one space between each'],
    ['GET HTTP/1.1\r\n', 400, 'with one space between each'],
    ['GET \r\n', 505, 'no version'],
    ['GET\r\n', 400, 'with one space between each'],
    ['GET http://a.example/ HTTP/1.1\nHost: a.example\n\n', 400, 'a line ends in LF alone'],
    ['GET http://a.example/ HTTP/1.1\n', 400, 'a line ends in LF alone'],
    ['GET http://a.example/\rHTTP/1.1', 400, 'a CR stands alone'],
    ['GET http://a.example/ HTTP/1.1\r\r\n', 400, 'a CR stands alone'],
    ['GET http://a.example/\x0bx HTTP/1.1\r\n', 400, 'has a character that URLs do not have'],
    ['GET http://a.example/\0 HTTP/1.1\r\n', 400, 'has a character that URLs do not have'],
    ['GET http://a.example/\xe9 HTTP/1.1\r\n', 400, 'has a character that URLs do not have'],
    ['GET http://\x7f/ HTTP/1.1\r\n', 400, 'has a character that URLs do not have'],
    ['\n', 400, 'a line ends in LF alone'],
    ['\rGET', 400, 'a CR stands alone'],
    ['\r\n\r\n', 400, 'the request line is empty'],
    [`\r\n\r\n${GET}\r\n`, 400, 'the request line is empty'],
    // Forms of the target
    ['GET / HTTP/1.1\r\n', 400, 'the target "/" names no server. Hint: this is a proxy'],
    ['GET /latest?token=secret HTTP/1.1\r\n', 400, 'the target "/latest" names no server'],
    ['OPTIONS * HTTP/1.1\r\n', 400, 'the target "*" names no server'],
    ['GET a.example HTTP/1.1\r\n', 400, 'the target "a.example" names no server'],
    ['GET a.example:80 HTTP/1.1\r\n', 400, 'the target "a.example:80" names no server'],
    ['GET http:/a.example/ HTTP/1.1\r\n', 400, 'names no server'],
    ['GET http:a.example/ HTTP/1.1\r\n', 400, 'names no server'],
    ['GET //a.example/ HTTP/1.1\r\n', 400, 'names no server'],
    [
      'GET https://a.example/x?y HTTP/1.1\r\n',
      400,
      'the target "https://a.example/x" would go on unencrypted. Hint: for https://',
    ],
    ['GET HTTPS://a.example/ HTTP/1.1\r\n', 400, 'asks for a tunnel, CONNECT host:443'],
    ['GET ftp://a.example/ HTTP/1.1\r\n', 400, 'the target "ftp://a.example/" is not http://'],
    ['GET ws://a.example/ HTTP/1.1\r\n', 400, 'is not http://'],
    ['GET http://a.example/#f HTTP/1.1\r\n', 400, 'has a fragment'],
    ['GET http://a.example#f HTTP/1.1\r\n', 400, 'has a fragment'],
    ['GET http://a.example/?q#f HTTP/1.1\r\n', 400, 'has a fragment'],
    ['CONNECT a.example HTTP/1.1\r\n', 400, 'the target "a.example" has no port'],
    ['CONNECT a.example: HTTP/1.1\r\n', 400, '"a.example:" has no valid port'],
    ['CONNECT http://a.example:443 HTTP/1.1\r\n', 400, '"http://a.example:443" is not a target for CONNECT'],
    ['CONNECT a.example:443/ HTTP/1.1\r\n', 400, 'is not a target for CONNECT'],
    ['CONNECT / HTTP/1.1\r\n', 400, 'is not a target for CONNECT'],
    ['CONNECT * HTTP/1.1\r\n', 400, 'the host "*" contains "*"'],
    // User information: never shown
    [
      'GET http://user:word@a.example/ HTTP/1.1\r\n',
      400,
      'the target has user information (before an "@"), which is never sent',
    ],
    ['GET http://a.example@b.example/ HTTP/1.1\r\n', 400, 'user information'],
    ['GET http://a.example\\@b.example/ HTTP/1.1\r\n', 400, 'user information'],
    ['GET https://user:word@a.example/ HTTP/1.1\r\n', 400, 'the target "…@a.example/" would go on unencrypted'],
    ['GET user:word@a.example HTTP/1.1\r\n', 400, 'the target "…@a.example" names no server'],
    ['CONNECT user:word@a.example:443 HTTP/1.1\r\n', 400, 'user information'],
    // Hosts and ports
    ['GET http:///x HTTP/1.1\r\n', 400, 'the target has no host'],
    ['GET http://?x HTTP/1.1\r\n', 400, 'the target has no host'],
    ['GET http://:80/ HTTP/1.1\r\n', 400, '":80" has no host'],
    ['GET http://a.example:/ HTTP/1.1\r\n', 400, '"a.example:" has no valid port'],
    ['GET http://a.example:0/ HTTP/1.1\r\n', 400, 'has no valid port'],
    ['GET http://a.example:080/ HTTP/1.1\r\n', 400, 'has no valid port'],
    ['GET http://a.example:65536/ HTTP/1.1\r\n', 400, 'port 65536 of "a.example:65536" is outside 1–65535'],
    ['GET http://a.example:65616/ HTTP/1.1\r\n', 400, 'outside 1–65535'],
    ['GET http://a.example:4294967376/ HTTP/1.1\r\n', 400, 'has no valid port'],
    ['GET http://a.example:+80/ HTTP/1.1\r\n', 400, 'contains "+"'],
    ['GET http://a%2eexample/ HTTP/1.1\r\n', 400, 'contains "%"'],
    ['GET http://a.example,b.example/ HTTP/1.1\r\n', 400, 'contains ","'],
    ['GET http://a.example\\b/ HTTP/1.1\r\n', 400, 'contains "\\\\"'],
    ['GET http://[::1/ HTTP/1.1\r\n', 400, '"[::1" is not an IPv6 address in brackets'],
    ['GET http://[a.example]/ HTTP/1.1\r\n', 400, 'is not an IPv6 address in brackets'],
    ['GET http://[127.0.0.1]/ HTTP/1.1\r\n', 400, 'is not an IPv6 address in brackets'],
    ['GET http://[::1]x/ HTTP/1.1\r\n', 400, 'is not an IPv6 address in brackets'],
    ['GET http://[1:2:3]/ HTTP/1.1\r\n', 400, 'is not an IPv6 address in brackets'],
    ['GET http://[v1.fe80]/ HTTP/1.1\r\n', 400, 'is not an IPv6 address in brackets'],
    ['GET http://[fe80::1%25eth0]/ HTTP/1.1\r\n', 400, 'has a zone'],
    ['GET http://[::1]:99999/ HTTP/1.1\r\n', 400, 'outside 1–65535'],
    ['GET http://[::1]:/ HTTP/1.1\r\n', 400, '"[::1]:" has no valid port'],
    ['GET http://::1/ HTTP/1.1\r\n', 400, 'Hint: an IPv6 address stands in brackets'],
    ['CONNECT 2001:db8::1:443 HTTP/1.1\r\n', 400, 'Hint: an IPv6 address stands in brackets'],
    ['CONNECT [::1] HTTP/1.1\r\n', 400, 'the target "[::1]" has no port'],
    // Fields, refused with their line
    [`${GET}\r\n${HOST}\r\n X: folded\r\n`, 400, 'a header line is folded'],
    [`${GET}\r\n${HOST}\r\n\t`, 400, 'a header line is folded'],
    [`${GET}\r\n `, 400, 'a header line is folded'],
    [`${GET}\r\n${HOST}\nX: 1\r\n`, 400, 'a line ends in LF alone'],
    [`${GET}\r\n${HOST}\n`, 400, 'a line ends in LF alone'],
    [`${GET}\r\n${HOST}\r\n\n`, 400, 'a line ends in LF alone'],
    [`${GET}\r\n${HOST}\rX: 1\r\n`, 400, 'a CR stands alone'],
    [`${GET}\r\n${HOST}\r\r\n`, 400, 'a CR stands alone'],
    [`${GET}\r\n${HOST}\r\n\rX`, 400, 'a CR stands alone'],
    [`${GET}\r\nHost : a.example\r\n`, 400, 'white space before the colon of "Host "'],
    [`${GET}\r\nHost\t: a.example\r\n`, 400, 'white space before the colon of "Host\\t"'],
    [`${GET}\r\nHost a.example\r\n`, 400, 'the header line "Host a.example" has no colon'],
    [`${GET}\r\n: a.example\r\n`, 400, 'has no name'],
    [`${GET}\r\nHo st: a.example\r\n`, 400, '"Ho st" is not a field name'],
    [`${GET}\r\nH\xf6st: a.example\r\n`, 400, 'is not a field name'],
    [`${GET}\r\nHost\0: a.example\r\n`, 400, '"Host\\0" is not a field name'],
    [`${GET}\r\nX: a\0b\r\n`, 400, 'the value of "X" has a control character'],
    [`${GET}\r\nX: a\x7f\r\n`, 400, 'the value of "X" has a control character'],
    [`${GET}\r\nX: \x1b[2J\r\n`, 400, 'the value of "X" has a control character'],
    // Host
    [head(GET), 400, 'the request has no Host field'],
    [head(CONNECT), 400, 'the request has no Host field'],
    [head(GET, HOST, HOST), 400, 'more than one Host field'],
    [head(GET, HOST, 'host: b.example'), 400, 'more than one Host field'],
    [head('GET http://a.example/ HTTP/1.0', HOST, HOST), 400, 'more than one Host field'],
    [head(GET, 'Host:'), 400, 'the Host field is wrong: the target has no host'],
    [head(GET, 'Host: a.example, a.example'), 400, 'the Host field is wrong'],
    [head(GET, 'Host: http://a.example'), 400, 'the Host field is wrong'],
    [head(GET, 'Host: user@a.example'), 400, 'the Host field is wrong'],
    [head(GET, 'Host: b.example'), 400, 'the target is "a.example", but Host is "b.example"'],
    [head(GET, 'Host: a.example.'), 400, 'the target is "a.example", but Host is "a.example."'],
    [head(GET, 'Host: a.example:8080'), 400, 'but Host is'],
    [head('GET http://a.example:8080/ HTTP/1.1', HOST), 400, 'but Host is'],
    [head('GET http://a.example/ HTTP/1.0', 'Host: b.example'), 400, 'but Host is'],
    [head(CONNECT, 'Host: b.example:443'), 400, 'but Host is'],
    [head(CONNECT, 'Host: a.example:80'), 400, 'but Host is'],
    // Bodies
    [head(GET, HOST, 'Content-Length: 1', 'Content-Length: 1'), 400, 'more than one Content-Length field'],
    [head(GET, HOST, 'Content-Length: 1', 'content-length: 2'), 400, 'more than one Content-Length field'],
    [head(GET, HOST, 'Content-Length: 1, 1'), 400, 'Content-Length is "1, 1"'],
    [head(GET, HOST, 'Content-Length:'), 400, 'Content-Length is ""'],
    [head(GET, HOST, 'Content-Length: -1'), 400, 'Content-Length is "-1"'],
    [head(GET, HOST, 'Content-Length: +1'), 400, 'Content-Length is "+1"'],
    [head(GET, HOST, 'Content-Length: 0x1'), 400, 'Content-Length is'],
    [head(GET, HOST, 'Content-Length: 01'), 400, 'Content-Length is "01"'],
    [head(GET, HOST, 'Content-Length: 1e1'), 400, 'Content-Length is'],
    [head(GET, HOST, 'Content-Length: 1.0'), 400, 'Content-Length is'],
    [head(GET, HOST, 'Content-Length: 1 1'), 400, 'Content-Length is'],
    [head(GET, HOST, 'Content-Length: \xb2'), 400, 'Content-Length is'],
    [head(GET, HOST, 'Content-Length: 1\xa0'), 400, 'Content-Length is'],
    [head(GET, HOST, 'Content-Length: 1000000000000000'), 400, 'Content-Length is'],
    [head(GET, HOST, 'Content-Length: 18446744073709551617'), 400, 'Content-Length is'],
    [
      head(GET, HOST, 'Content-Length: 1', 'Transfer-Encoding: chunked'),
      400,
      'both Content-Length and Transfer-Encoding',
    ],
    [
      head(GET, HOST, 'Transfer-Encoding: chunked', 'Content-Length: 0'),
      400,
      'both Content-Length and Transfer-Encoding',
    ],
    [
      head(GET, HOST, 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'),
      400,
      'more than one Transfer-Encoding',
    ],
    [
      head(GET, HOST, 'Transfer-Encoding: chunked', 'transfer-encoding: identity'),
      400,
      'more than one Transfer-Encoding',
    ],
    [head(GET, HOST, 'Transfer-Encoding: identity'), 400, 'Transfer-Encoding is "identity"'],
    [head(GET, HOST, 'Transfer-Encoding: gzip, chunked'), 400, 'Transfer-Encoding is "gzip, chunked"'],
    [head(GET, HOST, 'Transfer-Encoding: chunked, chunked'), 400, 'Transfer-Encoding is'],
    [head(GET, HOST, 'Transfer-Encoding: chunked;a=b'), 400, 'Transfer-Encoding is'],
    [head(GET, HOST, 'Transfer-Encoding: xchunked'), 400, 'Transfer-Encoding is'],
    [head(GET, HOST, 'Transfer-Encoding: "chunked"'), 400, 'Transfer-Encoding is'],
    [head(GET, HOST, 'Transfer-Encoding:'), 400, 'Transfer-Encoding is ""'],
    [head(GET, HOST, 'Transfer-Encoding: \xa0chunked'), 400, 'Transfer-Encoding is'],
    [
      head('GET http://a.example/ HTTP/1.0', 'Transfer-Encoding: chunked'),
      400,
      'Transfer-Encoding in an HTTP/1.0 request',
    ],
    [head(CONNECT, HOST, 'Content-Length: 0'), 400, 'CONNECT with a body'],
    [head(CONNECT, HOST, 'Transfer-Encoding: chunked'), 400, 'CONNECT with a body'],
    // Connection
    [head(GET, HOST, 'Connection: Host'), 400, 'Connection names "host", which is for the other end'],
    [head(GET, HOST, 'Connection: close', 'connection: content-length'), 400, 'Connection names "content-length"'],
    [head(GET, HOST, 'Connection: x,Transfer-Encoding'), 400, 'Connection names "transfer-encoding"'],
    [head(CONNECT, HOST, 'Connection: host'), 400, 'Connection names "host"'],
    [head(GET, HOST, 'Connection: authorization'), 400, 'Connection names "authorization"'],
    [head(GET, HOST, 'Connection: a b'), 400, '"Connection: a b" lists "a b", which is not a token'],
    [head(GET, HOST, 'Connection: "close"'), 400, 'which is not a token'],
    [head(GET, HOST, 'Proxy-Connection: a;b'), 400, 'which is not a token'],
    [head(GET, HOST, `Connection: ${'x,'.repeat(32)}`), 400, 'lists more than 32 options'],
    // Sizes
    [head(GET, HOST, ...Array.from({ length: FIELD_LIMIT }, () => 'X: 1')), 431, 'more than 128 header fields'],
    [latin1(`${GET}\r\n${'X: 1\r\n'.repeat(FIELD_LIMIT + 1)}`), 431, 'more than 128 header fields'],
    [latin1(`${GET}\r\nX: ${'x'.repeat(HEAD_LIMIT)}`), 431, 'larger than 16384 bytes'],
    [latin1(`GET http://a.example/${'x'.repeat(HEAD_LIMIT)}`), 431, 'larger than 16384 bytes'],
    [headOf(HEAD_LIMIT + 1), 431, 'larger than 16384 bytes'],
  ];
  for (const [input, status, problem] of cases) {
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

/** A request whose head has this many bytes. */
function headOf(bytes: number): Buffer {
  const [before, after] = [`${GET}\r\n${HOST}\r\nX: `, '\r\n\r\n'];
  return latin1(before + 'x'.repeat(bytes - before.length - after.length) + after);
}

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

test('a head of exactly 16 KiB and one of 128 fields are read', () => {
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
      'Upgrade: websocket',
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
