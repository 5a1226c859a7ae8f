/** What the build promises of its products, for both machines that they are made for. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launch, run } from './launch.ts';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const { version: VERSION } = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8'));
const GLIBC = join(PROJECT, 'scripts/glibc.sh');

/** Where the products of each machine are, and how its programs run here. */
const MACHINES = [
  { arch: 'x86_64', out: 'build', front: [] },
  { arch: 'aarch64', out: 'build/aarch64', front: ['qemu-aarch64', '-L', '/usr/aarch64-linux-gnu'] },
] as const;

const WORK = mkdtempSync(join(PROJECT, 'build', 'test-'));
after(() => rmSync(WORK, { recursive: true }));

test('glibc: a file that needs a newer one is refused, and the error names the symbol', async () => {
  const library = join(WORK, 'newer.so');
  const source = 'unsigned arc4random(void); unsigned f(void) { return arc4random(); }';
  const compiled = await run(['sh', '-c', `echo '${source}' | g++ -shared -fPIC -x c -o ${library} -`]);
  assert.equal(compiled.status, 0, compiled.stderr);
  const { status, stderr } = await run([GLIBC, 'check', library]);
  assert.equal(status, 1);
  assert.match(stderr, /arc4random is from glibc 2\.36, but 2\.28 must do/);
});

for (const { arch, out, front } of MACHINES) {
  const executable = join(PROJECT, out, 'vsock-proxy');
  const addon = join(PROJECT, out, 'vsock.node');

  test(`${arch}: glibc 2.28 is enough`, async () => {
    assert.deepEqual(await run([GLIBC, 'check', executable, addon]), {
      status: 0,

      stdout: '',
      stderr: '',
    });
  });

  test(`${arch}: it prints the version of package.json`, async () => {
    const expected = {
      status: 0,
      stdout: `vsock-proxy ${VERSION}\nVsock-TCP proxy 1.0.2 (compatible: vsock-proxy of the AWS Nitro Enclaves CLI 1.5.0)\n`,
      stderr: '',
    };
    assert.deepEqual(await run([...front, executable, '--version']), expected);
  });

  test(`${arch}: it carries the forwarder for its machine`, () => {
    const forwarder = readFileSync(join(PROJECT, out, 'vsock-forwarder'));
    assert(readFileSync(executable).includes(forwarder));
  });

  test(`${arch}: Node's symbols are stripped`, (t) => {
    const mib = statSync(executable).size / 1024 / 1024;
    t.diagnostic(`${mib.toFixed(1)} MiB`);
    assert(mib < 110, `${mib} MiB`);
  });
}

test('a clean build in another directory and environment gives the same bytes', { timeout: 600_000 }, async () => {
  const elsewhere = join(WORK, 'else', 'where');
  const copied = await run([
    'sh',
    '-ec',
    `
    mkdir -p ${elsewhere} && cd ${PROJECT}
    git ls-files -z | xargs -0 cp -a --parents -t ${elsewhere}
    cp -al node_modules .cache ${elsewhere}
  `,
  ]);
  assert.equal(copied.status, 0, copied.stderr);
  const habits = [
    'env',
    '-i',
    `HOME=${WORK}`,
    'PATH=/usr/bin:/bin',
    'TZ=Asia/Tokyo',
    'LANG=C.UTF-8',
    'sh',
    '-c',
    'umask 077; exec "$@"',
    'sh',
  ];
  for (const { arch, out } of MACHINES) {
    const products = ['rpm', `ARCH=${arch}`];
    const built = await launch([...habits, 'make', '-C', elsewhere, ...products]).outcome(240_000);
    assert.equal(built.status, 0, built.stderr);
    // The parts first: when they differ, so does the whole.
    const rpm = (part: string) => `build/nitro-enclaves-vsock-proxy${part}-${VERSION}-1.${arch}.rpm`;
    for (const product of [
      'build/vsock-proxy.cjs',
      'build/vsock-proxy.parts',
      `${out}/vsock.node`,
      `${out}/vsock-proxy`,
      `${out}/vsock-forwarder`,
      `${out}/vsock-enclave`,
      rpm(''),
      rpm('-selinux'),
      rpm('-enclave'),
    ]) {
      assert.equal(sha256(join(elsewhere, product)), sha256(join(PROJECT, product)), product);
    }
  }
});

function sha256(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}
