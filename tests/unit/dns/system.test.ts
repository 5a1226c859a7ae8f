import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, suite, type TestContext, test } from 'node:test';
import { parseHostname } from '../../../src/access/address.ts';
import { MAX_ADDRESSES } from '../../../src/dns/query.ts';
import type { Answer, Family } from '../../../src/dns/resolver.ts';
import { createSystemResolver, type SystemResolverOptions } from '../../../src/dns/system.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';
import { type DnsServer, type Reply, startDnsServer } from './server.ts';

const directory = mkdtempSync(join(tmpdir(), 'vsock-proxy-dns-'));
after(() => rmSync(directory, { recursive: true }));
const ABSENT = join(directory, 'absent');

let files = 0;
function file(content: string): string {
  const path = join(directory, `file-${++files}`);
  writeFileSync(path, content);
  return path;
}

type Zone = Readonly<Record<string, Reply>>;

/** A server for `NAME TYPE` entries. Other names do not exist, and other types of a name have no data. */
async function serve(context: TestContext, zone: Zone): Promise<DnsServer> {
  const server = await startDnsServer(({ name, type }) => {
    const known = Object.keys(zone).some((key) => key.startsWith(`${name} `));
    return zone[`${name} ${type}`] ?? (known ? { records: [] } : undefined);
  });
  context.after(() => server.close());
  return server;
}

function a(...addresses: readonly string[]): Reply {
  return { records: addresses.map((data) => ({ type: 'A', ttl: 60, data })) };
}

function aaaa(...addresses: readonly string[]): Reply {
  return { records: addresses.map((data) => ({ type: 'AAAA', ttl: 60, data })) };
}

function resolve(
  written: string,
  options: SystemResolverOptions & { readonly family?: Family; readonly signal?: AbortSignal },
): Promise<Answer> {
  const name = parseHostname(written);
  assert(typeof name === 'string');
  const { family = 'any', signal = new AbortController().signal, ...rest } = options;
  return createSystemResolver({ hostsPath: ABSENT, resolvConfPath: ABSENT, ...rest }).resolve(name, family, signal);
}

/** The addresses, or the failure in one line. */
async function outcome(...args: Parameters<typeof resolve>): Promise<string> {
  try {
    const { addresses } = await resolve(...args);
    return addresses.map((ip) => ip.text).join(' ');
  } catch (error) {
    assert(error instanceof VsockProxyError, String(error));
    assert.equal(error.code, 'resolve-failed');
    return error.line;
  }
}

