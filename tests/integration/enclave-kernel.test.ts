/**
 * An enclave of AWS's tools has Linux 4.14. `make test-enclave-kernel` runs all tests of the enclave's side with the programs of
 * linux-4.14/, which know no newer system call; here is one story of them, and that those programs are what they say.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { NAMESPACES } from './enclave-stage.ts';
import { launch, refusing, run } from './launch.ts';

const STORY_MS = 120_000;
const STORY = 'curl reaches every allowed name over TLS and in clear';
const PROGRAMS = join(import.meta.dirname, 'linux-4.14');
/** pidfd_open(2) is of Linux 5.3, statx(2) of 4.11. */
const CALLS = `import errno, os
try:
    os.pidfd_open(os.getpid())
except OSError as error:
    print(errno.errorcode[error.errno], os.stat('/').st_ino > 0)`;

test('what is newer than Linux 4.14 is refused as that kernel refuses it, and nothing else', async () => {
  const { stdout, stderr } = await run([...refusing('after-4.14=ENOSYS'), 'python3', '-c', CALLS]);
  assert.equal(stdout, 'ENOSYS True\n', stderr);
});

test('the programs run there: an enclave reaches all names that it may', async () => {
  const forwarder = await run([join(PROGRAMS, 'vsock-forwarder'), '--version']);
  assert.match(forwarder.stdout, /^vsock-forwarder \d/, forwarder.stderr);
  const patterns = [NAMESPACES, STORY].map((name) => `--test-name-pattern=${name}`);
  const tests = join(import.meta.dirname, 'enclave.test.ts');
  const story = launch([process.execPath, '--test', '--test-reporter=spec', ...patterns, tests], {
    VSOCK_PROXY: join(PROGRAMS, 'vsock-proxy'),
    VSOCK_ENCLAVE: join(PROGRAMS, 'vsock-enclave'),
  });
  const { status, stdout, stderr } = await story.outcome(STORY_MS);
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, new RegExp(`✔ ${STORY}`));
});
