import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, suite, test } from 'node:test';
import { begin } from '../../../src/access/authorize.ts';
import { parseTarget, type Rule } from '../../../src/access/rules.ts';
import { loadPlan } from '../../../src/config/proxy-plan.ts';
import type { ListenerPlan, Plan } from '../../../src/plan.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';

const directory = mkdtempSync(join(tmpdir(), 'vsock-proxy-plan-'));
after(() => rmSync(directory, { recursive: true }));
const path = join(directory, 'f.yaml');

interface Options {
  readonly enclaveCid?: number;
  readonly placement?: { readonly region: string; readonly domain: string };
}

/** Without a placement, a request for it is an error. */
function plan(text: string, { placement, ...options }: Options = {}): Promise<Plan> {
  writeFileSync(path, text);
  const readPlacement = () =>
    placement === undefined ? Promise.reject(new Error('nobody needs the placement')) : Promise.resolve(placement);
  return loadPlan({ configPath: path, readPlacement, ...options });
}

async function only(text: string, options?: Options): Promise<ListenerPlan> {
  const [listener, ...others] = (await plan(text, options)).listeners;
  assert(listener !== undefined && others.length === 0);
  return listener;
}

async function problem(text: string, options?: Options): Promise<string> {
  try {
    await plan(text, options);
  } catch (error) {
    assert(error instanceof VsockProxyError && error.code === 'config', String(error));
    return error.line.replaceAll(directory, '');
  }
  return assert.fail(`this was taken: ${text}`);
}

const texts = (rules: readonly Rule[]) => rules.map(({ text }) => text);

suite('a plan that is refused', () => {
  test('a route that the lists deny to everybody, with the line of the route', async () => {
    const route = 'listeners:\n- listen: vsock:8000\n  connect: b.example:443\n';
    assert.match(
      await problem(`allowlist: [{address: a.example, port: 443}]\n${route}`),
      /^listeners\[0\]\.connect: The given address and port are not allowed: .* \(\/f\.yaml:4\)\. Hint: .*- \{address: b\.example, port: 443\}; or, if a listed name has the same address, write match_names_by_ip: true$/,
    );
    assert.match(
      await problem(`allowlist: [{address: b.example, port: 443}]\ndenylist: [{address: "**"}]\n${route}`),
      /^listeners\[0\]\.connect: The given address and port are not allowed: .* is denied by \*\* .*f\.yaml:2.*f\.yaml:5/,
    );
    assert.match(
      await problem(`allowlist: [{address: b.example, port: 443, cids: [16]}]\n${route}  cids: [17]\n`),
      /not for CID 17/,
    );
  });

  test('a route that the lists allow only by CID, where clients have none', async () => {
    const allow = 'allowlist: [{address: b.example, port: 443, cids: [16]}]\n';
    for (const rest of ['', ', proxy_protocol: v2', ', allowlist: [{address: c.example, port: 443}]']) {
      for (const on of ['tcp:127.0.0.1:8000', 'unix:/run/b.sock']) {
        assert.match(
          await problem(`${allow}listeners:\n- {listen: "${on}", connect: "b.example:443"${rest}}\n`),
          /^listeners\[0\]\.connect: .* is listed for CID 16 \(.*f\.yaml:1\), and the client has no CID \(\/f\.yaml:3\)\. Hint: /,
        );
      }
      await plan(`${allow}listeners:\n- {listen: "systemd:b", connect: "b.example:443"${rest}}\n`);
    }
  });

  test('a route that some client may use is a plan', async () => {
    const route = 'listeners:\n- {listen: "vsock:8000", connect: "b.example:443"}\n';
    await plan(`allowlist: [{address: b.example, port: 443, cids: [16]}]\n${route}`);
    await plan(`allowlist: [{address: b.example, port: 443}]\ndenylist: [{address: b.example, cids: [16]}]\n${route}`);
    await plan(`allowlist: [{address: 10.0.0.0/8, port: 443}]\n${route}`);
  });

  test('ingress without the CID of the enclave', async () => {
    assert.equal(
      await problem('ingress:\n- listen_port: 8443\n'),
      'ingress[0].listen_port: which enclave it leads to is not known (/f.yaml:2). Hint: start it with: vsock-proxy serve --enclave-cid N, or --enclave-name NAME',
    );
  });

  test('a placement that makes no host name, and nothing else is put in its place', async () => {
    const text = 'allowlist: []\nlisteners:\n- {listen: "vsock:8000", connect: "kms.${region}.${domain}:443"}\n';
    for (const region of ['', 'a b', 'x/', '${domain}', 'eu:443', 'a'.repeat(64)]) {
      assert.match(
        await problem(text, { placement: { region, domain: 'amazonaws.com' } }),
        /^listeners\[0\]\.connect: .*\(\/f\.yaml:3\)\. Hint: /,
        region,
      );
    }
  });

  test('a placement that cannot be read is the error of whoever reads it', async () => {
    const text = 'allowlist: []\nlisteners:\n- {listen: "vsock:8000", connect: "kms.${region}.a.example:443"}\n';
    await assert.rejects(plan(text), /nobody needs the placement/);
  });

  test('the first of several problems says that there are more', async () => {
    const text =
      'allowlist: []\nlisteners:\n- {listen: "vsock:8000", connect: "a:1"}\n- {listen: "vsock:8001", connect: "a:2"}\n';
    assert.match(
      await problem(text),
      /f\.yaml:3\).*; one more problem is told by: vsock-proxy check --config \/f\.yaml$/,
    );
  });
});

