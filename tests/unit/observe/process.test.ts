import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { ProcessWatch } from '../../../src/observe/process.ts';

test('the longest delay of the event loop is told once', async () => {
  const watch = new ProcessWatch();
  await setTimeout(150);
  const end = performance.now() + 400;
  while (performance.now() < end);
  await setTimeout(150);
  const { loopDelaySeconds } = watch.read();
  assert.ok(loopDelaySeconds >= 0.25 && loopDelaySeconds < 60, `${loopDelaySeconds} s`);
  assert.equal(watch.read().loopDelaySeconds, 0);
  watch.stop();
});

test('figures of this process are plausible', () => {
  const watch = new ProcessWatch();
  const { cpuSeconds, residentBytes, descriptors = 0, descriptorLimit = 0 } = watch.read();
  watch.stop();
  assert.ok(cpuSeconds > 0 && residentBytes > 1e6 && descriptors > 3 && descriptorLimit > descriptors);
});
