import { existsSync } from 'node:fs';
import { testAsking } from '../dataplane/asking.ts';
import { testEndings } from '../dataplane/ending.ts';
import { openSocketStage } from '../dataplane/sockets.ts';
import { testDataPlane } from '../dataplane/suite.ts';

const ADDON = new URL('../../build/vsock.node', import.meta.url);
if (!existsSync(ADDON)) throw new Error('build/vsock.node is missing. Build it: make addon');

for (const threads of [1, 2]) {
  testDataPlane(`the addon with ${threads} relay threads`, () => openSocketStage(threads));
  testAsking(`the addon with ${threads} relay threads`, () => openSocketStage(threads));
  testEndings(`the addon with ${threads} relay threads`, () => openSocketStage(threads));
}
