/**
 * The drop-in form beside AWS's proxy: every case of tests/vectors/dropin.json is one of which it is recorded what AWS's proxy
 * 1.0.2 does. Here the built executable does the same, in the same words; or something else on purpose, and the case says why.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, connect as dial } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Program } from '../program.ts';
import { type DnsRecord, startDnsServer } from '../unit/dns/server.ts';
import { launch, untilMade } from './launch.ts';
import { enterNamespace } from './namespace.ts';
import { EXECUTABLE } from './proxy.ts';

/** One case. */
interface Vector {
  readonly what: string;
  /** Words of the command line but `--config`; a `<local_port>` of 8000 becomes a unix socket. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** The file; absent: {@link FILE}. `{{a*5000}}` stands for as many letters. */
  readonly file?: string;
  /** Whether a client is connected; absent: it does not start, status 1. */
  readonly serves?: boolean;
  /**
   * Lines on standard error, without their time; LISTENER is where it listens, and one that ends in … may go on. The three
   * lines about the end of the process are left out. Sorted where a client is not served: names are resolved beside the rest.
   */
  readonly says: readonly string[];
  /** Why AWS's proxy does or says something else; absent: it does not, but for what stands behind a …. */
  readonly unlike?: string;
}

const FILE = `allowlist:
- {address: c.test, port: 443}
- {address: a.test, port: 9000}
- {address: 10.9.0.7, port: 1}
- {address: 10.9.0.7, port: 65535}
`;
const PORT = 9000;
const PATIENCE_MS = 30_000;

const HOSTS = ['::1 ip6-localhost', '127.0.0.1 hostsloop', '10.9.0.1 hostsalias', '10.9.0.2 UPPERhost'];
const ADDRESSES = ['10.9.0.1', '10.9.0.2', 'fd00:9::1', '169.254.169.254'];
/** What names have for addresses; all others have none. */
const ZONE: Readonly<Record<string, readonly string[]>> = {
  'a.test': ['10.9.0.1'],
  'b.test': ['10.9.0.1'],
  'c.test': ['10.9.0.2'],
  'cname.test': ['10.9.0.1'],
  'multi.test': ['10.9.0.1', '10.9.0.2'],
  'dual.test': ['10.9.0.1', 'fd00:9::1'],
  'six.test': ['fd00:9::1'],
  'six2.test': ['fd00:9::1'],
  'mapped.test': ['::ffff:a09:1'],
  'loop.test': ['127.0.0.1'],
  'meta.test': ['169.254.169.254'],
  'xn--mnchen-3ya.test': ['10.9.0.1'],
  'xn--r8jz45g.test': ['10.9.0.1'],
  'db.corp.test': ['10.9.0.1'],
};

/** Its name is in log lines, which expressions of the cases may match: so it is no random one. */
const DIRECTORY = '/mnt';

enterNamespace(import.meta.filename, {
  servers: Object.fromEntries(ADDRESSES.map((ip) => [ip, []])),
  commands: [
    `printf '%s\\n' ${HOSTS.map((line) => `'${line}'`).join(' ')} >> /etc/hosts`,
    "echo 'search corp.test' >> /etc/resolv.conf",
    `mount -t tmpfs none ${DIRECTORY}`,
  ],
});

for (const ip of [...ADDRESSES, '127.0.0.1', '::1']) {
  const server = createServer((socket) => socket.on('error', () => socket.destroy()).end(ip)).listen(PORT, ip);
  await once(server, 'listening');
  server.unref();
}
const dns = await startDnsServer(({ name, type }) => {
  const addresses = ZONE[name.toLowerCase()];
  const wanted = addresses?.filter((ip) => ip.includes(':') === (type === 'AAAA')) ?? [];
  const records = wanted.map((data): DnsRecord => ({ type, ttl: 300, data }));
  return addresses === undefined ? undefined : { records: type === 'CNAME' ? [] : records };
}, 53);

const vectors: readonly Vector[] = JSON.parse(readFileSync(new URL('../vectors/dropin.json', import.meta.url), 'utf8'));

