import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseServeCommand } from '../../../src/commands/serve.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';

suite('serve', () => {
  for (const [problem, ...argv] of [
    ['an unknown option', '--port', '8000'],
    ['an argument', 'my.yaml'],
    ['a CID that is none', '--enclave-cid', 'my-enclave'],
    ['a CID for any', '--enclave-cid', '4294967295'],
    ['--config without a file', '--config'],
    ['an empty name of an enclave', '--enclave-name', ''],
    ['an empty program', '--nitro-cli', ''],
    ['an enclave by both CID and name', '--enclave-cid', '16', '--enclave-name', 'app'],
  ] as const) {
    test(`refused: ${problem}`, () => {
      assert.throws(
        () => parseServeCommand(argv),
        (error) => error instanceof VsockProxyError && error.code === 'usage',
      );
    });
  }
  test('a file without --config in front: the hint puts it there', () => {
    assert.throws(() => parseServeCommand(['my.yaml']), {
      message: /^too many arguments.*: my\.yaml$/,
      hint: /--config "my\.yaml"$/,
    });
  });
  test('without options it reads the file of the service', () => {
    const parsed = parseServeCommand([]);
    assert.deepEqual(parsed, {
      kind: 'run',
      arguments: { configPath: '/etc/nitro_enclaves/vsock-proxy.yaml', nitroCli: 'nitro-cli', watch: false },
    });
  });
  test('with options it reads that file, for that enclave', () => {
    const parsed = parseServeCommand(['--config', 'my.yaml', '--enclave-cid', '16']);
    assert.deepEqual(parsed, {
      kind: 'run',
      arguments: { configPath: 'my.yaml', enclaveCid: 16, nitroCli: 'nitro-cli', watch: false },
    });
  });
  test('an enclave by its name, and the program that knows names', () => {
    const parsed = parseServeCommand(['--enclave-name', 'app', '--nitro-cli', '/opt/nitro-cli']);
    assert(parsed.kind === 'run');
    assert.deepEqual([parsed.arguments.enclaveName, parsed.arguments.nitroCli], ['app', '/opt/nitro-cli']);
  });
  test('--watch', () => {
    const parsed = parseServeCommand(['--watch']);
    assert(parsed.kind === 'run');
    assert.equal(parsed.arguments.watch, true);
  });
  test('--help shows a complete example', () => {
    const parsed = parseServeCommand(['--help']);
    assert(parsed.kind === 'text');
    assert.match(parsed.text, /listeners:\n/);
  });
});
