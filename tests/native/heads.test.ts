/**
 * The plain heads that the data plane reads by itself, beside the parsers of the control plane: it reads nothing that they
 * refuse, and what it reads it reads, and writes, just as they do. `make test-native` runs it.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { suite, test } from 'node:test';
import { parseRequest } from '../../src/protocol/http-request.ts';
import { parseResponse } from '../../src/protocol/http-response.ts';
import { absoluteHead } from '../../src/protocol/proxy-request.ts';
import { readCorpus } from '../fuzz/corpus.ts';
import { mutate } from '../fuzz/mutation.ts';
import { TARGETS } from '../fuzz/targets.ts';
import { seeded } from '../random.ts';
import { head, latin1 } from '../unit/protocol/fixture.ts';
import { REFUSED_REQUESTS } from '../vectors/http-requests.ts';

const PROGRAM = new URL('../../build/native/asan/heads', import.meta.url).pathname;
const ROUNDS = 40_000;
const SEED = 7;

/** What the data plane makes of each; undefined where it is not plain. */
function readAll(kind: 'request' | 'response', inputs: readonly Uint8Array[]): readonly (string[] | undefined)[] {
  const framed = inputs.flatMap((input) => {
    const start = Buffer.alloc(5, kind === 'request' ? 'q' : 's');
    start.writeUInt32LE(input.length, 1);
    return [start, input];
  });
  const { status, stdout, stderr } = spawnSync(PROGRAM, { input: Buffer.concat(framed), maxBuffer: 2 ** 30 });
  assert.equal(status, 0, `${PROGRAM}: ${stderr}. Hint: make build/native/asan/heads`);
  const lines = stdout.toString('latin1').trimEnd().split('\n');
  assert.equal(lines.length, inputs.length);
  return lines.map((line) => (line === '-' ? undefined : line.split(' ')));
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const bit = (value: boolean) => (value ? '1' : '0');

function checkRequest(input: Uint8Array, read: readonly string[]): void {
  const request = parseRequest(input, { reuse: true });
  const shown = JSON.stringify(Buffer.from(input).toString('latin1'));
  assert.ok(request.kind === 'connect' || request.kind === 'forward', `${request.kind}: ${shown}`);
  const [kind, bytes, keepAlive, authority = '', origin, absolute] = read;
  assert.equal(Number(bytes), request.headBytes, shown);
  const [host, port = '80'] = Buffer.from(authority, 'hex').toString('latin1').split(':');
  assert.deepEqual([host, Number(port)], [request.host, request.port], shown);
  if (request.kind === 'connect') {
    assert.equal(kind, 'tunnel', shown);
    return;
  }
  assert.deepEqual(
    [kind, request.method, request.body, request.version],
    ['get', 'GET', { kind: 'none' }, '1.1'],
    shown,
  );
  assert.deepEqual([keepAlive, keepAlive], [bit(request.keepAlive), bit(request.persistent)], shown);
  assert.equal(origin, hex(request.head), shown);
  assert.equal(absolute, hex(absoluteHead(request, 'X-Own: 1\r\n')), shown);
}

function checkResponse(input: Uint8Array, read: readonly string[]): void {
  const shown = JSON.stringify(Buffer.from(input).toString('latin1'));
  const [status, bytes, keepAlive, framing, ...heads] = read;
  for (const [index, stays] of [true, false].entries()) {
    const response = parseResponse(input, { method: 'GET', keepAlive: stays, version: '1.1' });
    assert.ok(response.kind === 'final', `${response.kind}: ${shown}`);
    assert.equal(response.keepAlive, stays, shown);
    const { body } = response;
    assert.deepEqual(
      [status, bytes, keepAlive, framing, heads[index]],
      [
        String(response.status),
        String(response.headBytes),
        bit(response.serverStays),
        body.kind === 'length' ? String(body.bytes) : body.kind,
        hex(response.head),
      ],
      shown,
    );
  }
}

const GET = 'GET http://a.example/path?query HTTP/1.1';
const HOST = 'Host: a.example';

/** What usual clients send: were one of these not plain, they would be slow. */
const PLAIN_REQUESTS = [
  head(GET, HOST, 'User-Agent: curl/7.88.1', 'Accept: */*', 'Proxy-Connection: Keep-Alive'),
  head(GET, HOST, 'Accept-Encoding: gzip', 'Connection: keep-alive', 'Authorization: Basic eDp5', 'Cookie: a=b'),
  head(GET, 'Connection: close', 'Keep-Alive: 1', 'proxy-connection: close', 'X-Latin: \xe4'),
  head('GET http://10.0.0.1:8080/ HTTP/1.1', 'Host: 10.0.0.1:8080'),
  head('CONNECT a.example:443 HTTP/1.1', 'Host: a.example:443', 'User-Agent: x', 'Proxy-Connection: Keep-Alive'),
  head('CONNECT a.example:443 HTTP/1.0', 'Proxy-Authorization: Basic eDp5', 'Upgrade: x', 'TE: x', 'Expect: x'),
  Buffer.concat([head(GET), latin1('GET /smuggled HTTP/1.1\r\n\r\n')]),
];
const PLAIN_RESPONSES = [
  head('HTTP/1.1 200 OK', 'Server: nginx', 'Content-Length: 5', 'Connection: keep-alive', 'Keep-Alive: timeout=5'),
  head('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', 'Connection: close', 'Set-Cookie: a', 'Set-Cookie: b'),
  head('HTTP/1.1 404 ', 'content-length: 0'),
];

/** Each of these is for the control plane. */
const OTHER_REQUESTS = [
  head('POST http://a.example/ HTTP/1.1', HOST),
  head('HEAD http://a.example/ HTTP/1.1', HOST),
  head('GET http://a.example/ HTTP/1.0', HOST),
  head('GET http://a.example HTTP/1.1', HOST),
  head('GET http://a.example/#a HTTP/1.1', HOST),
  head('GET http://user@a.example/ HTTP/1.1', HOST),
  head('GET http://[::1]/ HTTP/1.1', HOST),
  head('GET http://a.example:/ HTTP/1.1', HOST),
  head('GET http://a.example:080/ HTTP/1.1', HOST),
  head('GET http://a.example:65536/ HTTP/1.1', HOST),
  head('GET ws://a.example/ HTTP/1.1', HOST),
  head('GET /dns-records?name=a HTTP/1.1', HOST),
  head('CONNECT a.example HTTP/1.1', HOST),
  head('CONNECT a.example:443 HTTP/1.1', 'Content-Length: 0'),
  head('CONNECT a.example:443 HTTP/1.1', 'Connection: Content-Length'),
  head('CONNECT a.example:443 HTTP/1.2', HOST),
  head(GET, HOST, HOST),
  head(GET, HOST, 'Content-Length: 0'),
  head(GET, HOST, 'Transfer-Encoding: chunked'),
  head(GET, HOST, 'Expect: 100-continue'),
  head(GET, HOST, 'Upgrade: h2c'),
  head(GET, HOST, 'TE: trailers'),
  head(GET, HOST, 'Trailer: X'),
  head(GET, HOST, 'Connection: X-Hop'),
  head(GET, HOST, 'Connection: close', 'Connection: close'),
  head(GET, HOST, 'Proxy-Authorization: Basic eDp5'),
  head(GET, HOST, ' folded: 1'),
  latin1(`\r\n${GET}\r\n\r\n`),
  head(GET, `X: ${'x'.repeat(4096)}`),
];
const OTHER_RESPONSES = [
  'HTTP/1.0 200 OK',
  'HTTP/1.1 200',
  'HTTP/1.1 100 Continue',
  'HTTP/1.1 101 Switching Protocols',
  'HTTP/1.1 204 No Content',
  'HTTP/1.1 304 Not Modified',
  'HTTP/1.1 407 Proxy Authentication Required',
  'HTTP/1.1 600 Odd',
]
  .map((line) => head(line, 'Content-Length: 0'))
  .concat([
    head('HTTP/1.1 200 OK'),
    head('HTTP/1.1 200 OK', 'Content-Length: 1', 'Content-Length: 1'),
    head('HTTP/1.1 200 OK', 'Content-Length: 1', 'Transfer-Encoding: chunked'),
    head('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', 'Content-Length: 1'),
    head('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'),
    head('HTTP/1.1 200 OK', 'Transfer-Encoding: gzip, chunked'),
    head('HTTP/1.1 200 OK', 'Content-Length: 01'),
    head('HTTP/1.1 200 OK', 'Content-Length: +1'),
    head('HTTP/1.1 200 OK', 'Content-Length: 1000000000000000'),
    head('HTTP/1.1 200 OK', 'Content-Length: 1', 'Connection: Upgrade', 'Upgrade: h2c'),
  ]);

const [REQUEST, RESPONSE] = TARGETS;
const KINDS = [
  {
    kind: 'request',
    check: checkRequest,
    target: REQUEST,
    plain: PLAIN_REQUESTS,
    others: [
      ...OTHER_REQUESTS,
      ...REFUSED_REQUESTS.map(([input]) => (typeof input === 'string' ? latin1(input) : input)),
    ],
  },
  { kind: 'response', check: checkResponse, target: RESPONSE, plain: PLAIN_RESPONSES, others: OTHER_RESPONSES },
] as const;

for (const { kind, check, target, plain, others } of KINDS) {
  suite(`a ${kind} head`, () => {
    test('that is plain is read with the same result as by the control plane', () => {
      for (const [index, read] of readAll(kind, plain).entries()) {
        assert.ok(read, JSON.stringify(plain[index]?.toString('latin1')));
        check(plain[index] ?? Buffer.alloc(0), read);
      }
    });

    test('that is not plain or not complete is left to the control plane', () => {
      const cut = plain.flatMap((input) =>
        Array.from({ length: input.indexOf('\r\n\r\n') + 3 }, (_, size) => input.subarray(0, size)),
      );
      const inputs = [...others, ...cut];
      for (const [index, read] of readAll(kind, inputs).entries()) {
        assert.equal(read, undefined, JSON.stringify(inputs[index]?.toString('latin1')));
      }
    });

    test('with random changes is read with the same result as by the control plane, or not read', () => {
      assert.ok(target);
      const random = seeded(SEED);
      const seeds = [...plain, ...target.seeds, ...readCorpus(kind)];
      const mutants = Array.from({ length: ROUNDS }, (_, round) => {
        const from = round % 2 === 0 ? plain : seeds;
        return mutate(from[round % from.length] ?? Buffer.alloc(0), random, seeds, target.fragments);
      });
      const inputs = [...seeds, ...mutants];
      let understood = 0;
      for (const [index, read] of readAll(kind, inputs).entries()) {
        if (read === undefined) continue;
        understood += 1;
        check(inputs[index] ?? Buffer.alloc(0), read);
      }
      assert.ok(understood > ROUNDS / 50, `${understood} of ${inputs.length} understood`);
    });
  });
}
