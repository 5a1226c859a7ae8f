/**
 * executable.ts ARCH NODE BUNDLE PARTS ADDON FORWARDER OUTPUT: makes the one-file executable, by pkg.
 *
 * ARCH (x64 or arm64) is that of the machine that is to run it, and NODE the stripped Node binary for it, of the
 * version that runs this script. The output depends on the contents of the inputs only, not on where they are.
 */
import { mkdtempSync, renameSync, rmSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import pkg from '@yao-pkg/pkg/lib-es5/sea.js';

const [arch, ...paths] = process.argv.slice(2);
const [node, bundle, parts, addon, forwarder, output] = paths.map((path) => resolve(path));
if (!arch || !node || !bundle || !parts || !addon || !forwarder || !output) {
  throw new Error('usage: executable.ts ARCH NODE BUNDLE PARTS ADDON FORWARDER OUTPUT');
}

/**
 * How Node is started inside the executable.
 *
 * Measured, Node 24.21, x86-64: --max-semi-space-size takes 1.6 MiB off the idle process, --v8-pool-size four threads.
 * Without any effect on start-up time or memory beyond the noise, and so not here: --single-threaded,
 * --single-threaded-gc, --lite-mode, --optimize-for-size, --no-opt, --max-lazy, --stack-size, --no-flush-bytecode,
 * --memory-saver-mode, --initial-old-space-size, --no-lazy-feedback-allocation, --no-experimental-require-module.
 */
const execArgv = [
  '--jitless', // no memory that is writable and executable
  '--disable-sigusr1', // else the signal opens an inspector on a TCP port
  '--v8-pool-size=0',
  '--max-semi-space-size=1',
];

// pkg runs Node's generator inside a directory that it makes in TMPDIR, and the generator writes the entry's path into
// the executable as it was given. A path relative to that directory is the same wherever the project is.
const work = mkdtempSync(join(dirname(output), 'executable-'));
process.env.TMPDIR = work;
const fromWork = (path: string) => join('..', relative(work, path));

const seaConfig = {
  main: fromWork(bundle),
  disableExperimentalSEAWarning: true,
  useSnapshot: false,
  useCodeCache: false, // nearly as fast without, and cross-building and equal bytes need it off
  execArgv,
  execArgvExtension: 'none', // NODE_OPTIONS is for other programs
  assets: { parts: fromWork(parts), 'vsock.node': fromWork(addon), 'vsock-forwarder': fromWork(forwarder) },
};

try {
  const built = join(work, 'built');
  await pkg.default(bundle, {
    nodePath: node,
    useLocalNode: true, // when `node` is for another machine, this process's Node generates in its place
    signature: false,
    targets: [{ nodeRange: 'node24', platform: 'linux', arch, output: built }],
    seaConfig,
  });
  renameSync(built, output); // a running executable stays what it is
} finally {
  rmSync(work, { recursive: true });
}
