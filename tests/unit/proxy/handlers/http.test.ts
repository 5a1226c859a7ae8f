import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Rule } from '../../../../src/access/rules.ts';
import { reasonIn } from '../../../../src/protocol/http-reply.ts';
import type { FakeEnd } from '../../../dataplane/network.ts';
import { settle } from '../fixture.ts';
import { CLIENT, listener, NAME, ON, type ProxyOptions, SERVER, setUpProxy } from '../running.ts';

const CONNECT = `CONNECT ${NAME}:443 HTTP/1.1\r\nHost: ${NAME}:443\r\n\r\n`;
const ESTABLISHED = 'HTTP/1.1 200 Connection established\r\n\r\n';
const GET = `GET http://${NAME}/page HTTP/1.1\r\nHost: ${NAME}\r\n\r\n`;
const ORIGIN_GET = `GET /page HTTP/1.1\r\nHost: ${NAME}\r\nVia: 1.1 vsock-proxy\r\nConnection: close\r\n\r\n`;

async function setUp(changes: Parameters<typeof listener>[0] = {}, options: ProxyOptions = {}) {
  const proxy = setUpProxy([listener(changes)], { names: { [NAME]: ['10.0.0.7'] }, ...options });
  const running = await proxy.start();
  proxy.logged.take();
  /** Sends a request, as this client. */
  const request = async (text: string, from = CLIENT): Promise<FakeEnd> => {
    const client = await proxy.net.connect(ON, from);
    client.write(text);
    await settled();
    return client;
  };
  return { ...proxy, running, request };
}

/** The network, the resolver and the data plane have done what they can without time. */
async function settled(): Promise<void> {
  for (let i = 0; i < 5; i += 1) await settle();
}

function parseReply(client: FakeEnd) {
  const [head = '', body] = client.received.split('\r\n\r\n');
  const [, status] = /^HTTP\/1\.1 (\d+) /.exec(head) ?? [];
  const [, error] = /\r\nProxy-Status: vsock-proxy; error=(\w+); details=".*"\r\n/.exec(head) ?? [];
  return { status: Number(status), error, body: body && `${reasonIn(body)}\n` };
}