describe('the drop-in form beside the proxy of AWS', { concurrency: 4 }, () => {
  for (const [index, vector] of vectors.entries()) {
    it(`${vector.what}${vector.unlike === undefined ? '' : ` (unlike it: ${vector.unlike})`}`, async () => {
      const { serves, says } = await run(vector, index);
      const lines = serves === false ? says.toSorted() : says;
      assert.deepEqual(
        lines.map((line, at) => shorten(line, vector.says[at])),
        vector.says,
      );
      assert.equal(serves, vector.serves);
    });
  }
});

it('a reload reads the file as the start does: it ignores mistakes, except those that could open something', async () => {
  const config = join(DIRECTORY, 'reload.yaml');
  const socket = join(DIRECTORY, 'reload.sock');
  const good = 'allowlist:\n- {address: a.test, port: 9000}\n';
  writeFileSync(config, good);
  const program = launch([EXECUTABLE, `unix:${socket}`, 'a.test', `${PORT}`, '--config', config], { RUST_LOG: 'info' });
  try {
    await program.stderr.match(/Proxy is now in listening state/, PATIENCE_MS);
    writeFileSync(config, `note: x\n${good}- {address: "https://b.test/", port: 443}\n`);
    program.kill('SIGHUP');
    await program.stderr.match(/WARN {2}vsock_proxy\] Ignored: note: unknown key .*reload\.yaml:1/, PATIENCE_MS);
    await program.stderr.match(/WARN .*Ignored, and allows nothing: .* is a URL .*reload\.yaml:4/, PATIENCE_MS);
    await program.stderr.match(/INFO .*Reloaded: 1 listener unchanged/, PATIENCE_MS);
    writeFileSync(config, `${good}denylst: [{address: a.test}]\n`);
    program.kill('SIGHUP');
    await program.stderr.match(
      /ERROR .*Reload failed, and everything goes on as before: denylst: unknown key/,
      PATIENCE_MS,
    );
    assert.equal(await receive(socket), '10.9.0.1');
  } finally {
    program.kill();
  }
});

it('an unlisted name is never sent to the DNS server', () => {
  assert.deepEqual(
    dns.asked().filter((name) => /nope|example/.test(name)),
    [],
  );
  dns.close();
});

async function run(vector: Vector, index: number): Promise<Pick<Vector, 'serves' | 'says'>> {
  const config = join(DIRECTORY, `${index}.yaml`);
  const socket = join(DIRECTORY, `${index}.sock`);
  const text = (vector.file ?? FILE).replace(/\{\{(.)\*(\d+)\}\}/g, (_, letter: string, times: string) =>
    letter.repeat(Number(times)),
  );
  writeFileSync(config, text);
  const [localPort = '', ...others] = vector.args;
  const listenOn = localPort === '8000' ? `unix:${socket}` : localPort;
  const program = launch([EXECUTABLE, listenOn, ...others, '--config', config], vector.env);
  const started = await Promise.race([untilMade(socket, program).catch(() => undefined), program.ended]);
  const serves = started === undefined && existsSync(socket) ? await serve(socket, program) : undefined;
  const { status, stdout, stderr } = await program.outcome(PATIENCE_MS);
  assert.deepEqual({ status, stdout }, { status: serves === undefined ? 1 : 0, stdout: '' }, stderr);
  const shown = stderr
    .replaceAll(config, 'my.yaml')
    .replaceAll(`unix: ${socket}`, 'LISTENER')
    .replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/g, 'TIME');
  const lines = shown
    .split('\n')
    .filter((line) => line !== '' && !/SIGTERM received|No new clients|All connections/.test(line));
  return { ...(serves !== undefined && { serves }), says: lines.map((line) => line.replace(/^\[TIME /, '')) };
}

/** One client, and the end. */
async function serve(path: string, program: Program): Promise<boolean> {
  try {
    return (await receive(path)) !== '';
  } finally {
    program.kill('SIGTERM');
  }
}

/** What a client gets. The path is there a little before somebody listens at it. */
async function receive(path: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let received = '';
  dial({ path })
    .on('data', (chunk) => {
      received += String(chunk);
    })
    .on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') receive(path).then(resolve, reject);
      else reject(error);
    })
    .on('close', (hadError) => hadError || resolve(received));
  return await promise;
}

function shorten(line: string, expected = ''): string {
  return expected.endsWith('…') && line.startsWith(expected.slice(0, -1)) ? expected : line;
}
