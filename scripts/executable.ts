/**
 * executable.ts ARCH NODE BUNDLE PARTS ADDON FORWARDER OUTPUT: builds the one-file executable with pkg.
 *
 * ARCH (x64 or arm64) is the architecture of the target machine. NODE is the stripped binary of Node.js for it, of the
 * version that runs this script. The output depends only on the contents of the inputs, not on their paths.
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
 * The options with which Node.js starts inside the executable.
 *
 * Measured with Node 24.21 on x86-64: --max-semi-space-size saves 1.6 MiB of the idle process, --v8-pool-size four
 * threads. These options change start-up time or memory by no more than the noise, and are left out: --single-threaded,
 * --single-threaded-gc, --lite-mode, --optimize-for-size, --no-opt, --max-lazy, --stack-size, --no-flush-bytecode,
 * --memory-saver-mode, --initial-old-space-size, --no-lazy-feedback-allocation, --no-experimental-require-module.
 */
const execArgv = [
  '--jitless', // no memory that is writable and executable
  '--disable-sigusr1', // otherwise the signal opens an inspector on a TCP port
  '--v8-pool-size=0',
  '--max-semi-space-size=1',
];

// pkg runs Node's generator inside a directory that it makes in TMPDIR. The generator writes the given path of the
// entry into the executable. A path relative to that directory is the same for every location of the project.
const work = mkdtempSync(join(dirname(output), 'executable-'));
process.env.TMPDIR = work;
const fromWork = (path: string) => join('..', relative(work, path));

const seaConfig = {
  main: fromWork(bundle),
  disableExperimentalSEAWarning: true,
  useSnapshot: false,
  useCodeCache: false, // starts nearly as fast without it, and it prevents cross-building and equal bytes
  execArgv,
  execArgvExtension: 'none', // NODE_OPTIONS is for other programs
  assets: { parts: fromWork(parts), 'vsock.node': fromWork(addon), 'vsock-forwarder': fromWork(forwarder) },
};

try {
  const built = join(work, 'built');
  await pkg.default(bundle, {
    nodePath: node,
    useLocalNode: true, // for another architecture, the generator of this process's Node.js runs instead
    signature: false,
    targets: [{ nodeRange: 'node24', platform: 'linux', arch, output: built }],
    seaConfig,
  });
  renameSync(built, output); // a running executable keeps its file
} finally {
  rmSync(work, { recursive: true });
}
