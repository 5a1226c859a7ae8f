import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, suite, test } from 'node:test';
import * as z from 'zod';
import { loadSettings } from '../../src/config/resolve.ts';
import { fileSchema } from '../../src/config/schema.ts';
import { VsockProxyError } from '../../src/errors.ts';

const directory = mkdtempSync(join(tmpdir(), 'vsock-proxy-config-'));
after(() => rmSync(directory, { recursive: true }));

function write(name: string, content: string | Buffer): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

function problem(path: string): string {
  try {
    loadSettings(path);
  } catch (error) {
    assert(error instanceof VsockProxyError, String(error));
    assert.equal(error.code, 'config');
    return error.line;
  }
  return assert.fail(`${path} was taken`);
}

/** As a user without rights, where the tests run as root. */
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

  test('is larger than a mebibyte, and be it endless', () => {
    assert.match(
      problem(write('large.yaml', '#'.repeat(1024 * 1024 + 1))),
      /^Could not read the file: it is larger than 1048576 bytes/,
    );
    assert.match(problem('/dev/zero'), /^Could not read the file: it is larger/);
  });

  test('has a name that would spoil the message', () => {
    assert.match(problem(join(directory, 'a\nb\u001b[2J')), /^Could not open the file: .*\/a\\nb\\u\{1b\}\[2J\)/);
    assert.match(problem(write('a\rb', '')), /^No allowlist field: .*\/a\\rb:1\)/);
  });
});

suite('settings', () => {
  const path = write('good.yaml', 'allowlist:\n- {address: a.example, port: 443}\nlimits: {connections: 7}\n');

  test('the command line comes before the file, the file before the default', () => {
    assert.equal(loadSettings(path, { connections: 9 }).limits.connections, 9);
    assert.equal(loadSettings(path).limits.connections, 7);
    assert.equal(loadSettings(write('short.yaml', 'allowlist: []')).limits.connections, 4);
  });

  test('rules carry their text and their place', () => {
    assert.deepEqual(loadSettings(path), {
      path,
      policy: {
        allow: [
          {
            address: { kind: 'name', name: 'a.example' },
            ports: [{ from: 443, to: 443 }],
            text: 'a.example',
            place: `${path}:2`,
          },
        ],
        deny: [],
      },
      limits: { connections: 7 },
      timeouts: { connectMs: 10_000, idleMs: 3_600_000, drainMs: 10_000 },
    });
  });

  test('a file of exactly one mebibyte is read whole', () => {
    const text = 'allowlist: [{address: a.example, port: 443}]\n#';
    assert.equal(loadSettings(write('exact.yaml', text.padEnd(1024 * 1024, '#'))).policy.allow.length, 1);
  });

  test('a pipe is read to its end', () => {
    const pipe = join(directory, 'pipe');
    execFileSync('mkfifo', [pipe]);
    spawn('sh', ['-c', 'exec >"$0"; printf "allowlist: [{address: a,"; sleep 0.1; printf "port: 1}]"', pipe]);
    assert.equal(loadSettings(pipe).policy.allow.length, 1);
  });
});

test('every key of the file has a description, and a default where it may be left out', () => {
  const described: string[] = [];
  const walk = (key: string, schema: z.core.JSONSchema.BaseSchema) => {
    assert(schema.description, `${key} is described`);
    described.push(key);
    for (const [name, inner] of Object.entries(schema.properties ?? {})) {
      assert(typeof inner === 'object');
      assert(schema.required?.includes(name) || inner.default !== undefined, `${key}.${name} has a default`);
      walk(`${key}.${name}`, inner);
    }
    if (typeof schema.items === 'object' && !Array.isArray(schema.items)) walk(`${key}[]`, schema.items);
  };
  walk('', z.toJSONSchema(fileSchema, { io: 'input' }));
  assert(described.includes('.allowlist[].port') && described.includes('.timeouts.idle'));
});
