/** `route: http` and the names that its clients request, with a DNS server whose answers change. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type DnsServer, type Reply, startDnsServer } from '../unit/dns/server.ts';
import { enterNamespace } from './namespace.ts';
import { ask, type RawServer, startRawServer } from './raw.ts';
import { type RunningServe, startServe } from './serve.ts';

const FIRST = '10.77.0.1';
const SECOND = '10.77.0.2';
const SIXTH = 'fd77::6';
/** Nobody has it. */
const DEAD = '10.77.0.3';
const METADATA = '169.254.169.254';

enterNamespace(import.meta.filename, {
  servers: { [FIRST]: [], [SECOND]: [], [SIXTH]: [], [METADATA]: [] },
  // This address never answers, not even with a refusal.
  commands: [`ip route add ${DEAD}/32 dev lo src ${FIRST}`],
});

const PROXY = { host: '127.0.0.1', port: 3128 };
const CONFIG = `
allowlist:
- {address: "*.example.com", port: 80}
listeners:
- {listen: "tcp:127.0.0.1:3128", route: http}
- {listen: "tcp:127.0.0.2:3128", route: http}
`;

let proxy: RunningServe;
let dns: DnsServer;
const servers: RawServer[] = [];
let metadata: RawServer;
/** What the DNS server answers for each name now. */
const answers: Record<string, Partial<Record<'A' | 'AAAA', Reply>>> = {};
const NONE: Reply = { records: [] };

