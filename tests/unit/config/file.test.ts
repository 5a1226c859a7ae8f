import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, suite, test } from 'node:test';
import { parseTargetHost, type TcpPort } from '../../../src/access/address.ts';
import { loadProxyPlan } from '../../../src/config/proxy-plan.ts';
import type { Schema } from '../../../src/config/schema/builder.ts';
import { fileSchema, isRequiredKey, metaOf, partsOf } from '../../../src/config/schema/file.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';

const TARGET = { host: parseTargetHost('a.example'), port: 443 as TcpPort };
const directory = mkdtempSync(join(tmpdir(), 'vsock-proxy-config-'));
after(() => rmSync(directory, { recursive: true }));

function write(name: string, content: string | Buffer): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

function plan(configPath: string, connections?: number) {
  const listenOn = { family: 'unix', path: '/x' } as const;
  const route = { listenOn, target: TARGET, written: 'a.example', family: 'any', configPath } as const;
  const log = { warn: (message: string) => assert.fail(message) };
  return loadProxyPlan(connections === undefined ? route : { ...route, connections }, log);
}

function problem(path: string): string {
  try {
    plan(path);
  } catch (error) {
    assert(error instanceof VsockProxyError, String(error));
    assert.equal(error.code, 'config');
    return error.line;
  }
  return assert.fail(`${path} was taken`);
}

/** Runs as a user without privileges, if the tests run as root. */
function withoutRights(action: () => void): void {
  const user = process.geteuid?.();
  if (user === 0) process.seteuid?.(65534);
  try {
    action();
  } finally {
    if (user === 0) process.seteuid?.(user);
  }
}

suite('configuration file that cannot be used', () => {
  test('does not exist', () => {
    const path = join(directory, 'absent.yaml');
    assert.equal(
      problem(path),
      `Could not open the file: ENOENT: no such file or directory (${path}). Hint: create it, or name another file with --config`,
    );
  });

  test('may not be read', () => {
    const path = write('secret.yaml', 'allowlist: []');
    chmodSync(directory, 0o755);
    chmodSync(path, 0);
    withoutRights(() => assert.match(problem(path), /^Could not open the file: EACCES: permission denied/));
  });

  test('lies below something that is no directory', () => {
    assert.match(problem(join(write('plain', ''), 'f.yaml')), /^Could not open the file: ENOTDIR: not a directory/);
  });

  test('is a directory', () => {
    const path = join(directory, 'folder');
    mkdirSync(path);
    assert.match(problem(path), /^Could not read the file: EISDIR: .*Hint: name a file with --config, not a directory/);
  });

  test('is not text', () => {
    const elf = Buffer.from([0x7f, 0x45, 0x4c, 0x46, 0x02, 0x01, 0xff, 0xfe]);
    assert.match(problem(write('elf', elf)), /^Could not read the file: it is not UTF-8 text/);
    const utf16 = Buffer.from('\ufeffallowlist: []', 'utf16le');
    assert.match(
      problem(write('utf16.yaml', utf16)),
      /^Could not read the file: it is not UTF-8 text.*save it as UTF-8/,
    );
  });

  test('is larger than 8 MiB, and be it endless', () => {
    assert.match(
      problem(write('large.yaml', '#'.repeat(8 * 1024 * 1024 + 1))),
      /^Could not read the file: it is larger than 8388608 bytes/,
    );
    assert.match(problem('/dev/zero'), /^Could not read the file: it is larger/);
  });

  test('has a name that would spoil the message', () => {
    assert.match(problem(join(directory, 'a\nb\u001b[2J')), /^Could not open the file: .*\/a\\nb\\u\{1b\}\[2J\)/);
    assert.match(problem(write('a\rb', '')), /^No allowlist field: .*\/a\\rb:1\)/);
  });
});

