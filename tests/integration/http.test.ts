/** `route: http`: what each kind of failure is answered with, and what is passed on of requests and responses. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { reasonIn } from '../../src/protocol/http-reply.ts';
import { startDnsServer } from '../unit/dns/server.ts';
import { enterNamespace } from './namespace.ts';
import { ask, type RawServer, startRawServer } from './raw.ts';
import { type RunningServe, startServe } from './serve.ts';

const SERVER = '10.77.0.1';
const COVERED = '10.77.0.2';

enterNamespace(import.meta.filename, {
  servers: {
    [SERVER]: ['web.example.com'],
    [COVERED]: ['covered.example.com'],
    'fd77::6': ['six.example.com'],
  },
  // The kernel drops packets to itself with another address: this address never answers, not even with a refusal.
  commands: [`ip route add 10.78.0.0/24 dev lo src ${SERVER}`],
});

const PROXY = { host: '127.0.0.1', port: 3128 };
const CONFIG = `
allowlist:
- {address: "*.example.com", port: 1-1000}
- {address: 10.78.0.0/16, port: 80}
- {address: "${SERVER}", port: 80}
- {address: "0.0.0.0/0", port: 8080}
denylist:
- {address: ${COVERED}}
- {address: denied.example.com}
timeouts: {connect: 500ms}
listeners:
- {listen: "tcp:127.0.0.1:3128", route: http}
- {listen: "tcp:127.0.0.1:3129", route: http, ip_family: ipv4}
`;
const CLOSING_PORT = 81;
/** The most names that are resolved at the same time for clients without a CID. */
const NAMES_AT_ONCE = 32;
const RESPONSE = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

let proxy: RunningServe;
/** The names of queries that the DNS server leaves without an answer. */
const silent = new Set<string>();
const allAsked = Promise.withResolvers<void>();
let server: RawServer;
/** What the server answers to a whole head. */
const answer = RESPONSE;
const disposables: AsyncDisposable[] = [];

before(async () => {
  const dns = await startDnsServer(({ name, type }) => {
    if (name.startsWith('silent-')) {
      silent.add(name);
      if (silent.size === NAMES_AT_ONCE) allAsked.resolve();
      return 'silence';
    }
    if (name === 'broken.example.com') return { rcode: 'SERVFAIL' };
    if (name === 'metadata.example.com' && type === 'A') {
      return { records: [{ type: 'A', ttl: 60, data: '169.254.169.254' }] };
    }
    return { rcode: 'NXDOMAIN' };
  }, 53);
  disposables.push({ [Symbol.asyncDispose]: async () => dns.close() });
  server = await startRawServer(SERVER, 80, (socket, all) => {
    if (all.includes('\r\n\r\n')) socket.write(answer, 'latin1');
  });
  disposables.push(server);
  disposables.push(await startRawServer(SERVER, CLOSING_PORT, (socket) => socket.end()));
  proxy = await startServe(CONFIG);
  disposables.push(proxy);
});

after(async () => {
  for (const disposable of disposables.reverse()) await disposable[Symbol.asyncDispose]();
});

const get = (authority: string) => `GET http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n\r\n`;
const connect = (authority: string) => `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`;

