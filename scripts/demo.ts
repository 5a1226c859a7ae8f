/**
 * Runs tests/e2e/guest/demo.py on a virtual parent, for machines without vsock of their own. scripts/demo.sh calls it.
 */
import { Machine, PROJECT } from '../tests/e2e/machine.ts';

await using parent = await Machine.start({
  memoryMib: 1024,
  files: ['build/vsock-proxy', 'tests/e2e/guest'],
});
const { status, stdout, stderr } = await parent.run(
  `unshare --net --mount python3 ${PROJECT}/tests/e2e/guest/demo.py ${PROJECT}/build/vsock-proxy 3`,
);
process.stdout.write(stdout);
process.stderr.write(stderr);
process.exitCode = status ?? 1;
