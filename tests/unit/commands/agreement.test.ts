/**
 * `check` and the running proxy agree. Generated files, targets, clients and DNS answers go through both, with the
 * proxy on a data plane in memory. The proxy dials what `check --resolve` allows, address by address.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { parseCheckCommand, runCheck } from '../../../src/commands/check/check.ts';
import type { ResolveName } from '../../../src/commands/check/judge.ts';
import { loadPlan, loadProxyPlan } from '../../../src/config/proxy-plan.ts';
import type { SocketAddress } from '../../../src/dataplane/contract.ts';
import type { ListenerPlan } from '../../../src/plan.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';
import { seeded } from '../../random.ts';
import { target } from '../access/fixture.ts';
import { clientHello, serverName } from '../protocol/hello.ts';
import { type Names, resolverOf, settle } from '../proxy/fixture.ts';
import { setUpProxy } from '../proxy/running.ts';

const ROUNDS = 800;

const directory = mkdtempSync(join(tmpdir(), 'vsock-proxy-agreement-'));
after(() => rmSync(directory, { recursive: true }));
const path = join(directory, 'f.yaml');

const NAMES = ['a.test', 'b.test', 'x.b.test', 'localhost'];
const ADDRESSES = [
  ...['10.0.0.1', '10.0.0.2', '127.0.0.1', '169.254.169.254', '0.0.0.0'],
  ...['2001:db8::1', '::1', 'fd00:ec2::254', '64:ff9b::a00:1', '64:ff9b::a9fe:a9fe'],
];
const RANGES = [
  ...['0.0.0.0/0', '10.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '169.0.0.0/8'],
  ...['::/0', '64:ff9b::/96', 'fd00:ec2::/32'],
];
const PATTERNS = ['**', '*.test', '*.b.test'];
const PORTS = ['80', '443', '[80, 443]', '1-100'];

const NO_LOG = { warn: (text: string) => assert.fail(text) };

/** One listener, clients that name one target, and the DNS answers. */
interface Scene {
  readonly file: string;
  /** The form of the AWS proxy: the target stands on the command line, and the file has no listener. */
  readonly isDropIn: boolean;
  readonly on: SocketAddress;
  readonly clients: readonly SocketAddress[];
  readonly host: string;
  readonly port: number;
  readonly names: Names;
  /** What the client sends, if it says itself where it wants to go. */
  readonly bytes: string | Uint8Array;
}

function generate(random: () => number): Scene {
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;
  const some = <T>(most: number, make: () => T): T[] => Array.from({ length: Math.floor(random() * (most + 1)) }, make);
  const kind = pick(['http', 'http', 'sni', 'connect', 'connect', 'proxy_protocol', 'command line'] as const);
  const isDropIn = kind === 'command line';
  const onVsock = isDropIn || random() < 0.7;
  const host = kind === 'sni' ? pick(NAMES) : pick([pick(NAMES), pick(ADDRESSES)]);
  const port = pick([80, 443]);
  const rule = (needsPort: boolean): string => {
    const address = pick([
      host,
      pick(NAMES),
      pick(ADDRESSES),
      pick(ADDRESSES),
      pick(RANGES),
      pick(RANGES),
      pick(PATTERNS),
    ]);
    const port = needsPort || random() < 0.5 ? `, port: ${pick(PORTS)}` : '';
    const cids = random() < 0.2 ? `, cids: ${pick(['[16]', '[17]', '[16, 17]'])}` : '';
    return `{address: "${address}"${port}${cids}}`;
  };
  const authority = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  const route = {
    http: 'route: http',
    sni: `route: sni, port: ${port}`,
    connect: `connect: "${authority}"`,
    proxy_protocol: `connect: "${authority}", proxy_protocol: v2`,
    'command line': '',
  }[kind];
  const family = kind === 'http' && random() < 0.2 ? `, ip_family: ${pick(['ipv4', 'ipv6'])}` : '';
  const cids = onVsock && !isDropIn && random() < 0.2 ? `, cids: ${pick(['[16]', '[17, 18]'])}` : '';
  const own = random() < 0.3 ? `, allowlist: [${rule(true)}]` : '';
  const listen = onVsock ? 'vsock:8000' : 'tcp:192.0.2.1:8000';
  const listeners = isDropIn ? '' : `listeners: [{listen: "${listen}", ${route}${family}${cids}${own}}]\n`;
  const names = Object.fromEntries(
    NAMES.filter(() => random() < 0.8).map((name) => [
      name,
      random() < 0.1 ? 'ESERVFAIL' : [...new Set([pick(ADDRESSES), ...some(2, () => pick(ADDRESSES))])],
    ]),
  );
  return {
    file: `match_names_by_ip: ${random() < 0.4}\nallowlist: [${some(4, () => rule(true))}]\ndenylist: [${some(1, () => rule(false))}]\n${listeners}`,
    isDropIn,
    on: onVsock ? { family: 'vsock', cid: 3, port: 8000 } : { family: 'tcp', ip: '192.0.2.1', port: 8000 },
    clients: onVsock
      ? [pick([16, 17, 18]), pick([16, 17, 18])].map((cid) => ({ family: 'vsock', cid, port: 5005 }))
      : [{ family: 'tcp', ip: '192.0.2.9', port: 40_000 }],
    host,
    port,
    names,
    bytes: {
      http: `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`,
      sni: clientHello({ extensions: [serverName(host)] }),
      connect: '',
      proxy_protocol: '',
      'command line': '',
    }[kind],
  };
}

