/**
 * executable.ts ARCH NODE BUNDLE PARTS ADDON FORWARDER OUTPUT: builds the one-file executable with pkg.
 *
 * ARCH (x64 or arm64) is the architecture of the target machine. NODE is the stripped binary of Node.js for it, of the
 * version that runs this script. The output depends only on the contents of the inputs, not on their paths.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
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
const code = join(work, 'code');
const fromWork = (path: string) => join('..', relative(work, path));

const seaConfig = {
  main: fromWork(bundle),
  disableExperimentalSEAWarning: true,
  useSnapshot: false,
  useCodeCache: false, // of the entry only, which is small, and with other bytes each time
  execArgv,
  execArgvExtension: 'none', // NODE_OPTIONS is for other programs
  assets: {
    parts: fromWork(parts),
    code: fromWork(code),
    'vsock.node': fromWork(addon),
    'vsock-forwarder': fromWork(forwarder),
  },
};

try {
  if (arch === process.arch) {
    for (const [step, ...options] of [[compile, '--hash-seed=1'], [verify]] as const) {
      const args = [...execArgv, ...options, '--eval', `(${String(step)})(require)`, parts, code];
      execFileSync(node, args, { env: {}, stdio: 'inherit' });
    }
  } else {
    writeFileSync(code, '{}\n'); // the program compiles the parts itself
  }
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

/**
 * Runs in the Node.js of the executable: PARTS CODE, see scripts/bundle.ts. CODE gets the bytecode of all functions of
 * each part, in the same form as PARTS. It saves a quarter of the time of a start.
 *
 * V8 uses bytecode only if its version and its options are the same as here. The seed of its hashes is fixed here, as
 * two builds would differ otherwise, and is random again in the executable.
 */
function compile(builtin: NodeJS.Require): void {
  const { readFileSync, writeFileSync } = builtin('node:fs') as typeof import('node:fs');
  const { setFlagsFromString } = builtin('node:v8') as typeof import('node:v8');
  const { Script } = builtin('node:vm') as typeof import('node:vm');
  const [, partsFile = '', codeFile = ''] = process.argv;
  const asset = readFileSync(partsFile);
  const begin = asset.indexOf('\n') + 1;
  const places = JSON.parse(asset.toString('latin1', 0, begin)) as Record<string, readonly [number, number]>;
  const index: Record<string, readonly [offset: number, length: number]> = {};
  const codes: Buffer[] = [];
  let offset = 0;
  setFlagsFromString('--hash-seed=0');
  for (const [name, [from, length]] of Object.entries(places)) {
    setFlagsFromString('--no-lazy');
    const script = new Script(asset.toString('utf8', begin + from, begin + from + length), { filename: name });
    setFlagsFromString('--lazy');
    const code = script.createCachedData();
    index[name] = [offset, code.length];
    offset += code.length;
    codes.push(code);
  }
  writeFileSync(codeFile, Buffer.concat([Buffer.from(`${JSON.stringify(index)}\n`), ...codes]));
}

/** Runs there with the options of the executable. @throws Error if V8 does not use the bytecode */
function verify(builtin: NodeJS.Require): void {
  const { readFileSync } = builtin('node:fs') as typeof import('node:fs');
  const { Script } = builtin('node:vm') as typeof import('node:vm');
  const [parts, code] = process.argv.slice(1).map((path) => {
    const asset = readFileSync(path);
    const begin = asset.indexOf('\n') + 1;
    const places = JSON.parse(asset.toString('latin1', 0, begin)) as Record<string, readonly [number, number]>;
    return Object.entries(places).map(([name, [from, length]]) => {
      return { name, bytes: asset.subarray(begin + from, begin + from + length) };
    });
  });
  for (const [place, { name, bytes }] of parts?.entries() ?? []) {
    const cachedData = code?.[place]?.bytes;
    const script = new Script(bytes.toString(), { filename: name, ...(cachedData && { cachedData }) });
    if (script.cachedDataRejected !== false) throw new Error(`V8 does not use the bytecode of ${name}`);
  }
}