suite('the plan of the form of the AWS proxy', () => {
  const path = write('good.yaml', 'allowlist:\n- {address: a.example, port: 443}\nlimits: {connections: 7}\n');
  const connections = (file: string, option?: number) => plan(file, option).listeners[0].limits.connections;

  test('the command line comes before the file, the file before the default', () => {
    assert.equal(connections(path, 9), 9);
    assert.equal(connections(path), 7);
    assert.equal(connections(write('short.yaml', 'allowlist: []')), 4);
  });

  test('is one listener with the global rules, each with its text and its place', () => {
    const text = 'allowlist:\n- {address: a.example, port: 443}\ndenylist:\n- {address: 10.0.0.0/8, cids: [16]}\n';
    const rules = write('rules.yaml', `${text}limits: {rate_per_client: 5}\ntimeouts: {head: 1s}\n`);
    const { listeners, drainMs } = plan(rules);
    const [{ policy, ...listener }] = listeners;
    assert.deepEqual(listener, {
      on: { family: 'unix', path: '/x' },
      route: { kind: 'target', target: TARGET, written: 'a.example', proxyHeader: false },
      family: 'any',
      limits: { connections: 4, connectionsPerClient: 0, ratePerClient: 5, vsockBufferKib: 1024 },
      timeouts: { connectMs: 10_000, idleMs: 3_600_000, headMs: 1000, reuseMs: 15_000 },
    });
    assert.equal(drainMs, 10_000);
    assert.deepEqual(policy.allow, [
      {
        address: { kind: 'name', name: 'a.example' },
        ports: [{ from: 443, to: 443 }],
        text: 'a.example',
        place: `${rules}:2`,
      },
    ]);
    assert.deepEqual(
      policy.deny.map(({ text, ports, cids, place }) => [text, ports, cids, place]),
      [['10.0.0.0/8', 'any', [16], `${rules}:4`]],
    );
  });

  test('needs an allowlist, also where the file has listeners', () => {
    const listener = 'listeners:\n- {listen: "unix:/x", route: http, allowlist: []}\n';
    assert.match(problem(write('listeners.yaml', listener)), /^No allowlist field: allowlist: missing/);
  });

  test('the first problem that is not passed over says how many more there are, and what tells them', () => {
    const path = write('three.yaml', 'allowlist:\n- {address: a, port: 0}\n- {address: a}\nlimits: {foo: 1}\n');
    assert.match(
      problem(path),
      /^limits\.foo: unknown key .*three\.yaml:4\)\. Hint: .*; 2 more problems are told by: vsock-proxy check --config \/.*three\.yaml$/,
    );
  });

  test('servers are reached through the upstream proxy of the file', () => {
    const rules = 'allowlist: [{address: a.example, port: 443}]\n';
    const [listener] = plan(write('proxy.yaml', `${rules}upstream_proxy: http://192.0.2.1:3128\n`)).listeners;
    assert.equal(listener.upstreamProxy?.port, 3128);
    assert.equal(plan(write('direct.yaml', rules)).listeners[0].upstreamProxy, undefined);
  });

  test('metrics and log have effect, and listeners have none', () => {
    const { listeners, metrics, logFormat } = plan(
      write(
        'observed.yaml',
        'allowlist: [{address: a.example, port: 443}]\nlisteners: [{listen: "vsock:9000", route: http}]\n' +
          'metrics: {listen: "tcp:127.0.0.1:9465"}\nlog: {format: json}\n',
      ),
    );
    assert.equal(listeners.length, 1);
    assert.deepEqual(metrics?.listen, { family: 'tcp', ip: '127.0.0.1', port: 9465 });
    assert.equal(logFormat, 'json');
  });

  test('a file of exactly 8 MiB is read whole', () => {
    const text = 'allowlist: [{address: a.example, port: 443}]\n#';
    assert.equal(plan(write('exact.yaml', text.padEnd(8 * 1024 * 1024, '#'))).listeners[0].policy.allow.length, 1);
  });

  test('a pipe is read to its end', () => {
    const pipe = join(directory, 'pipe');
    execFileSync('mkfifo', [pipe]);
    spawn('sh', ['-c', 'exec >"$0"; printf "allowlist: [{address: a,"; sleep 0.1; printf "port: 1}]"', pipe]);
    assert.equal(plan(pipe).listeners[0].policy.allow.length, 1);
  });
});

test('every key of the file is described, and says what holds where it is left out', () => {
  const described: string[] = [];
  const walk = (key: string, schema: Schema, isRequired: boolean) => {
    const { description, absent } = metaOf(schema);
    const { item, keys = {}, default: written } = partsOf(schema);
    assert(/^\S.*[^.]$/s.test(description), `${key}: ${description}`);
    if (!isRequired && key !== '') assert(absent !== undefined || written !== undefined, `${key} has a default`);
    described.push(key);
    if (item !== undefined) walk(`${key}[]`, item, true);
    for (const [name, inner] of Object.entries(keys)) walk(`${key}.${name}`, inner, isRequiredKey(inner));
  };
  walk('', fileSchema, true);
  for (const key of ['.allowlist[].port', '.timeouts.idle', '.listeners[].limits.rate_per_client', '.egress.allow[]']) {
    assert(described.includes(key), key);
  }
});
