import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseServeCommand } from '../../src/cli/serve.ts';
import { VsockProxyError } from '../../src/errors.ts';

suite('serve', () => {
  for (const [problem, ...argv] of [
    ['an unknown option', '--port', '8000'],
    ['an argument', 'my.yaml'],
    ['a CID that is none', '--enclave-cid', 'my-enclave'],
    ['a CID for any', '--enclave-cid', '4294967295'],
    ['--config without a file', '--config'],
  ] as const) {
    test(`refused: ${problem}`, () => {
      assert.throws(
        () => parseServeCommand(argv),
        (error) => error instanceof VsockProxyError && error.code === 'usage',
      );
    });
  }
  test('without options it reads the file of the service', () => {
    const parsed = parseServeCommand([]);
    assert.deepEqual(parsed, { kind: 'run', arguments: { configPath: '/etc/nitro_enclaves/vsock-proxy.yaml' } });
  });
  test('with options it reads that file, for that enclave', () => {
    const parsed = parseServeCommand(['--config', 'my.yaml', '--enclave-cid', '16']);
    assert.deepEqual(parsed, { kind: 'run', arguments: { configPath: 'my.yaml', enclaveCid: 16 } });
  });
  test('--help shows a complete example', () => {
    const parsed = parseServeCommand(['--help']);
    assert(parsed.kind === 'text');
    assert.match(parsed.text, /listeners:\n/);
  });
});