suite('a name that cannot be resolved', () => {
  test('NXDOMAIN: there is no such name', async (context) => {
    const { address, questions } = await serve(context, {});
    assert.equal(
      await outcome('a.example', { servers: [address] }),
      `Could not resolve a.example: ENOTFOUND: there is no such name (asked: ${address}). ` +
        'Hint: check its spelling, and that the DNS servers of this network know it',
    );
    assert.deepEqual(questions.map(({ type }) => type).sort(), ['A', 'AAAA'], 'both families, once each');
  });

  test('SERVFAIL: the server could not find out', async (context) => {
    const { address } = await serve(context, {
      'a.example A': { rcode: 'SERVFAIL' },
      'a.example AAAA': { rcode: 'SERVFAIL' },
    });
    assert.match(await outcome('a.example', { servers: [address] }), /ESERVFAIL: the DNS server could not find out/);
  });

  test('REFUSED: the server refuses', async (context) => {
    const { address } = await serve(context, { 'a.example A': { rcode: 'REFUSED' } });
    assert.match(
      await outcome('a.example', { servers: [address], family: 'ipv4' }),
      /EREFUSED: the DNS server refuses/,
    );
  });

  test('silence: it is given up at the deadline', async (context) => {
    const { address } = await serve(context, { 'a.example A': 'silence', 'a.example AAAA': 'silence' });
    const started = performance.now();
    const line = await outcome('a.example', { servers: [address], deadlineMs: 400 });
    const tookMs = performance.now() - started;
    assert.match(line, /ETIMEOUT: no DNS server answered in time \(asked: 127\.0\.0\.1:\d+\)\. Hint: .*resolv\.conf/);
    assert(tookMs >= 350 && tookMs < 3000, `${tookMs} ms`);
  });

  test('an answer that makes no sense is a failure like any other', async (context) => {
    const { address } = await serve(context, { 'a.example A': 'garbage' });
    const line = await outcome('a.example', { servers: [address], family: 'ipv4', deadlineMs: 400 });
    assert.match(line, /^Could not resolve a\.example: E[A-Z]+: /);
  });

  test('nobody listens: no server can be reached', async () => {
    const server = await startDnsServer(() => undefined);
    server.close();
    assert.match(
      await outcome('a.example', { servers: [server.address] }),
      /ECONNREFUSED: no DNS server can be reached/,
    );
  });

  test('no address of any family', async (context) => {
    const { address } = await serve(context, { 'a.example CNAME': { records: [] } });
    assert.match(await outcome('a.example', { servers: [address] }), /ENODATA: it has no IP address\. Hint: /);
    assert.match(await outcome('a.example', { servers: [address], family: 'ipv6' }), /ENODATA: it has no IPv6 address/);
  });

  test('with -6, a name that has only IPv4 addresses, and the other way round', async (context) => {
    const { address } = await serve(context, {
      'four.example A': a('10.0.0.1'),
      'six.example AAAA': aaaa('2001:db8::1'),
    });
    assert.match(
      await outcome('four.example', { servers: [address], family: 'ipv6' }),
      /ENODATA: it has only IPv4 addresses\. Hint: leave out the option -6/,
    );
    assert.match(
      await outcome('six.example', { servers: [address], family: 'ipv4' }),
      /ENODATA: it has only IPv6 addresses\. Hint: leave out the option -4/,
    );
  });

  test('NXDOMAIN for one family is NXDOMAIN; a server that failed for one may have known more', async (context) => {
    const { address } = await serve(context, {
      'a.example AAAA': { rcode: 'NXDOMAIN' },
      'a.example A': { rcode: 'SERVFAIL' },
      'b.example A': { records: [] },
      'b.example AAAA': { rcode: 'SERVFAIL' },
    });
    assert.match(await outcome('a.example', { servers: [address] }), /ENOTFOUND/);
    assert.match(await outcome('b.example', { servers: [address] }), /ESERVFAIL/);
  });

  test('the caller gives up: its own reason is passed on', async (context) => {
    const gaveUp = new Error('stopped');
    const aborting = new AbortController();
    const server = await startDnsServer(() => {
      aborting.abort(gaveUp);
      return 'silence';
    });
    context.after(() => server.close());
    await assert.rejects(resolve('a.example', { servers: [server.address], signal: aborting.signal }), gaveUp);
    await assert.rejects(resolve('localhost', { signal: AbortSignal.abort(gaveUp) }), gaveUp);
  });
});

