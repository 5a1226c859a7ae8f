/**
 * Half a minute of what `make soak` does for ten.
 *
 * Platforms: none
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { Program } from '../program.ts';

const MINUTES = '0.5';
/** The machine may have other work: that it recovers is tested here, and how fast by `make soak`. */
const RECOVERY_MS = '30000';
const SOAK_MS = 300_000;

test('soak: transfers are complete or visibly failed, whatever is killed; nothing grows', async (t) => {
  const soak = new Program(process.execPath, [join(import.meta.dirname, 'soak/soak.ts'), MINUTES, RECOVERY_MS]);
  const { status, stdout, stderr } = await soak.outcome(SOAK_MS);
  assert.equal(status, 0, stdout + stderr);
  t.diagnostic(stdout);
});