suite('a plan', () => {
  test('fills in every default', async () => {
    const { policy, ...listener } = await only('allowlist: []\nlisteners:\n- listen: vsock:8000\n  route: http\n');
    assert.deepEqual(listener, {
      place: `${path}:3`,
      on: { family: 'vsock', cid: 3, port: 8000 },
      route: { kind: 'http' },
      family: 'any',
      limits: { connections: 1000, connectionsPerClient: 0, ratePerClient: 0, vsockBufferKib: 1024 },
      timeouts: { connectMs: 10_000, idleMs: 3_600_000, headMs: 10_000, reuseMs: 15_000 },
    });
    assert.deepEqual(policy, { allow: [], deny: [] });
  });

  test('takes each limit and deadline from the listener, else from the file', async () => {
    const { limits, timeouts } = await only(
      'allowlist: []\nlimits: {connections: 5, connections_per_client: 6, rate_per_client: 7}\n' +
        'timeouts: {connect: 1s, idle: 2s, head: 3s}\n' +
        'listeners: [{listen: "vsock:8000", route: sni, limits: {connections: 50, rate_per_client: 0, vsock_buffer_kib: 512}, timeouts: {idle: 0}}]\n',
    );
    assert.deepEqual(limits, { connections: 50, connectionsPerClient: 6, ratePerClient: 0, vsockBufferKib: 512 });
    assert.deepEqual(timeouts, { connectMs: 1000, idleMs: 0, headMs: 3000, reuseMs: 15_000 });
  });

  test('has one drain for all', async () => {
    const { drainMs } = await plan(
      'allowlist: []\ntimeouts: {drain: 5s}\nlisteners: [{listen: "vsock:8000", route: sni}]\n',
    );
    assert.equal(drainMs, 5000);
  });

  test('puts the entries of a listener and those of the file into one list', async () => {
    const { listeners } = await plan(
      'allowlist: [{address: a.example, port: 443}]\ndenylist: [{address: 10.0.0.0/8}]\nlisteners:\n' +
        '- {listen: "vsock:8000", route: http, allowlist: [{address: b.example, port: 80-90}], denylist: [{address: evil.example}]}\n' +
        '- {listen: "vsock:8001", route: sni}\n',
    );
    assert.deepEqual(
      listeners.map(({ policy }) => [texts(policy.allow), texts(policy.deny)]),
      [
        [
          ['b.example', 'a.example'],
          ['evil.example', '10.0.0.0/8'],
        ],
        [['a.example'], ['10.0.0.0/8']],
      ],
    );
    assert.equal(listeners[0]?.policy.allow[0]?.place, `${path}:4`);
  });

  test('understands every way to listen', async () => {
    const { listeners } = await plan(
      `allowlist: []\nlisteners: [${[
        'vsock:8000',
        'vsock:16:8000',
        'vsock:local:8001',
        'vsock:any:8002',
        'tcp:127.0.0.1:80',
        'tcp:[2001:DB8::1]:80',
        'unix:/run/x.sock',
        'systemd:nitro-enclaves-vsock-proxy.socket',
      ]
        .map((listen) => `{listen: "${listen}", route: http}`)
        .join(', ')}]\n`,
    );
    assert.deepEqual(
      listeners.map(({ on }) => on),
      [
        { family: 'vsock', cid: 3, port: 8000 },
        { family: 'vsock', cid: 16, port: 8000 },
        { family: 'vsock', cid: 1, port: 8001 },
        { family: 'vsock', cid: 4294967295, port: 8002 },
        { family: 'tcp', ip: '127.0.0.1', port: 80 },
        { family: 'tcp', ip: '2001:db8::1', port: 80 },
        { family: 'unix', path: '/run/x.sock' },
        { family: 'systemd', name: 'nitro-enclaves-vsock-proxy.socket' },
      ],
    );
  });

  test('understands every way to connect', async () => {
    const { listeners } = await plan(
      `allowlist: [{address: "**", port: 1-65535}, {address: "::/0", port: 443}]\nlisteners: [${[
        'connect: "A.Example.:443"',
        'connect: "[2001:db8::1]:443"',
        'connect: "vsock:16:8000", proxy_protocol: v2',
        'connect: "unix:/run/x"',
        'route: http',
        'route: sni',
        'route: sni, port: "8443"',
        'route: sni, starttls: postgres',
        'route: sni, port: 6432, starttls: postgres',
      ]
        .map(
          (route, index) =>
            `{listen: "vsock:${8000 + index}", ${/vsock:|unix:/.test(route) ? '' : 'allowlist: [], '}${route}}`,
        )
        .join(', ')}]\n`,
    );
    const [name, ip, ...others] = listeners.map(({ route }) => route);
    assert(name?.kind === 'target' && ip?.kind === 'target');
    assert.deepEqual([name.target.host, name.target.port], [{ kind: 'name', name: 'a.example' }, 443]);
    assert.deepEqual([ip.target.host.kind, ip.target.port, ip.proxyHeader], ['ip', 443, false]);
    assert.deepEqual(others, [
      { kind: 'address', address: { family: 'vsock', cid: 16, port: 8000 }, proxyHeader: true },
      { kind: 'address', address: { family: 'unix', path: '/run/x' }, proxyHeader: false },
      { kind: 'http' },
      { kind: 'sni', port: 443 },
      { kind: 'sni', port: 8443 },
      { kind: 'sni', port: 5432, starttls: 'postgres' },
      { kind: 'sni', port: 6432, starttls: 'postgres' },
    ]);
  });

  test('says who may connect', async () => {
    const { listeners } = await plan(
      'allowlist: []\nlisteners:\n- {listen: "vsock:8000", route: http, cids: [16, 17], ip_family: ipv6}\n' +
        '- {listen: "tcp:0.0.0.0:80", route: http, sources: [10.0.0.0/8, "2001:db8::1"]}\n',
    );
    assert.deepEqual(listeners[0]?.cids, [16, 17]);
    assert.equal(listeners[0]?.family, 'ipv6');
    assert.deepEqual(
      listeners[1]?.sources?.map(({ network, prefixLength }) => `${network.text}/${prefixLength}`),
      ['10.0.0.0/8', '2001:db8::1/128'],
    );
  });

  test('needs no allowlist where nothing is asked of it', async () => {
    await plan('listeners:\n- {listen: "tcp:0.0.0.0:443", connect: "vsock:16:443"}\n');
    await plan('listeners:\n- {listen: "vsock:8000", route: http, allowlist: []}\n');
  });

  test('fills in region and domain, and asks for them only where they stand', async () => {
    const { route } = await only(
      'allowlist: [{address: "kms.*.amazonaws.com.cn", port: 443}]\nlisteners:\n- listen: vsock:8000\n  connect: kms.${region}.${domain}:443\n',
      { placement: { region: 'cn-north-1', domain: 'amazonaws.com.cn' } },
    );
    assert(route.kind === 'target' && route.target.host.kind === 'name');
    assert.equal(route.target.host.name, 'kms.cn-north-1.amazonaws.com.cn');
  });
});

