/** `vsock-proxy check`, `schema` and misspelt commands, by the built executable. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { run } from './launch.ts';
import { EXECUTABLE } from './proxy.ts';

const CONFIGS = fileURLToPath(new URL('../../configs/', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'vsock-proxy-check-'));
after(() => rmSync(directory, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

/** Runs in an empty network namespace, where no request to the network has an answer. */
function check(...argv: readonly string[]) {
  return run(['unshare', '--net', EXECUTABLE, 'check', ...argv]);
}

const MIXED = file(
  'mixed.yaml',
  `allowlist:
  - {address: localhost, port: 443}
  - {address: "*.example", port: 443}
denylist:
  - {address: evil.example}
listeners:
  - {listen: "unix:${join(directory, 'a.sock')}", route: http}
  - {listen: "vsock:8000", connect: "kms.\${region}.\${domain}:443", allowlist: [{address: "kms.**", port: 443}]}
`,
);
const BROKEN = file('broken.yaml', 'allowlist:\n- {address: a, port: 65979}\nlisteners:\n- {listen: 8000}\nfoo: 1\n');

describe('check', () => {
  it('of a broken file is status 1, with a line for every problem on standard output', async () => {
    const { status, stdout, stderr } = await check('--config', BROKEN);
    assert.deepEqual({ status, stderr }, { status: 1, stderr: '' });
    const lines = stdout.trimEnd().split('\n');
    assert.deepEqual(
      lines.map((line) => /^[^ ]*:(\d+): /.exec(line)?.[1]),
      ['2', '4', '4', '5', undefined, undefined],
    );
    assert(
      lines[0]?.startsWith(`${BROKEN}:2: No port field or invalid type: allowlist[0].port: port 65979 is outside`),
    );
    assert.deepEqual(lines.slice(-2), ['4 problems', 'as the drop-in form reads it: refused']);
  });

  it('of a file that is not there is status 1', async () => {
    const { status, stdout } = await check('--config', join(directory, 'absent.yaml'));
    assert.equal(status, 1);
    assert.match(stdout, /absent\.yaml: Could not open the file: ENOENT/);
  });

  it('of a denied target is status 1, and names the line', async () => {
    const { status, stdout, stderr } = await check('--config', MIXED, 'evil.example', '443');
    assert.deepEqual({ status, stderr }, { status: 1, stderr: '' });
    assert.match(
      stdout,
      /^evil\.example:443: denied\n {2}unix:.*a\.sock: denied: .* by evil\.example \(.*mixed\.yaml:5\)\. Hint: /,
    );
  });

  it('of a target that nothing resolves is status 1 with --resolve', async () => {
    const { status, stdout } = await check('--config', MIXED, 'a.example', '443', '--resolve');
    assert.equal(status, 1);
    assert.match(stdout, /^a\.example:443: undecided\n.*: undecided: Could not resolve a\.example/);
  });

  for (const [argv, says] of [
    [
      ['a.example'],
      /^error: missing argument 'port' behind the host\nUsage: vsock-proxy check \[OPTIONS\] \[host port\] \(more: vsock-proxy check --help\)\n$/,
    ],
    [
      ['--config', MIXED, 'a', '1', '--listener', 'vsock:9'],
      /^error: no listener of the file is at vsock:3:9\. Hint: it has unix:/,
    ],
    [['127.1', '443'], /^error: the host is not valid: /],
    [['--confg', 'x'], /^error: unknown option '--confg' \(Did you mean --config\?\)\n/],
  ] as const) {
    it(`${argv.join(' ').replaceAll(directory, '')} is status 2`, async () => {
      const { status, stdout, stderr } = await check(...argv);
      assert.deepEqual({ status, stdout }, { status: 2, stdout: '' });
      assert.match(stderr, says);
    });
  }

  it('of an allowed target is status 0, without a network', async () => {
    const { status, stdout, stderr } = await check('--config', MIXED, 'a.example', '443');
    assert.deepEqual({ status, stderr }, { status: 0, stderr: '' });
    assert.match(stdout, /^a\.example:443: allowed\n {2}unix:.*: allowed by \*\.example \(.*mixed\.yaml:3\)\n$/);
  });

  it('says of each address whether it is used, with --resolve', async () => {
    const { status, stdout } = await check('--config', MIXED, 'localhost', '443', '--resolve', '--json');
    assert.equal(status, 0);
    const [{ addresses }] = JSON.parse(stdout).verdicts;
    const rule = { address: 'localhost', place: `${MIXED}:2` };
    assert.deepEqual(addresses[0], { address: '127.0.0.1', admitted: true, reason: null, rule });
  });

  it('of every file that comes with the package is status 0', async () => {
    const paths = ['vsock-proxy.yaml', ...readdirSync(join(CONFIGS, 'examples')).map((name) => `examples/${name}`)];
    for (const path of paths) {
      const { status, stdout } = await check('--config', join(CONFIGS, path));
      assert.equal(status, 0, stdout);
    }
  });

  it('reads a pipe', async () => {
    const yaml = 'allowlist: [{address: a.example, port: 443}]';
    const command = `echo "$1" | "$0" check --config /dev/stdin a.example 443`;
    const { status, stdout } = await run(['sh', '-c', command, EXECUTABLE, yaml]);
    assert.equal(status, 0);
    assert.match(stdout, /allowed by a\.example \(\/dev\/stdin:1\)/);
  });
});

describe('other commands', () => {
  it('schema prints a JSON Schema that has a description for every key', async () => {
    const { status, stdout, stderr } = await run([EXECUTABLE, 'schema']);
    assert.deepEqual({ status, stderr }, { status: 0, stderr: '' });
    const schema = JSON.parse(stdout);
    assert.equal(schema.$schema, 'https://json-schema.org/draft/2020-12/schema');
    for (const [key, { description }] of Object.entries<{ description: string }>(schema.properties))
      assert(description, key);
  });

  it('a misspelt one is status 2, with the one that was meant', async () => {
    const { status, stderr } = await run([EXECUTABLE, 'chekc', '--config', MIXED]);
    assert.equal(status, 2);
    assert.match(stderr, /^error: unknown command "chekc" \(Did you mean check\?\)\n/);
  });

  for (const command of ['serve', 'check', 'schema', 'kms-endpoint']) {
    it(`${command} --help fits a terminal`, async () => {
      const { status, stdout, stderr } = await run([EXECUTABLE, command, '--help']);
      assert.deepEqual({ status, stderr }, { status: 0, stderr: '' });
      assert(stdout.startsWith(`Usage: vsock-proxy ${command} [OPTIONS]`));
      for (const line of stdout.split('\n')) assert(line.length <= 80, line);
    });
  }
});

describe('the form of the AWS proxy', () => {
  it('reports the first of several problems, and the command that lists the others', async () => {
    const { status, stderr } = await run([EXECUTABLE, 'unix:/x', 'a', '443', '--config', BROKEN]);
    assert.equal(status, 1);
    assert.match(
      stderr,
      /^Error: "Error at checking the allowlist: listeners\[0\]: neither connect nor route .* 3 more problems are told by: vsock-proxy check --config .*broken\.yaml"\n$/,
    );
  });
});
