/**
 * The built executable and the names that it resolves, in a network namespace with a DNS server of its own on port 53
 * and /etc/hosts and /etc/resolv.conf of its own. Addresses that may not be used as such, loopback above all, are
 * refused, so the servers stand on other addresses of the namespace's only interface.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, connect as dial, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { Program } from '../program.ts';
import { type DnsServer, type Reply, startDnsServer } from '../unit/dns/server.ts';
import { EXECUTABLE, type ProxyOptions, type RunningProxy, startProxy } from './proxy.ts';

const NAME = 'kms.us-east-1.amazonaws.com';
const PORT = 443;
const FIRST = '10.77.0.1';
const SECOND = '10.77.0.2';
const SIXTH = 'fd77::6';
const INSIDE = 'VSOCK_PROXY_TEST_NAMESPACE';

if (process.env[INSIDE] === undefined) {
  test('in a namespace of its own', { timeout: 300_000 }, () => {
    const files = mkdtempSync(join(tmpdir(), 'vsock-proxy-dns-'));
    writeFileSync(join(files, 'resolv.conf'), 'nameserver 127.0.0.1\n');
    writeFileSync(join(files, 'hosts'), `127.0.0.1 localhost\n${SECOND} listed-in-hosts.example.com\n`);
    const enter = [
      'mount --make-rprivate /',
      `mount --bind ${files}/resolv.conf /etc/resolv.conf`,
      `mount --bind ${files}/hosts /etc/hosts`,
      'ip link set lo up',
      ...[FIRST, SECOND, SIXTH].map((ip) => `ip address add ${ip}${ip === SIXTH ? '/128 nodad' : '/32'} dev lo`),
      `exec "${process.execPath}" --test --test-reporter=spec ${import.meta.filename}`,
    ];
    const inside = spawnSync('unshare', ['--net', '--mount', 'bash', '-ec', enter.join('\n')], {
      env: { ...process.env, [INSIDE]: files, NODE_TEST_CONTEXT: undefined },
      encoding: 'utf8',
    });
    rmSync(files, { recursive: true });
    console.log(inside.stdout, inside.stderr);
    assert.equal(inside.status, 0, 'see above; it needs root, unshare(1) and ip(8)');
  });
} else {
  insideNamespace();
}

function insideNamespace(): void {
  let cleanUps: (() => unknown)[] = [];
  afterEach(async () => {
    for (const cleanUp of cleanUps.reverse()) await cleanUp();
    cleanUps = [];
  });

  /** Answers every connection with the address that it reached. */
  const serveOn = async (ip: string): Promise<Server> => {
    const server = createServer((socket) => socket.on('error', () => socket.destroy()).end(ip)).listen(PORT, ip);
    await once(server, 'listening');
    cleanUps.push(() => server.close());
    return server;
  };
  const resolveWith = async (answer: (type: 'A' | 'AAAA' | 'CNAME') => Reply | undefined): Promise<DnsServer> => {
    const server = await startDnsServer(({ type }) => answer(type), 53);
    cleanUps.push(() => server.close());
    return server;
  };
  const a = (data: string, ttl = 300): Reply => ({ records: [{ type: 'A', ttl, data }] });
  const none: Reply = { records: [] };
  const proxyTo = async (options: Partial<ProxyOptions> = {}): Promise<RunningProxy> => {
    const proxy = await startProxy({ host: NAME, port: PORT, ...options });
    cleanUps.push(() => proxy.kill());
    return proxy;
  };
  /** What one client receives through the proxy, '' when it is ended without a byte. */
  const ask = async (proxy: RunningProxy): Promise<string> => {
    const socket = dial(proxy.dial);
    let received = '';
    socket.on('data', (chunk) => {
      received += String(chunk);
    });
    socket.on('error', () => undefined);
    await once(socket, 'close');
    return received;
  };

  test('a name that resolves to the metadata service or to loopback: clients are refused, with the reason', async () => {
    for (const ip of ['169.254.169.254', '127.0.0.1', '0.0.0.0', '224.0.0.1']) {
      const server = await resolveWith((type) => (type === 'A' ? a(ip) : none));
      const proxy = await proxyTo();
      assert.equal(await ask(proxy), '');
      assert.match((await proxy.logged(/WARN .*may (not )?be used.*\n/))[0], new RegExp(ip.replaceAll('.', '\\.')));
      server.close();
      cleanUps.pop();
      await proxy.kill();
      cleanUps = [];
    }
  });

  test('rebinding: an allowed name that later resolves to the metadata service is not followed', async () => {
    await serveOn(FIRST);
    let answer = a(FIRST, 1);
    await resolveWith((type) => (type === 'A' ? answer : none));
    const proxy = await proxyTo();
    assert.equal(await ask(proxy), FIRST);
    answer = a('169.254.169.254', 1);
    await proxy.logged(/WARN .*169\.254\.169\.254/);
    assert.equal(await ask(proxy), '');
  });

  test('the address of a name changes: new connections follow it, without a restart', async () => {
    await serveOn(FIRST);
    await serveOn(SECOND);
    let answer = a(FIRST, 1);
    await resolveWith((type) => (type === 'A' ? answer : none));
    const proxy = await proxyTo();
    assert.equal(await ask(proxy), FIRST);
    answer = a(SECOND, 1);
    await proxy.logged(new RegExp(`Using IP "${SECOND}"`));
    assert.equal(await ask(proxy), SECOND);
  });

  test('the DNS server fails: the last good answer is served, and a warning says so', async () => {
    await serveOn(FIRST);
    let answer = a(FIRST, 1);
    await resolveWith((type) => (type === 'A' ? answer : none));
    const proxy = await proxyTo();
    assert.equal(await ask(proxy), FIRST);
    answer = { rcode: 'SERVFAIL' };
    await proxy.logged(/WARN .*last good answer/);
    assert.equal(await ask(proxy), FIRST);
  });

  test('no DNS at the start: the proxy listens, warns, and serves once the name resolves', async () => {
    await serveOn(FIRST);
    const proxy = await proxyTo();
    assert.equal(await ask(proxy), '');
    await proxy.logged(new RegExp(`WARN .*${NAME}`));
    await resolveWith((type) => (type === 'A' ? a(FIRST) : none));
    await proxy.logged(new RegExp(`Using IP "${FIRST}"`));
    assert.equal(await ask(proxy), FIRST);
  });

  test('a silent DNS server does not stop connections from being accepted', async () => {
    await serveOn(FIRST);
    let silent = false;
    await resolveWith((type) => (silent ? 'silence' : type === 'A' ? a(FIRST, 1) : none));
    const proxy = await proxyTo();
    assert.equal(await ask(proxy), FIRST);
    silent = true;
    await proxy.logged(/WARN .*last good answer/);
    for (let i = 0; i < 200; i += 1) assert.equal(await ask(proxy), FIRST);
  });

  test('several addresses, the first one dead: the second one answers', async () => {
    await serveOn(SECOND);
    await resolveWith((type) =>
      type === 'A' ? { records: [FIRST, SECOND].map((data) => ({ type: 'A', ttl: 300, data })) } : none,
    );
    assert.equal(await ask(await proxyTo()), SECOND);
  });

  test('-4 and -6 of a dual-stack name take the addresses of their family', async () => {
    await serveOn(FIRST);
    await serveOn(SIXTH);
    await resolveWith((type) => (type === 'A' ? a(FIRST) : { records: [{ type: 'AAAA', ttl: 300, data: SIXTH }] }));
    assert.equal(await ask(await proxyTo({ args: ['-4'] })), FIRST);
    assert.equal(await ask(await proxyTo({ args: ['-6'] })), SIXTH);
    assert.equal(await ask(await proxyTo()), FIRST);
  });

  test('/etc/hosts comes before DNS', async () => {
    await serveOn(SECOND);
    const dns = await resolveWith(() => ({ rcode: 'NXDOMAIN' }));
    assert.equal(await ask(await proxyTo({ host: 'listed-in-hosts.example.com' })), SECOND);
    assert.deepEqual(dns.asked(), []);
  });

  test('a changed resolv.conf is used from the next query on', async () => {
    await serveOn(FIRST);
    const files = process.env[INSIDE] ?? assert.fail();
    writeFileSync(join(files, 'resolv.conf'), 'nameserver 127.0.0.99\noptions timeout:1 attempts:1\n');
    cleanUps.push(() => writeFileSync(join(files, 'resolv.conf'), 'nameserver 127.0.0.1\n'));
    const proxy = await proxyTo();
    await proxy.logged(new RegExp(`WARN .*${NAME}`));
    await resolveWith((type) => (type === 'A' ? a(FIRST) : none));
    writeFileSync(join(files, 'resolv.conf'), 'nameserver 127.0.0.1\n');
    await proxy.logged(new RegExp(`Using IP "${FIRST}"`));
    assert.equal(await ask(proxy), FIRST);
  });

  test('a name that has the address of a listed one is refused, and served with match_names_by_ip, but never behind the guard', async () => {
    await serveOn(FIRST);
    let address = FIRST;
    await resolveWith((type) => (type === 'A' ? a(address) : none));
    const allowlist = `[{address: other.example.com, port: ${PORT}}]`;
    const files = process.env[INSIDE] ?? assert.fail();
    const refused = async (settings: string): Promise<string> => {
      const config = join(files, 'by-ip.yaml');
      writeFileSync(config, `allowlist: ${allowlist}\n${settings}\n`);
      const denied = new Program(EXECUTABLE, ['unix:/nowhere/proxy.sock', NAME, `${PORT}`, '--config', config]);
      const { status, stderr } = await denied.ended;
      assert.equal(status, 1);
      return stderr;
    };
    assert.match(await refused(''), /or, if a listed name has the same address, write match_names_by_ip: true"/);
    const proxy = await proxyTo({ allowlist, settings: 'match_names_by_ip: true' });
    assert.equal(await ask(proxy), FIRST);
    await proxy.logged(new RegExp(`Matched with host IP "${FIRST}" and port "${PORT}"`));
    await proxy.logged(/WARN .* is not in the allowlist, but other\.example\.com \(.*\), which has the same address/);
    address = '169.254.169.254';
    assert.match(await refused('match_names_by_ip: true'), /169\.254\.169\.254 is a link-local address/);
  });

  test('an IP rule covers what the name resolves to; a name of other addresses is refused at the start', async () => {
    await serveOn(FIRST);
    await resolveWith((type) => (type === 'A' ? a(FIRST) : none));
    const proxy = await proxyTo({ allowlist: `[{address: 10.77.0.0/24, port: ${PORT}}]` });
    assert.equal(await ask(proxy), FIRST);
    const config = join(process.env[INSIDE] ?? assert.fail(), 'denied.yaml');
    writeFileSync(config, `allowlist: [{address: 10.78.0.0/24, port: ${PORT}}]`);
    const denied = new Program(EXECUTABLE, ['unix:/nowhere/proxy.sock', NAME, `${PORT}`, '--config', config]);
    const { status, stderr } = await denied.ended;
    assert.equal(status, 1);
    assert.match(stderr, /The given address and port are not allowed.*10\.77\.0\.1/);
  });
}