suite('an answer of DNS', () => {
  const ZONE: Zone = {
    'dual.example A': a('10.0.0.2', '10.0.0.1'),
    'dual.example AAAA': aaaa('2001:db8::2', '2001:db8::1'),
  };

  test('IPv4 stands before IPv6, each family in the order of the answer', async (context) => {
    const { address } = await serve(context, ZONE);
    assert.equal(await outcome('dual.example', { servers: [address] }), '10.0.0.2 10.0.0.1 2001:db8::2 2001:db8::1');
  });

  test('known fault 11: -6 works on dual-stack names, and all addresses are kept', async (context) => {
    const { address, questions } = await serve(context, ZONE);
    assert.equal(await outcome('dual.example', { servers: [address], family: 'ipv6' }), '2001:db8::2 2001:db8::1');
    assert.deepEqual(
      questions,
      [{ name: 'dual.example', type: 'AAAA', over: 'udp' }],
      'the other family is not asked for',
    );
    assert.equal(await outcome('dual.example', { servers: [address], family: 'ipv4' }), '10.0.0.2 10.0.0.1');
  });

  test('the shortest TTL counts, that of the way there too', async (context) => {
    const { address } = await serve(context, {
      'a.example A': {
        records: [
          { type: 'CNAME', ttl: 7, data: 'b.example' },
          { owner: 'b.example', type: 'A', ttl: 300, data: '10.0.0.1' },
          { owner: 'b.example', type: 'A', ttl: 200, data: '10.0.0.2' },
        ],
      },
      'a.example AAAA': { records: [{ type: 'AAAA', ttl: 90, data: '2001:db8::1' }] },
    });
    const answer = await resolve('a.example', { servers: [address] });
    assert.equal(answer.ttlMs, 7000);
    assert.equal(answer.source, 'dns');
    assert.deepEqual(
      answer.addresses.map((ip) => ip.text),
      ['10.0.0.1', '10.0.0.2', '2001:db8::1'],
    );
    assert.equal((await resolve('a.example', { servers: [address], family: 'ipv6' })).ttlMs, 90_000);
  });

  test('of more addresses than anybody tries the first ones count', async (context) => {
    const many = Array.from({ length: 2000 }, (_, index) => `10.1.${index >> 8}.${index & 0xff}`);
    const { address } = await serve(context, {
      'a.example A': { ...(a(...many) as object), truncated: true } as Reply,
    });
    assert.equal(
      await outcome('a.example', { servers: [address], family: 'ipv4' }),
      many.slice(0, MAX_ADDRESSES).join(' '),
    );
  });

  test('a truncated answer is asked for again over TCP', async (context) => {
    const many = Array.from({ length: 50 }, (_, index) => `10.0.0.${index}`);
    const { address, questions } = await serve(context, {
      'a.example A': { ...(a(...many) as object), truncated: true } as Reply,
    });
    assert.equal(await outcome('a.example', { servers: [address], family: 'ipv4' }), many.join(' '));
    assert.deepEqual(
      questions.map(({ over }) => over),
      ['udp', 'tcp'],
    );
  });

  test('addresses that stand twice count once, and an IPv4 address in an AAAA record is none', async (context) => {
    const { address } = await serve(context, {
      'a.example A': a('10.0.0.1', '10.0.0.1'),
      'b.example AAAA': aaaa('0:0:0:0:0:ffff:a00:1'),
    });
    assert.equal(await outcome('a.example', { servers: [address] }), '10.0.0.1');
    assert.match(await outcome('b.example', { servers: [address], family: 'ipv6' }), /it has no IPv6 address/);
  });

  for (const [what, reply] of [
    ['fails', { rcode: 'SERVFAIL' }],
    ['is met by silence', 'silence'],
  ] as const) {
    test(`one family that ${what} does not spoil the other, and the answer says so`, async (context) => {
      const { address } = await serve(context, { 'a.example A': a('10.0.0.1'), 'a.example AAAA': reply });
      const started = performance.now();
      const answer = await resolve('a.example', { servers: [address] });
      assert(performance.now() - started < 3000, 'well before the deadline');
      assert.deepEqual(
        answer.addresses.map((ip) => ip.text),
        ['10.0.0.1'],
      );
      assert.deepEqual(answer.incomplete, { missing: 6, code: reply === 'silence' ? 'ETIMEOUT' : 'ESERVFAIL' });
    });
  }

  test('a family that has no addresses is not missing', async (context) => {
    const { address } = await serve(context, { 'a.example AAAA': aaaa('2001:db8::1') });
    assert.equal((await resolve('a.example', { servers: [address] })).incomplete, undefined);
  });

  test('a second server is asked when the first is silent', async (context) => {
    const silent = await startDnsServer(() => 'silence');
    context.after(() => silent.close());
    const { address } = await serve(context, ZONE);
    const servers = [silent.address, address];
    assert.equal(await outcome('dual.example', { servers, family: 'ipv4', deadlineMs: 1000 }), '10.0.0.2 10.0.0.1');
    assert(silent.questions.length > 0);
  });
});