interface Judged {
  readonly verdict: 'allowed' | 'denied' | 'undecided' | 'invalid';
  readonly addresses: readonly string[];
}

async function check(
  { host, port, names }: Scene,
  client: SocketAddress,
  ...options: readonly string[]
): Promise<Judged> {
  const cid = client.family === 'vsock' ? ['--cid', String(client.cid)] : [];
  const parsed = parseCheckCommand([host, String(port), '--json', '--config', path, ...cid, ...options]);
  assert(parsed.kind === 'run');
  const resolver = resolverOf(names);
  const resolveName: ResolveName = async (name, family) =>
    (await resolver.resolve(name, family, new AbortController().signal)).addresses;
  const readPlacement = () => assert.fail('no file has a placeholder');
  const report = JSON.parse((await runCheck(parsed.arguments, { resolveName, readPlacement })).text);
  if (!report.valid) return { verdict: 'invalid', addresses: [] };
  assert.equal(report.verdicts.length, 1);
  const [{ addresses }] = report.verdicts;
  // Nothing is resolved for an IP address.
  const admitted = (addresses ?? [{ address: host, admitted: true }]).filter(
    (each: { admitted: boolean }) => each.admitted,
  );
  return {
    verdict: report.verdict,
    addresses: report.verdict === 'allowed' ? admitted.map((each: { address: string }) => each.address) : [],
  };
}

/** The addresses that the proxy dials for each client in turn; undefined if it refuses the file. */
async function run({
  on,
  clients,
  names,
  bytes,
  isDropIn,
  host,
  port,
}: Scene): Promise<readonly (readonly string[])[] | undefined> {
  let listeners: readonly ListenerPlan[];
  try {
    const unused = () => assert.fail('no file has a placeholder');
    const to = { target: target(`${host} ${port}`), written: host };
    const dropIn = { listenOn: on, ...to, family: 'any', configPath: path } as const;
    ({ listeners } = isDropIn
      ? loadProxyPlan(dropIn, NO_LOG)
      : await loadPlan({ configPath: path, readPlacement: unused }));
  } catch (error) {
    assert(error instanceof VsockProxyError && error.code === 'config');
    return undefined;
  }
  const { net, start, planes } = setUpProxy(listeners, { names, level: 'error' });
  let dialled: string[] = [];
  const dial = net.dial.bind(net);
  net.dial = (to, from) => {
    if (to.family === 'tcp' && to.ip !== '192.0.2.1') dialled.push(to.ip);
    return dial(to, from);
  };
  try {
    await start();
  } catch (error) {
    assert(error instanceof VsockProxyError && error.code === 'denied');
    return clients.map(() => []);
  }
  await settled();
  const all: (readonly string[])[] = [];
  for (const client of clients) {
    dialled = [];
    const end = await net.connect(on, client);
    end.write(bytes);
    await settled();
    all.push(dialled);
  }
  for (const plane of planes) plane.stop();
  return all;
}

async function settled(): Promise<void> {
  for (let i = 0; i < 6; i += 1) await settle();
}

test('what check allows is what the proxy dials', async () => {
  const random = seeded(20261127);
  const seen: Record<string, number> = {};
  for (let round = 0; round < ROUNDS; round += 1) {
    const scene = generate(random);
    writeFileSync(path, scene.file);
    const all = await run(scene);
    for (const [index, client] of scene.clients.entries()) {
      const resolved = await check(scene, client, '--resolve');
      const unresolved = await check(scene, client);
      const dialled = all?.[index];
      const told = JSON.stringify({ ...scene, bytes: undefined, client, resolved, unresolved, dialled });
      if (dialled === undefined) {
        assert.equal(resolved.verdict, 'invalid', told);
        assert.equal(unresolved.verdict, 'invalid', told);
      } else {
        assert.notEqual(resolved.verdict, 'invalid', told);
        assert.deepEqual(dialled, resolved.addresses, told);
        assert.equal(resolved.verdict === 'allowed', dialled.length > 0, told);
        // Without asking anybody it never says the opposite; what is listed may lead nowhere, or where nobody may go.
        if (unresolved.verdict === 'denied') assert.equal(resolved.verdict, 'denied', told);
      }
      const outcome = `${unresolved.verdict}, then ${resolved.verdict}`;
      seen[outcome] = (seen[outcome] ?? 0) + 1;
    }
  }
  const outcomes = ['allowed', 'denied', 'undecided'].map((verdict) => `undecided, then ${verdict}`);
  for (const outcome of [...outcomes, 'allowed, then allowed', 'allowed, then denied', 'denied, then denied']) {
    assert((seen[outcome] ?? 0) >= 10, `${outcome}: ${JSON.stringify(seen)}`);
  }
});
