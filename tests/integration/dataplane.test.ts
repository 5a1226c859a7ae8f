import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { openDataPlane } from '../../src/dataplane/addon.ts';
import type { DataPlane } from '../../src/dataplane/contract.ts';
import { sha256 } from '../../src/dataplane/process.ts';
import { testDeciding } from '../dataplane/deciding.ts';
import { testEndings } from '../dataplane/ending.ts';
import { testFigures } from '../dataplane/figures-suite.ts';
import { DATAPLANE_QUICKJS, openRemoteDataPlane } from '../dataplane/quickjs/remote.ts';
import { testReuse } from '../dataplane/reuse.ts';
import { openSocketHarness } from '../dataplane/sockets.ts';
import { testDataPlane } from '../dataplane/suite.ts';

/** Each with the target that builds it. */
const BINDINGS = [
  { name: 'the addon', file: 'build/vsock.node', target: 'addon', open: openDataPlane },
  { name: 'QuickJS', file: DATAPLANE_QUICKJS, target: 'dataplane-quickjs', open: openRemoteDataPlane },
] as const;

for (const { name, file, target, open } of BINDINGS) {
  if (!existsSync(file)) throw new Error(`${file} is missing. Build it: make ${target}`);
  for (const threads of [1, 2]) {
    const title = `${name} with ${threads} relay threads`;
    const openHarness = () => openSocketHarness(threads, open);
    testDataPlane(title, openHarness);
    testDeciding(title, openHarness);
    testFigures(title, openHarness);
    testEndings(title, openHarness);
    testReuse(title, openHarness);
  }
}

test('two data planes at a time are independent, and a third one opens after they have stopped', () => {
  const nothing = () => undefined;
  const open = () =>
    openDataPlane(
      { onProgress: nothing, onClose: nothing, onFault: nothing, onDecisionRequest: nothing },
      { threads: 1 },
    );
  const listen = (plane: DataPlane) =>
    plane.listen({
      kind: 'fixed',
      on: { family: 'tcp', ip: '127.0.0.1', port: 0 },
      limits: { connections: 1, connectionsPerClient: 0, ratePerClient: 0 },
      admission: {},
      timeouts: { connectMs: 1000, idleMs: 0, headMs: 1000, reuseMs: 0 },
      report: 'failures',
    }).id;
  const idsOf = (plane: DataPlane) => plane.counters().map(({ listener }) => listener);
  const [one, other] = [open(), open()];
  const ids = [listen(one), listen(one)];
  assert.deepEqual(idsOf(one), ids);
  assert.deepEqual(idsOf(other), []);
  one.stop();
  const third = open();
  const id = listen(other);
  assert.deepEqual(idsOf(other), [id]);
  assert.deepEqual(idsOf(third), []);
  for (const plane of [other, third]) plane.stop();
});

test('the digest of a text is that of SHA-256 for every length of the last block', () => {
  for (let length = 0; length < 200; length += 1) {
    const bytes = Buffer.alloc(length, length);
    assert.equal(sha256(bytes), createHash('sha256').update(bytes).digest('hex'), `${length} bytes`);
  }
});