suite('the sections of Enclaver', () => {
  test('egress is an HTTP proxy at CID 3 for what egress.allow lists, less every denial', async () => {
    const { policy, ...listener } = await only(
      'allowlist: [{address: a.example, port: 443}]\ndenylist: [{address: 10.1.0.0/16}]\n' +
        'egress:\n  allow:\n  - "*.amazonaws.com"\n  - 10.0.0.0/8\n  deny:\n  - evil.amazonaws.com\n',
    );
    assert.deepEqual(
      { on: listener.on, route: listener.route, place: listener.place },
      { on: { family: 'vsock', cid: 3, port: 10_000 }, route: { kind: 'http' }, place: `${path}:3` },
    );
    assert.deepEqual(texts(policy.allow), ['*.amazonaws.com', '10.0.0.0/8']);
    assert.deepEqual(texts(policy.deny), ['evil.amazonaws.com', '10.1.0.0/16']);
    assert([...policy.allow, ...policy.deny].every(({ ports }) => ports === 'any'));
    assert.deepEqual(policy.allow[1]?.place, `${path}:6`);
  });

  test('a whole manifest is taken as it is; what is not used is named, and what to do in its place', async () => {
    const { listeners, notes = [] } = await plan(
      `version: v1
name: app
target: "app:enclave"
sources: {app: "app:latest", odyn: "odyn:\${TAG}"}
signature: {certificate: ./cert.pem, key: ./key.pem}
defaults: {cpu_count: 2, memory_mb: 4096}
kms_proxy: {listen_port: 9999, endpoints: {us-east-1: kms.us-east-1.amazonaws.com}}
api: {listen_port: 9000}
spire: {server_addr: "spire.example:8081", ca_cert: ./ca.pem, trust_domain: example.org, svid_dir: /run/spire}
egress: {proxy_port: 9002, allow: [host, a.example]}
ingress: [{listen_port: 8001, healthcheck: {interval_seconds: 30, timeout_seconds: 5}}]
`,
      { enclaveCid: 16 },
    );
    assert.equal(listeners.length, 2);
    assert.deepEqual(notes.map(({ level, text }) => `${level} ${text}`).slice(0, 1), [
      `info ${path}:1: of Enclaver, and not used here: version, name, target, sources, signature, defaults, kms_proxy, api, spire, ingress[0].healthcheck`,
    ]);
    const warnings = notes.slice(1).map(({ level, text }) => `${level} ${text}`);
    assert.match(warnings[0] ?? '', /^warn .*f\.yaml:7: kms_proxy is not used here\. Hint: list KMS in egress\.allow/);
    assert.match(warnings[1] ?? '', /^warn .*f\.yaml:8: api is not used here\. Hint: .*\/dev\/nsm/);
    assert.match(warnings[2] ?? '', /^warn .*f\.yaml:9: spire is not used here\. Hint: run the agent/);
    assert.equal(warnings.length, 3);
  });

  test('a list of sources beside egress is refused: it would be thought to restrict clients', async () => {
    await assert.rejects(plan('sources: [10.0.0.0/8]\negress: {allow: [a.example]}\n'), /no listener/);
  });

  test('host, listed as such, is the parent itself; a pattern does not mean it, and deny goes before', async () => {
    const outcome = async (text: string, host: string) => {
      const { policy } = await only(text);
      const target = parseTarget(host, 8080);
      assert(!('problem' in target));
      return begin({ policy, target, client: { cid: 16 }, family: 'any', namedBy: 'client' });
    };
    for (const [text, host] of [
      ['egress: {allow: [a.example]}', 'host'],
      ['egress: {allow: [host], deny: [host]}', 'host'],
      ['egress: {allow: [host], deny: ["**"]}', 'host'],
      ['denylist: [{address: 127.0.0.0/8}]\negress: {allow: [host]}', 'host'],
      ['egress: {allow: [host]}', '127.0.0.1'],
      ['egress: {allow: [host]}', 'host.example'],
    ] as const) {
      assert.equal((await outcome(text, host)).kind, 'denied', text);
    }
    const allowed = await outcome('egress: {allow: [host]}', 'HOST.');
    assert(allowed.kind === 'allowed');
    assert.deepEqual(
      allowed.admitted.map(({ address }) => address.text),
      ['127.0.0.1'],
    );
    assert.equal((await outcome('egress: {allow: ["**"]}', 'host')).kind, 'needs-addresses');
    const { listeners } = await plan(
      'allowlist: [{address: host, port: 8080}]\nlisteners: [{listen: "vsock:10000", route: http}]\n',
    );
    assert.equal(listeners[0]?.policy.allow[0]?.leadsTo, undefined);
  });

  test('egress listens where proxy_port says', async () => {
    const { on } = await only('egress: {allow: [a.example], proxy_port: 9000}\n');
    assert.deepEqual(on, { family: 'vsock', cid: 3, port: 9000 });
  });

  test('egress that allows nothing is no proxy', async () => {
    const { listeners } = await plan(
      'allowlist: []\nlisteners: [{listen: "vsock:10000", route: http}]\negress: {allow: [], deny: [a.example]}\n',
    );
    assert.equal(listeners.length, 1);
  });

  test('ingress leads from every IPv4 address to the same port of the enclave', async () => {
    const { listeners } = await plan('ingress:\n- listen_port: 8443\n- listen_port: "9443"\n', { enclaveCid: 16 });
    assert.deepEqual(
      listeners.map(({ on, route, place }) => ({ on, route, place })),
      [8443, 9443].map((port, index) => ({
        on: { family: 'tcp', ip: '0.0.0.0', port },
        route: { kind: 'address', address: { family: 'vsock', cid: 16, port }, proxyHeader: false },
        place: `${path}:${index + 2}`,
      })),
    );
  });

  test('listeners come in the order of the file', async () => {
    const { listeners } = await plan(
      'ingress: [{listen_port: 8443}]\negress: {allow: [a]}\nlisteners: [{listen: "unix:/x", connect: "unix:/y"}]\n',
      { enclaveCid: 16 },
    );
    assert.deepEqual(
      listeners.map(({ on }) => on.family),
      ['tcp', 'vsock', 'unix'],
    );
  });
});
