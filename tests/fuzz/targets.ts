/** What the protocol parsers must do whatever they are given: one target for each, with what its inputs are made of. */
import assert from 'node:assert/strict';
import { isIPv6 } from 'node:net';
import type { Framing } from '../../src/protocol/framing.ts';
import { FIELD_LIMIT, HEAD_LIMIT, RESPONSE_HEAD_LIMIT } from '../../src/protocol/head.ts';
import { parseRequest } from '../../src/protocol/http-request.ts';
import { parseResponse } from '../../src/protocol/http-response.ts';
import { parseClientHello } from '../../src/protocol/tls-client-hello.ts';
import { assertPrintable, head, latin1 } from '../unit/protocol/fixture.ts';
import {
  clientHello,
  extension,
  intoRecords,
  record,
  serverName,
  withoutInessentials,
} from '../unit/protocol/hello.ts';

export interface Target {
  readonly name: string;
  readonly seeds: readonly Uint8Array[];
  readonly fragments: readonly Uint8Array[];
  /** Kinds of outcome that a fuzzer must reach, or it proves little. */
  readonly outcomes: readonly string[];
  /** Fails where the parser breaks a promise; else says which outcome it was. */
  check(bytes: Uint8Array): string;
}

const MARKS = [
  '\r\n',
  '\r\n\r\n',
  '\n',
  '\r',
  '\0',
  ' ',
  '\t',
  ':',
  ',',
  ';',
  '\r\n ',
  '\x0b',
  '\x7f',
  '\x85',
  '\xa0',
  '\xff',
];
const FIELDS = [
  ...['Content-Length: 5', 'Content-Length: 0', 'content-length:\t5 ', 'Content-Length: 05', 'Content-Length: 5, 5'],
  ...[
    'Transfer-Encoding: chunked',
    'transfer-encoding:Chunked',
    'Transfer-Encoding: gzip, chunked',
    'Transfer-Encoding : chunked',
  ],
  ...['Connection: close', 'Connection: keep-alive, X-Hop', 'Connection: content-length', 'Connection:,', 'X-Hop: 1'],
  ...[
    'Keep-Alive: 5',
    'TE: trailers',
    'Trailer: X',
    'Upgrade: h2c',
    'Upgrade: websocket',
    'Connection: upgrade, transfer-encoding',
    'Via: 1.1 x',
    'Expect: 100-continue',
    'Cookie: \xff\t;',
  ],
  ...[
    'Proxy-Connection: close',
    'Proxy-Authorization: Basic x',
    'Max-Forwards: 0',
    'Host: a.example',
    'Host: b.example:81',
  ],
].map((field) => `\r\n${field}`);

const REQUEST: Target = {
  name: 'request',
  seeds: [
    head('CONNECT a.example:443 HTTP/1.1', 'Host: a.example:443'),
    head('CONNECT [2001:db8::1]:443 HTTP/1.0'),
    head('GET http://a.example/x?y HTTP/1.1', 'Host: a.example', 'Accept: */*', 'Connection: X-Hop', 'X-Hop: 1'),
    head(
      'POST http://a.example:81 HTTP/1.1',
      'Host: a.example:81',
      'Transfer-Encoding: chunked',
      'Proxy-Connection: close',
    ),
    head('PUT http://[::1]/ HTTP/1.1', 'Host: [::1]', 'Content-Length: 5', 'Expect: 100-continue'),
    head('OPTIONS http://a.example HTTP/1.0', 'Content-Length: 0'),
    head('GET ws://u@a.example/\xc3\xa4#f HTTP/1.1', 'Connection: Upgrade', 'Upgrade: websocket'),
    clientHello(),
  ],
  fragments: [
    ...[
      ...MARKS,
      ...FIELDS,
      'ws://',
      '::1:443',
      'http://',
      'https://',
      '//',
      '/',
      '@',
      '#',
      '?',
      '*',
      '%00',
      '[::1]',
      '[',
      ']',
      '127.0.0.1',
    ],
    ...[
      'CONNECT ',
      'GET ',
      'TRACE ',
      'OPTIONS ',
      ' HTTP/1.1',
      ' HTTP/1.0',
      ' HTTP/2.0',
      ':443',
      ':65536',
      ':0',
      'a.example',
    ],
    `\r\nX: ${'x'.repeat(HEAD_LIMIT)}`,
    '\r\nX: 1'.repeat(260),
  ].map(latin1),
  outcomes: ['more', 'malformed 400', 'malformed 431', 'malformed 501', 'malformed 505', 'connect', 'forward'],
  check(bytes) {
    const request = parseRequest(bytes);
    checkCuts(parseRequest, bytes, request);
    if (request.kind === 'malformed') {
      assertPrintable(request.problem);
      return `malformed ${request.status}`;
    }
    if (request.kind === 'more') return 'more';
    assert.ok(request.headBytes <= bytes.length && request.headBytes <= HEAD_LIMIT);
    assert.ok(Number.isInteger(request.port) && request.port >= 1 && request.port <= 65535);
    assert.ok(request.host.includes(':') ? isIPv6(request.host) : /^[\w.-]+$/.test(request.host), request.host);
    if (request.kind === 'forward') {
      const lines = linesOf(request.head);
      assert.match(
        lines[0] ?? '',
        new RegExp(`^${request.method} (?:\\*|/[!-~\\x80-\\xff]*) HTTP/${request.version.replace('.', '\\.')}$`),
      );
      assert.equal(named(lines, 'host').length, 1);
      assert.deepEqual(named(lines, 'connection'), [request.webSocket ? 'Upgrade' : 'close']);
      assert.ok(!request.webSocket || request.body.kind === 'none');
      checkOneHop(lines, request.body, request.webSocket, bytes.subarray(0, request.headBytes));
    }
    return request.kind;
  },
};

