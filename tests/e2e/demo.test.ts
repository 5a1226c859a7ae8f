/**
 * `make demo`, where this machine has no vsock of its own.
 *
 * Platforms: bookworm
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { Program } from '../program.ts';

const DEMO_MS = 600_000;

test('demo: runs on a virtual parent', async () => {
  const demo = new Program(process.execPath, [join(import.meta.dirname, '../../scripts/demo.ts')]);
  const { status, stdout, stderr } = await demo.outcome(DEMO_MS);
  assert.equal(status, 0, stderr);
  assert.match(stdout, /CID 3, port 8000.*200 hello from .*Accepted connection on cid: 1 .*not allowed/s);
});