before(async () => {
  dns = await startDnsServer(({ name, type }) => (type === 'CNAME' ? NONE : (answers[name]?.[type] ?? NONE)), 53);
  const serve = (ip: string) =>
    startRawServer(ip, 80, (socket) => {
      socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${ip.length}\r\n\r\n${ip}`);
    });
  servers.push(await serve(FIRST), await serve(SECOND), await serve(SIXTH));
  metadata = await serve(METADATA);
  proxy = await startServe(CONFIG, { log: 'warn,vsock_proxy=info' });
});

after(async () => {
  assert.deepEqual(metadata?.received, []);
  for (const each of [proxy, ...servers, metadata]) await each?.[Symbol.asyncDispose]();
  dns?.close();
});

/** A records with this TTL in seconds. */
function a(ips: readonly string[], ttl = 1): Reply {
  return { records: ips.map((data) => ({ type: 'A', ttl, data })) };
}

/** The address that served it, or the status with which it was refused. */
async function get(name: string, proxyAt = PROXY): Promise<string> {
  const response = await ask(proxyAt, `GET http://${name}/ HTTP/1.1\r\nHost: ${name}\r\nConnection: close\r\n\r\n`);
  const [, status = response, body = ''] = /^HTTP\/1\.1 (\d+) [\s\S]*\r\n\r\n([\s\S]*)$/.exec(response) ?? [];
  return status === '200' ? body : status;
}

/** Asks until the answer is `wanted`; until then it has to be one of the others. */
async function untilServedBy(name: string, wanted: string, ...before: readonly string[]): Promise<void> {
  for (;;) {
    const served = await get(name);
    if (served === wanted) return;
    assert.ok(before.includes(served), `${name} was served by ${served}`);
  }
}

function asked(name: string): number {
  return dns.asked().filter((each) => each === name).length;
}

describe('a requested name', { concurrency: true }, () => {
  test('with the address of the metadata service, of loopback, or an unspecified one is refused', async () => {
    for (const [index, ip] of [METADATA, '127.0.0.1', '0.0.0.0', '224.0.0.1'].entries()) {
      answers[`forbidden-${index}.example.com`] = { A: a([ip]) };
      assert.equal(await get(`forbidden-${index}.example.com`), '403');
    }
    for (const [index, data] of ['fd00:ec2::254', '::1', `::ffff:${METADATA}`, `64:ff9b::a9fe:a9fe`].entries()) {
      answers[`six-${index}.example.com`] = { AAAA: { records: [{ type: 'AAAA', ttl: 1, data }] } };
      assert.match(await get(`six-${index}.example.com`), /^(403|502)$/);
    }
  });

  test('with one allowed and one guarded address leads to the allowed one', async () => {
    answers['mixed.example.com'] = { A: a([METADATA, SECOND]) };
    for (let i = 0; i < 20; i += 1) assert.equal(await get('mixed.example.com'), SECOND);
  });

  test('with rebinding from a server to the metadata service is refused, and the service gets no connection', async () => {
    answers['rebinding.example.com'] = { A: a([FIRST]) };
    assert.equal(await get('rebinding.example.com'), FIRST);
    answers['rebinding.example.com'] = { A: a([METADATA]) };
    await untilServedBy('rebinding.example.com', '403', FIRST);
    for (let i = 0; i < 20; i += 1) assert.equal(await get('rebinding.example.com'), '403');
    // The listener has no other denials, so this one has a line of its own.
    assert.equal(await get('rebinding.example.com', { ...PROXY, host: '127.0.0.2' }), '403');
    await proxy.logged(/WARN .*rebinding\.example\.com may be used: 169\.254\.169\.254/);
  });

  test('is resolved once in its TTL, and again after it; the new address is used without a restart', async () => {
    answers['staying.example.com'] = { A: a([FIRST], 300) };
    for (let i = 0; i < 100; i += 1) assert.equal(await get('staying.example.com'), FIRST);
    assert.equal(asked('staying.example.com'), 1);

    answers['moving.example.com'] = { A: a([FIRST]) };
    assert.equal(await get('moving.example.com'), FIRST);
    answers['moving.example.com'] = { A: a([SECOND], 300) };
    await untilServedBy('moving.example.com', SECOND, FIRST);
    const before = asked('moving.example.com');
    for (let i = 0; i < 100; i += 1) assert.equal(await get('moving.example.com'), SECOND);
    assert.equal(asked('moving.example.com'), before);
  });

  test('keeps its last good answer, with a warning, if the DNS server fails or is silent', async () => {
    for (const [name, trouble] of [
      ['failing', { rcode: 'SERVFAIL' }],
      ['silent', 'silence'],
    ] as const) {
      answers[`${name}.example.com`] = { A: a([FIRST]) };
      assert.equal(await get(`${name}.example.com`), FIRST);
      answers[`${name}.example.com`] = { A: trouble, AAAA: trouble };
    }
    const told = proxy.logged(/WARN .*(failing|silent)\.example\.com.*serving the last good answer/);
    let over = false;
    void told.finally(() => {
      over = true;
    });
    const areServed = async () => {
      assert.equal(await get('failing.example.com'), FIRST);
      assert.equal(await get('silent.example.com'), FIRST);
    };
    while (!over) await areServed();
    await areServed();
  });

  test('is refused when the DNS servers say that it does not exist', async () => {
    answers['gone.example.com'] = { A: a([FIRST]) };
    assert.equal(await get('gone.example.com'), FIRST);
    answers['gone.example.com'] = { A: { rcode: 'NXDOMAIN' }, AAAA: { rcode: 'NXDOMAIN' } };
    await untilServedBy('gone.example.com', '502', FIRST);
  });

  test('is reached at its second address if the first one refuses or is silent', async () => {
    answers['refusing.example.com'] = { A: a(['10.77.0.4', SECOND]) };
    answers['dead.example.com'] = { A: a([DEAD, SECOND]) };
    assert.equal(await get('refusing.example.com'), SECOND);
    assert.equal(await get('dead.example.com'), SECOND);
  });

  test('is reached with IPv6 addresses only', async () => {
    answers['six.example.com'] = { AAAA: { records: [{ type: 'AAAA', ttl: 60, data: SIXTH }] } };
    assert.equal(await get('six.example.com'), SIXTH);
  });

  test('does not wait for another name that is not answered', async () => {
    answers['quick.example.com'] = { A: a([FIRST], 300) };
    answers['never.example.com'] = { A: 'silence', AAAA: 'silence' };
    let waits = true;
    const never = get('never.example.com').finally(() => {
      waits = false;
    });
    while (waits && asked('never.example.com') === 0) assert.equal(await get('quick.example.com'), FIRST);
    assert.equal(await get('quick.example.com'), FIRST);
    assert.ok(waits);
    assert.equal(await never, '504');
  });
});