const ASKED = { method: 'GET', keepAlive: true, version: '1.1' } as const;

const RESPONSE: Target = {
  name: 'response',
  seeds: [
    head('HTTP/1.1 200 OK', 'Content-Length: 5', 'Content-Type: text/plain', 'Connection: keep-alive'),
    head('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', 'Set-Cookie: a=b', 'Set-Cookie: c=d'),
    head('HTTP/1.0 302 Found', 'Location: /', 'Connection: X-Hop', 'X-Hop: 1'),
    head('HTTP/1.1 204'),
    head('HTTP/1.1 304 Not Modified', 'Content-Length: 5'),
    Buffer.concat([head('HTTP/1.1 103 Early Hints', 'Link: </a>'), head('HTTP/1.1 500 Oh', 'Content-Length: 0')]),
  ],
  fragments: [
    ...[
      ...MARKS,
      ...FIELDS,
      'HTTP/1.1 ',
      'HTTP/1.0 ',
      'HTTP/2 ',
      '100',
      '101',
      '204',
      '304',
      '407',
      '599',
      '600',
      ' OK',
    ],
    `\r\nX: ${'x'.repeat(RESPONSE_HEAD_LIMIT)}`,
    '\r\nX: 1'.repeat(260),
  ].map(latin1),
  outcomes: ['more', 'malformed', 'interim', 'final'],
  check(bytes) {
    const response = parseResponse(bytes, ASKED);
    checkCuts((prefix) => parseResponse(prefix, ASKED), bytes, response);
    for (const method of ['HEAD', 'GET']) {
      const other = parseResponse(bytes, { method, keepAlive: false, version: '1.0' });
      assert.ok(other.kind === response.kind || other.kind === 'malformed');
      if (other.kind === 'final') assert.ok(!other.keepAlive && other.body.kind !== 'chunked');
    }
    if (response.kind === 'malformed') assertPrintable(response.problem);
    if (response.kind === 'interim' || response.kind === 'final') {
      assert.ok(response.headBytes <= bytes.length && response.headBytes <= RESPONSE_HEAD_LIMIT);
      const lines = linesOf(response.head);
      assert.match(lines[0] ?? '', /^HTTP\/1\.1 [1-5]\d\d [\t -~\x80-\xff]*$/);
      const body = response.kind === 'final' ? response.body : ({ kind: 'none' } as const);
      checkOneHop(lines, body, false, bytes.subarray(0, response.headBytes));
      if (response.kind === 'final') {
        assert.deepEqual(named(lines, 'connection'), [response.keepAlive ? 'keep-alive' : 'close']);
        assert.ok(!response.keepAlive || body.kind !== 'eof');
        // What goes on reads the same once more, if `Via` has not made it too large.
        if (response.head.length <= RESPONSE_HEAD_LIMIT && lines.length <= FIELD_LIMIT + 1) {
          const again = parseResponse(response.head, ASKED);
          assert.ok(again.kind === 'final');
          assert.deepEqual(again.body, response.body);
        }
      }
    }
    return response.kind;
  },
};