describe('a refused request gets a status, the reason in one line, and Proxy-Status', () => {
  const cases: readonly (readonly [what: string, request: string, status: string, error: string, line: RegExp])[] = [
    [
      'a name that is denied',
      get('denied.example.com'),
      '403 Forbidden',
      'http_request_denied',
      /^denied\.example\.com:80 is not allowed by the policy/,
    ],
    [
      'a tunnel to a name that is denied',
      connect('denied.example.com:443'),
      '403 Forbidden',
      'http_request_denied',
      /^denied\.example\.com:443 is not allowed/,
    ],
    [
      'the same with a dot at its end, and in capitals',
      connect('DENIED.example.com.:443'),
      '403 Forbidden',
      'http_request_denied',
      /^denied\.example\.com:443 is not/,
    ],
    [
      'a name that is not listed',
      connect('example.com:443'),
      '403 Forbidden',
      'http_request_denied',
      /^example\.com:443 is not/,
    ],
    [
      'a port that is not listed',
      connect('web.example.com:1001'),
      '403 Forbidden',
      'http_request_denied',
      /^web\.example\.com:1001 is not/,
    ],
    [
      'an address that is not listed',
      connect('10.79.0.1:443'),
      '403 Forbidden',
      'http_request_denied',
      /^10\.79\.0\.1:443 is not/,
    ],
    [
      'an address that a range allows and another denies',
      connect(`${COVERED}:8080`),
      '403 Forbidden',
      'http_request_denied',
      /^10\.77\.0\.2:8080 is not/,
    ],
    [
      'the same, mapped into IPv6',
      connect(`[::ffff:${COVERED}]:8080`),
      '403 Forbidden',
      'http_request_denied',
      /^10\.77\.0\.2:8080 is not/,
    ],
    [
      'a number that stands for an address',
      connect('2130706433:8080'),
      '400 Bad Request',
      'http_request_error',
      /2130706433/,
    ],
    ['a short form of an address', connect('127.1:8080'), '400 Bad Request', 'http_request_error', /127\.1/],
    ['a hexadecimal form of an address', connect('0x7f.0.0.1:8080'), '400 Bad Request', 'http_request_error', /0x7f/],
    [
      'a name whose address is denied',
      get('covered.example.com'),
      '403 Forbidden',
      'destination_ip_prohibited',
      /^the addresses of covered\.example\.com:80 are not allowed/,
    ],
    [
      'a name with the address of the metadata service',
      get('metadata.example.com'),
      '403 Forbidden',
      'destination_ip_prohibited',
      /^the addresses of metadata\.example\.com:80 are not/,
    ],
    [
      'https:// in absolute form',
      'GET https://web.example.com/ HTTP/1.1\r\nHost: web.example.com\r\n\r\n',
      '400 Bad Request',
      'http_request_error',
      /"https:\/\/web\.example\.com\/" would go on unencrypted\. Hint: .*CONNECT host:443/,
    ],
    [
      'a path alone',
      'GET / HTTP/1.1\r\nHost: web.example.com\r\n\r\n',
      '400 Bad Request',
      'http_request_error',
      /"\/" names no server\. Hint: this is a proxy/,
    ],
    [
      'a tunnel without a port',
      connect('web.example.com'),
      '400 Bad Request',
      'http_request_error',
      /has no port\. Hint: write host:port/,
    ],
    ['TLS', '\x16\x03\x01\x02\x00\x01', '400 Bad Request', 'http_request_error', /that is TLS, not HTTP/],
    [
      'a head of 16 KiB and a byte',
      head(16 * 1024 + 1),
      '431 Request Header Fields Too Large',
      'http_request_error',
      /^the request head is larger than 16384 bytes/,
    ],
    [
      'TRACE',
      'TRACE http://web.example.com/ HTTP/1.1\r\nHost: web.example.com\r\n\r\n',
      '501 Not Implemented',
      'http_request_error',
      /TRACE/,
    ],
    [
      'HTTP/2 without a tunnel',
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
      '505 HTTP Version Not Supported',
      'http_request_error',
      /HTTP\/2\.0/,
    ],
    [
      'a name that does not exist',
      get('nowhere.example.com'),
      '502 Bad Gateway',
      'dns_error',
      /^the name of nowhere\.example\.com:80 could not be resolved \(ENOTFOUND\)/,
    ],
    [
      'a name whose DNS server fails',
      connect('broken.example.com:443'),
      '502 Bad Gateway',
      'dns_error',
      /\(ESERVFAIL\)/,
    ],
    [
      'a server that refuses',
      connect('web.example.com:443'),
      '502 Bad Gateway',
      'connection_refused',
      /^could not connect to web\.example\.com:443: ECONNREFUSED/,
    ],
    [
      'a server that refuses a request',
      get('web.example.com:82'),
      '502 Bad Gateway',
      'connection_refused',
      /^could not connect to web\.example\.com:82: ECONNREFUSED/,
    ],
    [
      'a server that ends without an answer',
      get(`web.example.com:${CLOSING_PORT}`),
      '502 Bad Gateway',
      'connection_terminated',
      /^web\.example\.com:81 ended the connection before it answered/,
    ],
    [
      'an address without a route',
      connect('11.0.0.1:8080'),
      '502 Bad Gateway',
      'destination_ip_unroutable',
      /ENETUNREACH/,
    ],
    [
      'a server that does not answer at all',
      connect('10.78.0.2:80'),
      '504 Gateway Timeout',
      'connection_timeout',
      /^could not connect to 10\.78\.0\.2:80/,
    ],
  ];
  for (const [what, request, status, error, line] of cases) {
    test(`${status}: ${what}`, { concurrency: true }, async () => {
      const told = parse(await ask(PROXY, request));
      const [phrase, reason = ''] = told.status.split(/: (.*)/);
      assert.equal(phrase, status);
      assert.match(told.body, /^[^\n]+\n$/);
      assert.match(told.reason, line);
      assert.equal(told.reason.slice(0, 200), reason.slice(0, 200));
      // Requests that are understood, and do not say what they accept.
      const isText = error === 'http_request_error';
      assert.equal(told.fields.get('content-type'), isText ? 'text/plain; charset=utf-8' : 'application/json');
      assert.equal(told.fields.get('content-length'), `${Buffer.byteLength(told.body, 'latin1')}`);
      assert.match(told.fields.get('proxy-status') ?? '', new RegExp(`^vsock-proxy; error=${error}; details="`));
      assert.equal(told.fields.get('connection'), 'close');
    });
  }

  test('502: a name with IPv6 addresses only, where only IPv4 is used', async () => {
    const told = parse(await ask({ ...PROXY, port: 3129 }, connect('[fd77::6]:443')));
    assert.match(told.status, /^403 /); // not listed at all
    assert.match(parse(await ask({ ...PROXY, port: 3129 }, connect('six.example.com:443'))).status, /^502 /);
  });

  test('504 Gateway Timeout for names without an answer from DNS, and 503 while too many of them are pending', async () => {
    const waiting = Array.from({ length: NAMES_AT_ONCE }, (_, index) =>
      ask(PROXY, connect(`silent-${index}.example.com:443`)),
    );
    await allAsked.promise;
    const refused = parse(await ask(PROXY, get('silent-more.example.com')));
    assert.match(refused.status, /^503 Service Unavailable: the name of silent-more/);
    assert.match(refused.fields.get('proxy-status') ?? '', /; error=connection_limit_reached; /);
    assert.match(
      refused.reason,
      /^the name of silent-more\.example\.com:80 could not be resolved: too many others are/,
    );
    for (const response of await Promise.all(waiting)) {
      const told = parse(response);
      assert.match(told.status, /^504 Gateway Timeout: the name of silent/);
      assert.match(told.fields.get('proxy-status') ?? '', /; error=dns_timeout; /);
      assert.match(told.reason, /^the name of silent-\d+\.example\.com:443 could not be resolved in time$/);
    }
  });

  test('no response has addresses or errors of the network behind the proxy', async () => {
    for (const request of [
      get('covered.example.com'),
      get('metadata.example.com'),
      connect('nowhere.example.com:443'),
    ]) {
      const told = await ask(PROXY, request);
      assert.doesNotMatch(told, /127\.0\.0\.1|169\.254|10\.77|config\.yaml/);
    }
  });

  test('a response to HEAD has no body', async () => {
    const told = await ask(PROXY, 'HEAD http://denied.example.com/ HTTP/1.1\r\nHost: denied.example.com\r\n\r\n');
    assert.match(told, /^HTTP\/1\.1 403 Forbidden: denied.*\r\n[\s\S]*\r\nContent-Length: \d\d\r\n[\s\S]*\r\n\r\n$/);
  });
});

/** A request whose head has so many bytes. */
function head(bytes: number): string {
  const [start, end] = ['GET http://web.example.com/ HTTP/1.1\r\nHost: web.example.com\r\nX: ', '\r\n\r\n'];
  return `${start}${'x'.repeat(bytes - start.length - end.length)}${end}`;
}

/** `reason`: what the body says, be it text or JSON. */
function parse(response: string): { status: string; fields: Map<string, string>; body: string; reason: string } {
  const [start = '', body = ''] = response.split(/\r\n\r\n([\s\S]*)/);
  const [line = '', ...fields] = start.split('\r\n');
  const status = /^HTTP\/1\.1 (.*)$/.exec(line)?.[1] ?? `no response: ${response}`;
  return {
    status,
    body,
    reason: reasonIn(body),
    fields: new Map(
      fields.map((field) => [field.split(':', 1)[0]?.toLowerCase() ?? '', field.replace(/^[^:]*: /, '')]),
    ),
  };
}
