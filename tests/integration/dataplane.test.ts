import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { sha256 } from '../../src/dataplane/process.ts';
import { testDeciding } from '../dataplane/deciding.ts';
import { testEndings } from '../dataplane/ending.ts';
import { testFigures } from '../dataplane/figures-suite.ts';
import { openSocketHarness } from '../dataplane/sockets.ts';
import { testDataPlane } from '../dataplane/suite.ts';

const ADDON = new URL('../../build/vsock.node', import.meta.url);
if (!existsSync(ADDON)) throw new Error('build/vsock.node is missing. Build it: make addon');

for (const threads of [1, 2]) {
  testDataPlane(`the addon with ${threads} relay threads`, () => openSocketHarness(threads));
  testDeciding(`the addon with ${threads} relay threads`, () => openSocketHarness(threads));
  testFigures(`the addon with ${threads} relay threads`, () => openSocketHarness(threads));
  testEndings(`the addon with ${threads} relay threads`, () => openSocketHarness(threads));
}

test('the digest of a text is that of SHA-256, wherever its last block ends', () => {
  for (let length = 0; length < 200; length += 1) {
    const bytes = Buffer.alloc(length, length);
    assert.equal(sha256(bytes), createHash('sha256').update(bytes).digest('hex'), `${length} bytes`);
  }
});