suite('the search list', () => {
  test('a name without dots is completed first, a name with dots last', async (context) => {
    const server = await serve(context, { 'db.corp.example A': a('10.0.0.1'), 'db.eu.corp.example A': a('10.0.0.2') });
    const options = { servers: [server.address], resolvConfPath: file('search eu.corp.example corp.example\n') };
    assert.equal(await outcome('db', options), '10.0.0.2');
    assert.equal(await outcome('db.eu', options), '10.0.0.2');
    assert.deepEqual(server.asked(), ['db.eu.corp.example', 'db.eu', 'db.eu.eu.corp.example', 'db.eu.corp.example']);
  });

  test('ndots decides what has dots enough', async (context) => {
    const server = await serve(context, { 'db.example A': a('10.0.0.1') });
    const resolvConfPath = file('search svc.local\noptions timeout:1 ndots:5\n');
    assert.equal(await outcome('db.example', { servers: [server.address], resolvConfPath }), '10.0.0.1');
    assert.deepEqual(server.asked(), ['db.example.svc.local', 'db.example']);
  });

  test('a failure on the way ends the search: another name than the one meant might be found', async (context) => {
    const server = await serve(context, { 'db.a.example A': { rcode: 'SERVFAIL' }, 'db.b.example A': a('10.0.0.1') });
    const resolvConfPath = file('search a.example b.example');
    assert.match(await outcome('db', { servers: [server.address], resolvConfPath, family: 'ipv4' }), /ESERVFAIL/);
    assert.deepEqual(server.asked(), ['db.a.example']);
  });

  test('a name that exists without addresses is told from one that does not exist', async (context) => {
    const server = await serve(context, { 'a.example AAAA': { records: [] } });
    const resolvConfPath = file('search corp.example');
    assert.match(await outcome('a.example', { servers: [server.address], resolvConfPath }), /ENODATA/);
  });

  test('a file that changes counts from the next look-up on', async (context) => {
    const server = await serve(context, { 'db.new.example A': a('10.0.0.1') });
    const resolvConfPath = file('search old.example');
    const resolver = createSystemResolver({ hostsPath: ABSENT, resolvConfPath, servers: [server.address] });
    const name = parseHostname('db');
    assert(typeof name === 'string');
    const { signal } = new AbortController();
    await assert.rejects(resolver.resolve(name, 'ipv4', signal), VsockProxyError);
    writeFileSync(resolvConfPath, 'search new.example');
    assert.equal((await resolver.resolve(name, 'ipv4', signal)).addresses[0]?.text, '10.0.0.1');
  });
});

suite('the hosts file', () => {
  test('comes before DNS, with all addresses of the name', async (context) => {
    const { address, questions } = await serve(context, { 'a.example A': a('10.9.9.9') });
    const hostsPath = file('2001:db8::1 a.example\n10.0.0.1 a.example other\n10.0.0.2\tA.Example. # 10.0.0.3\n');
    const answer = await resolve('a.example', { servers: [address], hostsPath });
    assert.deepEqual(
      answer.addresses.map((ip) => ip.text),
      ['10.0.0.1', '10.0.0.2', '2001:db8::1'],
    );
    assert.equal(answer.source, 'hosts');
    assert.deepEqual(questions, []);
  });

  test('leaves a family that it does not have to DNS', async (context) => {
    const { address } = await serve(context, { 'a.example AAAA': aaaa('2001:db8::1') });
    const hostsPath = file('10.0.0.1 a.example\n');
    assert.equal(await outcome('a.example', { servers: [address], hostsPath, family: 'ipv6' }), '2001:db8::1');
  });

  test('is read again when it has changed, appeared or vanished', async (context) => {
    const { address } = await serve(context, { 'a.example A': a('10.9.9.9') });
    const hostsPath = join(directory, 'hosts');
    const resolver = createSystemResolver({ hostsPath, resolvConfPath: ABSENT, servers: [address] });
    const name = parseHostname('a.example');
    assert(typeof name === 'string');
    const first = async () => (await resolver.resolve(name, 'any', new AbortController().signal)).addresses[0]?.text;
    assert.equal(await first(), '10.9.9.9');
    writeFileSync(hostsPath, '10.0.0.1 a.example');
    assert.equal(await first(), '10.0.0.1');
    writeFileSync(hostsPath, '10.0.0.22 a.example');
    assert.equal(await first(), '10.0.0.22');
    rmSync(hostsPath);
    assert.equal(await first(), '10.9.9.9');
  });

  test('that cannot be read holds no names', async (context) => {
    const { address } = await serve(context, { 'a.example A': a('10.9.9.9') });
    assert.equal(await outcome('a.example', { servers: [address], hostsPath: directory }), '10.9.9.9');
  });
});

suite('localhost', () => {
  test('is never asked of a server, nor are the names under it', async (context) => {
    const { address, questions } = await serve(context, {});
    for (const name of ['localhost', 'LOCALHOST.', 'db.localhost']) {
      assert.equal(await outcome(name, { servers: [address] }), '127.0.0.1 ::1');
    }
    assert.equal(await outcome('localhost', { servers: [address], family: 'ipv6' }), '::1');
    assert.deepEqual(questions, []);
  });

  test('is what the hosts file says, where that says something', async () => {
    const hostsPath = file('127.0.0.2 localhost\n');
    assert.equal(await outcome('localhost', { hostsPath }), '127.0.0.2');
    assert.equal(await outcome('localhost', { hostsPath, family: 'ipv6' }), '::1');
  });
});
