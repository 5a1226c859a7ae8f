import { existsSync } from 'node:fs';
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
