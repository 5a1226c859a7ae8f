import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { FIELD_LIMIT, RESPONSE_HEAD_LIMIT } from '../../../src/protocol/head.ts';
import { type Asked, type FinalResponse, parseResponse } from '../../../src/protocol/http-response.ts';
import { assertPrintable, head, latin1, parseEachPrefix } from './fixture.ts';

const ASKED: Asked = { method: 'GET', keepAlive: true, version: '1.1' };
const OLD_CLIENT: Asked = { method: 'GET', keepAlive: false, version: '1.0' };
const UPGRADING: Asked = { method: 'GET', keepAlive: false, version: '1.1', webSocket: true };
const OK = 'HTTP/1.1 200 OK';
const SWITCHING = 'HTTP/1.1 101 Switching Protocols';
const TO_WEB_SOCKET = ['upgrade: WebSocket', 'Connection: Upgrade'];

function final(asked: Asked, ...lines: readonly string[]): FinalResponse & { readonly text: string } {
  const response = parseEachPrefix((bytes) => parseResponse(bytes, asked), head(...lines));
  assert(response.kind === 'final', JSON.stringify(response));
  return { ...response, text: response.head.toString('latin1') };
}

suite('response refused', () => {
  const cases: readonly (readonly [input: string | Buffer, problem: string, asked?: Asked])[] = [
    // Not HTTP/1.1, known by the first byte that differs
    ['S', 'the server\'s "S" is not an HTTP/1.1 status line'],
    ['SSH-2.0-OpenSSH_9.6\r\n', 'is not an HTTP/1.1 status line'],
    ['\x15\x03\x01', 'is not an HTTP/1.1 status line'],
    ['<html>', 'is not an HTTP/1.1 status line'],
    ['HTTP/2', 'is not an HTTP/1.1 status line'],
    ['ICY 200 OK\r\n', 'is not an HTTP/1.1 status line'],
    ['http/1.1 200 OK\r\n', 'is not an HTTP/1.1 status line'],
    [' HTTP/1.1 200 OK\r\n', 'is not an HTTP/1.1 status line'],
    ['\r\nHTTP/1.1 200 OK\r\n', 'is not an HTTP/1.1 status line'],
    ['HTTP/1.2 200 OK\r\n', 'is not an HTTP/1.1 status line'],
    ['HTTP/1.1  200 OK\r\n', 'is not an HTTP/1.1 status line'],
    ['HTTP/1.1 20 OK\r\n', 'is not an HTTP/1.1 status line'],
    ['HTTP/1.1 2000 OK\r\n', 'is not an HTTP/1.1 status line'],
    ['HTTP/1.1 099 OK\r\n', 'is not an HTTP/1.1 status line'],
    ['HTTP/1.1 600 OK\r\n', 'is not an HTTP/1.1 status line'],
    ['HTTP/1.1 +20 OK\r\n', 'is not an HTTP/1.1 status line'],
    ['HTTP/1.1 200OK\r\n', 'is not an HTTP/1.1 status line'],
    ['HTTP/1.1 200 O\0K\r\n', 'is not an HTTP/1.1 status line'],
    ['HTTP/1.1 200 OK\n', 'a line ends in LF alone'],
    ['HTTP/1.1 200 OK\nContent-Length: 0\n\n', 'a line ends in LF alone'],
    ['HTTP/1.1 200 OK\rX', 'a CR stands alone'],
    ['HTTP/1.1 200 OK\r\r\n', 'a CR stands alone'],
    // Fields
    [`${OK}\r\nX: a\r\n b\r\n`, 'a header line is folded'],
    [`${OK}\r\n X: a\r\n`, 'a header line is folded'],
    [`${OK}\r\nX: a\nY: b\r\n`, 'a line ends in LF alone'],
    [`${OK}\r\nX: a\rY: b\r\n`, 'a CR stands alone'],
    [`${OK}\r\nX: a\0\r\n`, 'the value of "X" has a control character'],
    [`${OK}\r\nContent-Length : 5\r\n`, 'white space before the colon'],
    [`${OK}\r\nX\r\n`, 'has no colon'],
    [head(OK, ...Array.from({ length: FIELD_LIMIT + 1 }, () => 'X: 1')), 'more than 256 header fields'],
    [latin1(`${OK}\r\nX: ${'x'.repeat(RESPONSE_HEAD_LIMIT)}`), 'larger than 65536 bytes'],
    [latin1(`${OK} ${'x'.repeat(RESPONSE_HEAD_LIMIT)}`), 'larger than 65536 bytes'],
    // Where the body ends
    [head(OK, 'Content-Length: 5', 'Content-Length: 5'), 'more than one Content-Length field'],
    [head(OK, 'Content-Length: 5', 'Content-Length: 6'), 'more than one Content-Length field'],
    [head(OK, 'Content-Length: 5, 5'), 'Content-Length is "5, 5"'],
    [head(OK, 'Content-Length: -5'), 'Content-Length is "-5"'],
    [head(OK, 'Content-Length: 5;'), 'Content-Length is "5;"'],
    [head(OK, 'Content-Length: 5', 'Transfer-Encoding: chunked'), 'both Content-Length and Transfer-Encoding'],
    [head(OK, 'Transfer-Encoding: gzip, chunked'), 'Transfer-Encoding is "gzip, chunked"'],
    [head(OK, 'Transfer-Encoding: identity'), 'Transfer-Encoding is "identity"'],
    [head(OK, 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'), 'more than one Transfer-Encoding field'],
    [head(OK, 'Transfer-Encoding: chunked\x0b'), 'has a control character'],
    [head('HTTP/1.0 200 OK', 'Transfer-Encoding: chunked'), 'Transfer-Encoding in an HTTP/1.0 response'],
    [head('HTTP/1.1 204 No Content', 'Content-Length: 5'), 'a body for status 204, which has none'],
    [head('HTTP/1.1 204 No Content', 'Transfer-Encoding: chunked'), 'a body for status 204, which has none'],
    [head('HTTP/1.1 100 Continue', 'Content-Length: 5'), 'a body for status 100, which has none'],
    [head('HTTP/1.1 103 Early Hints', 'Transfer-Encoding: chunked'), 'a body for status 103, which has none'],
    [head(OK, 'Transfer-Encoding: chunked'), 'which a client of HTTP/1.0 cannot read', OLD_CLIENT],
    // What only this connection's other end may say
    [head('HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: upgrade'), 'switches protocols (101)'],
    [head('HTTP/1.1 101 Switching Protocols', 'Upgrade: h2c', 'Connection: upgrade'), 'switches protocols', UPGRADING],
    [head('HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket'), 'switches protocols (101)', UPGRADING],
    [head('HTTP/1.1 101 Switching Protocols', 'Connection: upgrade'), 'switches protocols (101)', UPGRADING],
    [head(SWITCHING, ...TO_WEB_SOCKET, 'Upgrade: h2c'), 'switches protocols (101)', UPGRADING],
    [head(SWITCHING, ...TO_WEB_SOCKET, 'Transfer-Encoding: chunked'), 'a body for status 101', UPGRADING],
    [head('HTTP/1.1 407 Proxy Authentication Required', 'Proxy-Authenticate: Basic'), 'answers 407'],
    [head(OK, 'Connection: Content-Length', 'Content-Length: 5'), 'Connection names "content-length"'],
    [head(OK, 'Connection: set-cookie'), 'Connection names "set-cookie"'],
    [head(OK, 'Connection: a/b'), 'which is not a token'],
  ];
  for (const [input, problem, asked = ASKED] of cases) {
    const bytes = typeof input === 'string' ? latin1(input) : input;
    test(`${problem}: ${JSON.stringify(bytes.toString('latin1').slice(0, 100))}`, () => {
      const response = parseEachPrefix((prefix) => parseResponse(prefix, asked), bytes);
      assert(response.kind === 'malformed', JSON.stringify(response));
      assert.ok(response.problem.includes(problem), response.problem);
      assertPrintable(response.problem);
    });
  }
});

test('a response in progress waits for more', () => {
  for (const text of ['', 'H', 'HTTP/1.', 'HTTP/1.1 200 O', `${OK}\r`, `${OK}\r\n`, `${OK}\r\nX: 1\r\n\r`]) {
    assert.deepEqual(parseResponse(latin1(text), ASKED), { kind: 'more' }, JSON.stringify(text));
  }
});

suite('interim response', () => {
  test('goes on without what was for this connection, and the next response follows it', () => {
    const bytes = Buffer.concat([
      head('HTTP/1.1 103 Early Hints', 'Link: </a>', 'Connection: x-hop', 'X-Hop: 1', 'Content-Length: 0'),
      head(OK, 'Content-Length: 0'),
    ]);
    const interim = parseEachPrefix((prefix) => parseResponse(prefix, ASKED), bytes);
    assert(interim.kind === 'interim');
    assert.equal(interim.head.toString(), 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nVia: 1.1 vsock-proxy\r\n\r\n');
    assert.equal(parseResponse(bytes.subarray(interim.headBytes), ASKED).kind, 'final');
  });

  test('is kept from a client of HTTP/1.0, which would take it for the final one', () => {
    const interim = parseResponse(head('HTTP/1.1 100 Continue'), OLD_CLIENT);
    assert(interim.kind === 'interim');
    assert.deepEqual([interim.headBytes, interim.head.length], [25, 0]);
  });
});

suite('response to a client that asks for a WebSocket', () => {
  test('101 is passed on, and what follows belongs to the tunnel', () => {
    const bytes = Buffer.concat([
      head(SWITCHING, ...TO_WEB_SOCKET, 'Sec-WebSocket-Accept: x'),
      latin1('\x81\x05hello'),
    ]);
    const response = parseEachPrefix((prefix) => parseResponse(prefix, UPGRADING), bytes);
    assert(response.kind === 'switched');
    assert.equal(bytes.subarray(response.headBytes).toString('latin1'), '\x81\x05hello');
    assert.equal(
      response.head.toString(),
      `${SWITCHING}\r\nSec-WebSocket-Accept: x\r\nVia: 1.1 vsock-proxy\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`,
    );
  });

  test('anything else is a response like any other, and the last', () => {
    const { status, body, keepAlive } = final(UPGRADING, 'HTTP/1.1 426 Upgrade Required', 'Content-Length: 5');
    assert.deepEqual(
      { status, body, keepAlive },
      { status: 426, body: { kind: 'length', bytes: 5 }, keepAlive: false },
    );
  });
});

suite('final response', () => {
  test("goes on in the proxy's version, byte for byte but for what was for this connection", () => {
    const { text, status } = final(
      ASKED,
      'HTTP/1.1 404 Nicht gefunden \xfc\t',
      'Date: Thu, 01 Jan 2026 00:00:00 GMT',
      'Connection: keep-alive, X-Hop',
      'Keep-Alive: timeout=5',
      'X-Hop: 1',
      'Proxy-Authenticate: Basic',
      'Proxy-Connection: keep-alive',
      'Upgrade: h2',
      'Set-Cookie:  a=b ',
      'set-cookie: c=\xff',
      'Via: 1.1 cdn',
      'Trailer: X-Sum',
      'Transfer-Encoding: chunked',
    );
    assert.equal(status, 404);
    assert.equal(
      text,
      'HTTP/1.1 404 Nicht gefunden \xfc\t\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nSet-Cookie:  a=b \r\nset-cookie: c=\xff\r\n' +
        'Via: 1.1 cdn\r\nTrailer: X-Sum\r\nVia: 1.1 vsock-proxy\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n',
    );
  });

  const CLOSING: Asked = { ...ASKED, keepAlive: false };
  const HEAD: Asked = { ...ASKED, method: 'HEAD' };
  for (const [lines, asked, body, keepAlive] of [
    [[OK, 'Content-Length: 5'], ASKED, { kind: 'length', bytes: 5 }, true],
    [[OK, 'Content-Length: 0'], ASKED, { kind: 'length', bytes: 0 }, true],
    [[OK, 'Transfer-Encoding: chunked'], ASKED, { kind: 'chunked' }, true],
    [[OK, 'Transfer-Encoding: chunked', 'Connection: Transfer-Encoding'], ASKED, { kind: 'chunked' }, true],
    [
      [OK, 'Connection: close, transfer-encoding,TRAILER', 'Transfer-Encoding: chunked'],
      ASKED,
      { kind: 'chunked' },
      true,
    ],
    [
      [OK, 'Connection: Upgrade, TE, Keep-Alive, Trailer', 'Content-Length: 5'],
      ASKED,
      { kind: 'length', bytes: 5 },
      true,
    ],
    [[OK, 'Content-Length: 5', 'Connection: close'], ASKED, { kind: 'length', bytes: 5 }, true],
    [['HTTP/1.1 204 No Content'], ASKED, { kind: 'none' }, true],
    [['HTTP/1.1 204 No Content', 'Content-Length: 0'], ASKED, { kind: 'none' }, true],
    [['HTTP/1.1 304 Not Modified', 'Content-Length: 5'], ASKED, { kind: 'none' }, true],
    [['HTTP/1.1 304 Not Modified', 'Transfer-Encoding: chunked'], ASKED, { kind: 'none' }, true],
    [[OK, 'Content-Length: 5'], HEAD, { kind: 'none' }, true],
    [[OK, 'Transfer-Encoding: chunked'], HEAD, { kind: 'none' }, true],
    [[OK], HEAD, { kind: 'none' }, true],
    [['HTTP/1.1 500 Oh', 'Content-Length: 5'], ASKED, { kind: 'length', bytes: 5 }, true],
    // Whoever could disagree about its end gets a connection that ends with it.
    [[OK], ASKED, { kind: 'eof' }, false],
    [['HTTP/1.1 205 Reset Content'], ASKED, { kind: 'eof' }, false],
    [['HTTP/1.0 200 OK'], ASKED, { kind: 'eof' }, false],
    [['HTTP/1.0 200 OK', 'Content-Length: 5', 'Connection: keep-alive'], ASKED, { kind: 'length', bytes: 5 }, false],
    [['HTTP/1.0 304 Not Modified'], ASKED, { kind: 'none' }, false],
    [[OK, 'Content-Length: 5'], CLOSING, { kind: 'length', bytes: 5 }, false],
    [[OK, 'Content-Length: 5'], OLD_CLIENT, { kind: 'length', bytes: 5 }, false],
    [[OK, 'Content-Length: 5'], { ...OLD_CLIENT, keepAlive: true }, { kind: 'length', bytes: 5 }, false],
    [['HTTP/1.1 200'], ASKED, { kind: 'eof' }, false],
  ] as const) {
    const client = asked === ASKED ? '' : ` for ${JSON.stringify(asked)}`;
    test(`${lines.join(' · ')}${client}: body ${JSON.stringify(body)}, then ${keepAlive ? 'the next' : 'the end'}`, () => {
      const response = final(asked, ...lines);
      assert.deepEqual(response.body, body);
      assert.equal(response.keepAlive, keepAlive);
      assert.deepEqual(response.text.match(/^connection: .*$/gim), [
        `Connection: ${keepAlive ? 'keep-alive' : 'close'}`,
      ]);
      assert.match(response.text, /^HTTP\/1\.1 \d{3} .*\r\n/);
      assert.match(response.text, new RegExp(`^Via: ${lines[0].slice(5, 8)} vsock-proxy\r$`, 'm'));
      assert.equal(/^transfer-encoding: chunked\r$/im.test(response.text), body.kind === 'chunked');
      const announced = lines.some((line) => line.startsWith('Content-Length')) && !lines[0].includes('204');
      assert.equal(/^content-length: \d+\r$/im.test(response.text), announced);
    });
  }

  test('a head of exactly 64 KiB is read, and what follows is left alone', () => {
    const [before, after] = [`${OK}\r\nContent-Length: 3\r\nX: `, '\r\n\r\n'];
    const text = before + 'x'.repeat(RESPONSE_HEAD_LIMIT - before.length - after.length) + after;
    const response = parseResponse(latin1(`${text}abc`), ASKED);
    assert(response.kind === 'final');
    assert.equal(response.headBytes, RESPONSE_HEAD_LIMIT);
  });
});
