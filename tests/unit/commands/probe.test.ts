import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseProbeCommand } from '../../../src/commands/probe.ts';

suite('probe', () => {
  for (const [problem, ...argv] of [
    ['no address'],
    ['an address without a CID', 'vsock:8000'],
    ['an empty name for TLS', 'vsock:3:8000', '--tls', ''],
    ['no time', 'vsock:3:8000', '--timeout', '0'],
  ] as const) {
    test(`refused: ${problem}`, () => {
      assert.throws(() => parseProbeCommand(argv), { code: 'usage' });
    });
  }
});
