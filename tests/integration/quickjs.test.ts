/** The engine of vsock-enclave: what it refuses, and what it survives. */
import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { test } from 'node:test';
import { Program } from '../program.ts';
import { decode, encode } from '../wire.ts';
import { run } from './launch.ts';
import { afterTest } from './loopback.ts';
import { ENCLAVE } from './proxy.ts';

const PARSERS = 'build/parsers-quickjs';
const PATIENCE_MS = 30_000;
const MIB = 1024 * 1024;

function startParsers(): Program {
  const program = new Program(PARSERS, []);
  afterTest(() => program.kill());
  return program;
}

test('text is never compiled, and a lack of memory or stack is an exception; the process goes on', async () => {
  const parsers = startParsers();
  const limits = encode({ parser: 'limits', bytes: new Uint8Array() });
  parsers.stdin.write(limits);
  parsers.stdin.write(limits);
  const [first, second] = (await parsers.stdout.match(/^.*\n.*\n/, PATIENCE_MS))[0].trimEnd().split('\n').map(decode);
  assert.deepEqual(first, {
    value: {
      eval: 'TypeError',
      function: 'TypeError',
      'constructor of a function': 'TypeError',
      'a call without end': 'InternalError',
      'a text without end': 'InternalError',
      'a pattern without end': 'SyntaxError',
      'a value without end': 'SyntaxError',
      'memory beyond the limit': 'InternalError',
    },
  });
  assert.deepEqual(second, first);
});

test('no memory is writable and executable', async () => {
  const parsers = startParsers();
  parsers.stdin.write(encode({ parser: 'request', bytes: Buffer.from('GET') }));
  await parsers.stdout.match(/\n/, PATIENCE_MS);
  const maps = readFileSync(`/proc/${parsers.pid}/maps`, 'utf8');
  assert.match(maps, /parsers-quickjs/);
  assert.doesNotMatch(maps, / rwx/);
});

test('a file with endless nesting is refused in one line', async () => {
  const config = `/proc/self/fd/0`;
  const deep = new Program(ENCLAVE, ['enclave', '--config', config, '--', 'true']);
  afterTest(() => deep.kill());
  deep.stdin.end(`egress: ${'['.repeat(100_000)}`);
  const { status, stderr } = await deep.outcome(PATIENCE_MS);
  assert.equal(status, 1, stderr);
  assert.match(stderr, /^Error: "[^\n]*"\n$/);
});

for (const [arch, file, front] of [
  ['x86_64', ENCLAVE, []],
  ['aarch64', 'build/aarch64/vsock-enclave', ['qemu-aarch64']],
] as const) {
  test(`${arch}: one static file of less than 4 MiB, which prints its name and version`, async () => {
    assert(statSync(file).size < 4 * MIB);
    const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
    const expected = { status: 0, stdout: `vsock-enclave ${version}\n`, stderr: '' };
    assert.deepEqual(await run([...front, file, '--version']), expected);
    assert.match((await run([...front, file, '--help'])).stdout, /^Usage: vsock-enclave/);
    const unknown = await run([...front, file, 'serve']);
    assert.deepEqual([unknown.status, unknown.stdout], [2, '']);
    assert.match(unknown.stderr, /^error: unknown command "serve"\nUsage: vsock-enclave/);
  });
}