const HELLO: Target = {
  name: 'client-hello',
  seeds: [
    clientHello(),
    clientHello({ extensions: [] }),
    clientHello({ extensions: 'none' }),
    clientHello({
      version: 0x0301,
      extensions: [serverName('192.0.2.1'), extension(16, Buffer.from([0, 3, 2, 0x68, 0x32]))],
    }),
    clientHello({
      extensions: [extension(0x0a0a), extension(51, Buffer.alloc(1216)), serverName('b.example'), extension(0xfe0d)],
    }),
    intoRecords(clientHello(), 60),
    intoRecords(clientHello(), 3),
    head('GET http://a.example/ HTTP/1.1', 'Host: a.example'),
  ],
  fragments: [
    serverName('a.example'),
    serverName('a.example', 'b.example'),
    serverName('\0'),
    extension(0),
    extension(0x2a2a, Buffer.from([0])),
    record(22, Buffer.from([1])),
    record(23, Buffer.alloc(3)),
    ...['0000', '0001', '00ff', 'ffff', '1603010005', '16030100', '16', '01', '00000a', '0303', '4000', '4001'].map(
      (hex) => Buffer.from(hex, 'hex'),
    ),
    Buffer.alloc(HEAD_LIMIT, 1),
  ],
  outcomes: ['more', 'malformed', 'no-name', 'name'],
  check(bytes) {
    const hello = parseClientHello(bytes);
    checkCuts(parseClientHello, bytes, hello);
    if (hello.kind === 'malformed' || hello.kind === 'no-name') assertPrintable(hello.problem);
    if (hello.kind === 'name') {
      assert.match(hello.name, /^[\w.-]{1,253}$/);
      assert.deepEqual(parseClientHello(withoutInessentials(bytes)), hello);
    }
    if (hello.kind === 'more') assert.ok(hello.atLeast > bytes.length && hello.atLeast <= HEAD_LIMIT);
    return hello.kind;
  },
};

export const TARGETS: readonly Target[] = [REQUEST, RESPONSE, HELLO];

/** What a prefix gives is "more" before the verdict, a refusal before a refusal, and the verdict from its last byte on. */
function checkCuts<T extends { readonly kind: string }>(
  parse: (bytes: Uint8Array) => T,
  bytes: Uint8Array,
  whole: T,
): void {
  for (const length of [1, 5, 9, bytes.length >> 1, bytes.length - 2, bytes.length - 1]) {
    if (length < 0 || length >= bytes.length) continue;
    const part = parse(Uint8Array.from(bytes.subarray(0, length)));
    if (whole.kind === 'malformed')
      assert.ok(part.kind === 'more' || part.kind === 'malformed', `${part.kind} at ${length}`);
    else if (part.kind !== 'more') assert.deepEqual(part, whole, `at ${length}`);
  }
}

/** The lines of a head that goes on; nothing but CRLF ends one, and the head ends once. */
function linesOf(bytes: Buffer): readonly string[] {
  const text = bytes.toString('latin1');
  assert.match(text, /^(?:[\t -~\x80-\xff]+\r\n)+\r\n$/);
  return text.slice(0, -4).split('\r\n');
}

/** The values of the fields of this name. */
function named(lines: readonly string[], name: string): readonly string[] {
  return lines.slice(1).flatMap((line) => {
    const [, found = '', value = ''] = /^([^:]*):[\t ]*(.*?)[\t ]*$/.exec(line) ?? [];
    return found.toLowerCase() === name ? [value] : [];
  });
}

/** No field that was for the other connection; a length or coding only as the framing has it; the rest as it came. */
function checkOneHop(lines: readonly string[], body: Framing, webSocket: boolean, from: Uint8Array): void {
  assert.deepEqual(named(lines, 'upgrade'), webSocket ? ['websocket'] : []);
  for (const name of ['keep-alive', 'te', 'proxy-connection', 'proxy-authenticate', 'proxy-authorization']) {
    assert.deepEqual(named(lines, name), [], name);
  }
  assert.deepEqual(named(lines, 'transfer-encoding'), body.kind === 'chunked' ? ['chunked'] : []);
  const lengths = named(lines, 'content-length');
  if (body.kind === 'length') assert.deepEqual(lengths, [String(body.bytes)]);
  else if (body.kind !== 'none') assert.deepEqual(lengths, []);

  const came = Buffer.from(from).toString('latin1').split('\r\n');
  let next = 0;
  for (const line of lines.slice(1)) {
    if (/^(?:Host|Via|Connection|Upgrade|Transfer-Encoding): /.test(line) && !came.includes(line, next)) continue;
    const index = came.indexOf(line, next);
    assert.ok(index >= 0, line);
    next = index + 1;
  }
}