describe('a request that is refused', () => {
  const cases: readonly {
    readonly what: string;
    readonly text?: string;
    readonly changes?: Parameters<typeof listener>[0];
    readonly names?: Record<string, readonly string[] | string>;
    readonly reply: readonly [status: number, error: string, body: RegExp];
    readonly log: RegExp;
    readonly queries?: number;
  }[] = [
    {
      what: 'because no rule allows the target: 403, and nothing is resolved',
      changes: { allow: ['other.example 443'] },
      reply: [403, 'http_request_denied', /^api\.example\.com:443 is not allowed by the policy of this proxy\n$/],
      log: /WARN Client on cid: 16 port: 5005: The given address and port are not allowed: no entry of the allowlist matches api\.example\.com on port 443 .*Hint: if it is to be reached, add this line/,
      queries: 0,
    },
    {
      what: 'because a rule denies it: 403, without a word of the rule',
      changes: { allow: ['**.example.com'], deny: [NAME] },
      reply: [403, 'http_request_denied', /^api\.example\.com:443 is not allowed by the policy of this proxy\n$/],
      log: /is denied by api\.example\.com \(deny\.yaml:2\)/,
      queries: 0,
    },
    {
      what: 'because its rule is for other clients: 403',
      changes: { allow: [`${NAME} 443 17`] },
      reply: [403, 'http_request_denied', /^api\.example\.com:443 is not allowed/],
      log: /is listed for CID 17 \(allow\.yaml:2\), not for CID 16/,
      queries: 0,
    },
    {
      what: 'because the name leads to the metadata service: 403, without the address',
      names: { [NAME]: ['169.254.169.254'] },
      reply: [
        403,
        'destination_ip_prohibited',
        /^the addresses of api\.example\.com:443 are not allowed by the policy/,
      ],
      log: /none of the addresses of api\.example\.com may be used: 169\.254\.169\.254 is a link-local address/,
    },
    {
      what: 'because it is an IP address that only a name leads to: 403, and nothing is resolved',
      text: 'CONNECT 10.0.0.7:443 HTTP/1.1\r\nHost: 10.0.0.7:443\r\n\r\n',
      reply: [403, 'http_request_denied', /^10\.0\.0\.7:443 is not allowed/],
      log: /no entry of the allowlist matches 10\.0\.0\.7 on port 443/,
      queries: 0,
    },
    {
      what: 'because there is no such name: 502, without the DNS servers',
      names: {},
      reply: [502, 'dns_error', /^the name of api\.example\.com:443 could not be resolved \(ENOTFOUND\)\n$/],
      log: /no address for api\.example\.com:443: Could not resolve api\.example\.com: ENOTFOUND/,
    },
    {
      what: 'because the DNS servers are silent: 504',
      names: { [NAME]: 'ETIMEOUT' },
      reply: [504, 'dns_timeout', /^the name of api\.example\.com:443 could not be resolved in time\n$/],
      log: /ETIMEOUT/,
    },
    {
      what: 'because the server refuses: 502, without its address',
      reply: [502, 'connection_refused', /^could not connect to api\.example\.com:443: ECONNREFUSED\n$/],
      log: /could not connect to api\.example\.com:443 at 10\.0\.0\.7:443: ECONNREFUSED: connection refused/,
    },
    {
      what: 'because its address is of a family that is not used: 502',
      changes: { allow: ['10.0.0.7 443'], family: 'ipv6' },
      text: 'CONNECT 10.0.0.7:443 HTTP/1.1\r\nHost: 10.0.0.7:443\r\n\r\n',
      reply: [502, 'destination_ip_unroutable', /^10\.0\.0\.7:443 is of an address family that is not used here\n$/],
      log: /10\.0\.0\.7 is an IPv4 address, and only IPv6 is used here/,
    },
    {
      what: 'because IP addresses are not spelled so: 400',
      text: 'CONNECT 2130706433:443 HTTP/1.1\r\nHost: 2130706433:443\r\n\r\n',
      changes: { allow: ['**'] },
      reply: [400, 'http_request_error', /another spelling of 127\.0\.0\.1/],
      log: /it was answered 400: "2130706433" is another spelling/,
      queries: 0,
    },
    {
      what: 'because it is no HTTP: 400',
      text: '{}\r\n\r\n',
      reply: [400, 'http_request_error', /^"\{\}" is not an HTTP request line\n$/],
      log: /it was answered 400: /,
      queries: 0,
    },
    {
      what: 'because its head is too large: 431',
      text: `${CONNECT.slice(0, -2)}X: ${'x'.repeat(16 * 1024)}\r\n\r\n`,
      reply: [431, 'http_request_error', /larger than 16384 bytes/],
      log: /it was answered 431: /,
      queries: 0,
    },
  ];
  for (const { what, text = CONNECT, changes = {}, names = { [NAME]: ['10.0.0.7'] }, reply, log, queries } of cases) {
    it(what, async () => {
      const { request, logged, running, queries: asked } = await setUp(changes, { names, level: 'warn' });
      const client = await request(text);
      const [status, error, body] = reply;
      const told = parseReply(client);
      assert.deepEqual([told.status, told.error], [status, error], client.received);
      assert.match(told.body ?? '', body);
      assert.equal(client.ending, 'eof');
      const lines = logged.take();
      assert.equal(lines.length, 1, lines.join('\n'));
      assert.match(lines[0] ?? '', log);
      if (queries !== undefined) assert.equal(asked.length, queries);
      assert.match(running.status(), /; 0 connections$/);
    });
  }

  it('because it ends before its head does: 400', async () => {
    const { request } = await setUp();
    const client = await request(CONNECT.slice(0, -2));
    client.end();
    await settled();
    assert.equal(parseReply(client).status, 400);
  });

  it('because the server does not answer in time: 504', async () => {
    const { request, clock, net } = await setUp();
    net.silence(SERVER);
    const client = await request(CONNECT);
    await clock.advance(5000);
    assert.deepEqual([parseReply(client).status, parseReply(client).error], [504, 'connection_timeout']);
  });

  it('with HEAD gets no body', async () => {
    const { request } = await setUp({ allow: ['other.example 80'] });
    const client = await request(GET.replace('GET', 'HEAD'));
    assert.deepEqual([parseReply(client).status, parseReply(client).body], [403, '']);
  });

  it('by a flood of clients costs one line per period, with the targets, and no memory', async () => {
    const { request, clock, logged } = await setUp({ allow: ['other.example 443'] }, { level: 'warn' });
    for (let i = 0; i < 300; i += 1) await request(CONNECT.replaceAll(NAME, `n${i % 30}.example.com`));
    assert.equal(logged.take().length, 1);
    await clock.advance(10_000);
    const [line, ...others] = logged.take();
    assert.match(
      line ?? '',
      /^WARN 299 more clients within 10 s met a denial: n\d+\.example\.com:443 \(10\), (n\d+\.example\.com:443 \(10\), ){3,4}.*others \(2\d\d\)$/,
    );
    assert.deepEqual(others, []);
    await clock.advance(10_000);
    assert.equal(clock.pending, 0);
  });
});

describe('DNS rebinding', () => {
  it('of a name in use: the new address is refused, established connections stay', async () => {
    const { request, net, names, clock } = await setUp();
    const server = net.serveAt(SERVER);
    const metadata = net.serveAt({ family: 'tcp', ip: '169.254.169.254', port: 443 });
    const first = await request(CONNECT);
    const accepted = await server.accept();
    names[NAME] = ['169.254.169.254'];
    await clock.advance(60_000);
    const second = await request(CONNECT);
    assert.equal(parseReply(second).status, 403);
    first.write('still here');
    await accepted.receives('still here');
    let reached = false;
    void metadata.accept().then(() => {
      reached = true;
    });
    await settled();
    assert.equal(reached, false);
  });

  it('within one answer: only the address that may be used is dialled', async () => {
    const { request, net } = await setUp({}, { names: { [NAME]: ['127.0.0.1', '169.254.169.254', '10.0.0.7'] } });
    const server = net.serveAt(SERVER);
    const client = await request(CONNECT);
    await server.accept();
    assert.equal(client.received, ESTABLISHED);
  });
});

describe('CONNECT', () => {
  it('with the head of an earlier client, byte for byte, is decided for the one who asks', async () => {
    const { request, net } = await setUp({ allow: [`${NAME} 443 16`] });
    const server = net.serveAt(SERVER);
    await request(CONNECT);
    await server.accept();
    const other = await request(CONNECT, { family: 'vsock', cid: 17, port: 5005 });
    assert.equal(parseReply(other).status, 403);
    const again = await request(CONNECT);
    await server.accept();
    assert.equal(again.received, ESTABLISHED);
  });

  it('gives a tunnel once the server is there, and passes on what came behind the head', async () => {
    const { request, net, logged } = await setUp();
    const server = net.serveAt(SERVER);
    const client = await request(`${CONNECT}early`);
    const accepted = await server.accept();
    await accepted.receives('early');
    accepted.write('hello');
    await client.receives(`${ESTABLISHED}hello`);
    client.end();
    accepted.end();
    await settled();
    assert.deepEqual(logged.take(), [
      'INFO Accepted connection on cid: 16 port: 5005',
      'INFO Connected client from cid: 16 port: 5005 to 10.0.0.7:443 (api.example.com:443)',
      'INFO Client on cid: 16 port: 5005 disconnected',
    ]);
  });

  it('in pieces, byte by byte, is the same', async () => {
    const { request, net } = await setUp();
    const server = net.serveAt(SERVER);
    const client = await request('');
    for (const byte of CONNECT) {
      assert.equal(client.received, '');
      client.write(byte);
      await settle();
    }
    await settled();
    await server.accept();
    assert.equal(client.received, ESTABLISHED);
  });

  it('to a name that was resolved a moment ago is answered within the same turn', async () => {
    const { request, net, planes } = await setUp();
    const server = net.serveAt(SERVER);
    await request(CONNECT);
    await server.accept();
    const plane = planes[0];
    assert.ok(plane);
    const answered: unknown[] = [];
    plane.decide = (connection, decision) => answered.push([connection, decision.action]);
    const client = await net.connect(ON, CLIENT);
    client.write(CONNECT.replaceAll(NAME, NAME.toUpperCase()));
    await Promise.resolve();
    assert.equal(answered.length, 1);
  });

  it('in the same words is asked about once a second', async () => {
    const { request, net, planes, clock } = await setUp();
    const server = net.serveAt(SERVER);
    await request(CONNECT);
    await server.accept();
    const plane = planes[0];
    assert.ok(plane);
    const answer = plane.decide.bind(plane);
    let answers = 0;
    plane.decide = (connection, decision) => {
      answers += 1;
      answer(connection, decision);
    };
    assert.equal((await request(CONNECT)).received, ESTABLISHED);
    assert.equal(answers, 0);
    await clock.advance(1000);
    assert.equal((await request(CONNECT)).received, ESTABLISHED);
    assert.equal(answers, 1);
  });

  it('tries the next address when the first refuses', async () => {
    const { request, net } = await setUp({}, { names: { [NAME]: ['10.0.0.6', '10.0.0.7'] } });
    const server = net.serveAt(SERVER);
    await request(CONNECT);
    await server.accept();
  });

  it('to an IPv6 address that is listed works, in brackets', async () => {
    const { request, net, queries } = await setUp({ allow: ['2001:db8::/32 443'] });
    const server = net.serveAt({ family: 'tcp', ip: '2001:db8::7', port: 443 });
    await request('CONNECT [2001:DB8:0::7]:443 HTTP/1.1\r\nHost: [2001:DB8:0::7]:443\r\n\r\n');
    await server.accept();
    assert.deepEqual(queries, []);
  });

  it('goes on with the last good answer while the DNS servers fail, with one warning', async () => {
    const { request, net, names, clock, logged } = await setUp({}, { level: 'warn' });
    const server = net.serveAt(SERVER);
    await request(CONNECT);
    await server.accept();
    names[NAME] = 'ESERVFAIL';
    await clock.advance(60_000);
    for (let i = 0; i < 3; i += 1) {
      await request(CONNECT);
      await server.accept();
    }
    assert.deepEqual(logged.take(), [
      'WARN Could not resolve api.example.com: ESERVFAIL; serving the last good answer, 60 s old. Hint: check the name',
    ]);
  });

  it('whose client has left while its name was resolved leaves nothing behind', async () => {
    const { request, clock, running, logged } = await setUp({}, { names: { [NAME]: 'ETIMEOUT' }, level: 'warn' });
    const client = await request('');
    client.write(CONNECT);
    await Promise.resolve();
    client.reset();
    await settled();
    assert.match(running.status(), /; 0 connections$/);
    assert.deepEqual(logged.take(), []);
    await clock.advance(60_000);
    assert.equal(clock.pending, 0);
  });
});

describe('a request in absolute form', () => {
  const plain = { allow: [`${NAME} 80`] };
  const WEB = { ...SERVER, port: 80 };
  const answer = (body: string) => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const passed = (body: string) =>
    `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\nVia: 1.1 vsock-proxy\r\nConnection: keep-alive\r\n\r\n${body}`;

  it('is one exchange in origin form, and the next request may follow on the same connection', async () => {
    const { request, net, running } = await setUp(plain);
    const server = net.serveAt(WEB);
    const client = await request(GET);
    const first = await server.accept();
    await first.receives(ORIGIN_GET);
    first.write(answer('one'));
    await client.receives(passed('one'));
    client.write(GET);
    const second = await server.accept();
    await second.receives(ORIGIN_GET);
    second.write(answer('two'));
    await client.receives(passed('one') + passed('two'));
    client.end();
    await settled();
    assert.match(running.status(), /; 0 connections$/);
  });

  it('is decided about each time: the second one may be denied', async () => {
    const { request, net } = await setUp(plain);
    const server = net.serveAt(WEB);
    const client = await request(GET);
    (await server.accept()).write(answer('one'));
    await settled();
    client.write(GET.replaceAll(NAME, 'other.example'));
    await settled();
    assert.match(client.received.slice(passed('one').length), /^HTTP\/1\.1 403 /);
  });

  it('has its body passed on, and interim responses', async () => {
    const { request, net } = await setUp(plain);
    const server = net.serveAt(WEB);
    const client = await request(`POST http://${NAME}/ HTTP/1.1\r\nHost: ${NAME}\r\nContent-Length: 4\r\n\r\nbo`);
    const accepted = await server.accept();
    accepted.write('HTTP/1.1 100 Continue\r\n\r\n');
    await settled();
    assert.match(client.received, /^HTTP\/1\.1 100 Continue\r\n/);
    client.write('dy');
    await settled();
    accepted.write(answer('done'));
    await settled();
    assert.ok(client.received.endsWith(passed('done')));
  });

  const failures: readonly (readonly [what: string, response: string, error: string, body: RegExp])[] = [
    ['that makes no sense', 'SSH-2.0-OpenSSH\r\n', 'http_protocol_error', /^api\.example\.com:80: /],
    [
      'with both framings',
      'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
      'http_protocol_error',
      /both/,
    ],
    [
      'that never comes',
      '',
      'connection_terminated',
      /^api\.example\.com:80 ended the connection before it answered\n$/,
    ],
    [
      'that breaks off',
      'HTTP/1.1 200',
      'connection_terminated',
      /^api\.example\.com:80 ended the connection in the head/,
    ],
  ];
  for (const [what, response, error, body] of failures) {
    it(`whose server gives a response ${what} is answered 502`, async () => {
      const { request, net, logged, running } = await setUp(plain, { level: 'warn' });
      const server = net.serveAt(WEB);
      const client = await request(GET);
      const accepted = await server.accept();
      accepted.write(response);
      accepted.end();
      await settled();
      const told = parseReply(client);
      assert.deepEqual([told.status, told.error], [502, error]);
      assert.match(told.body ?? '', body);
      assert.match(
        logged.take()[0] ?? '',
        /^WARN Client on cid: 16 port: 5005: no usable response: api\.example\.com:80/,
      );
      assert.match(running.status(), /; 0 connections$/);
    });
  }
});

describe('many names', () => {
  it('under a pattern are each resolved once, and their number is bounded', async () => {
    const names = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`n${i}.example.com`, ['10.0.0.7']]));
    const { request, net, queries } = await setUp({ allow: ['*.example.com 443'] }, { names });
    net.serveAt(SERVER);
    for (let round = 0; round < 3; round += 1) {
      for (const name of Object.keys(names)) await request(CONNECT.replaceAll(NAME, name));
    }
    assert.equal(queries.length, 50);
  });
});

describe('an answer that goes wrong', () => {
  it('ends that one connection, with an error in the log, and no other', async () => {
    const broken: Rule = {
      ports: 'any',
      text: NAME,
      place: 'allow.yaml:2',
      get address(): never {
        throw new TypeError('a mistake');
      },
    };
    const { request, logged, running } = await setUp({ policy: { allow: [broken], deny: [] } });
    const client = await request(CONNECT);
    assert.equal(client.ending, 'reset');
    const lines = logged.take().join('\n');
    assert.match(lines, /ERROR A decision request could not be answered: TypeError: a mistake/);
    assert.match(lines, /WARN Client on cid: 16 port: 5005: its request could not be decided about/);
    assert.match(running.status(), /; 0 connections$/);
  });
});
