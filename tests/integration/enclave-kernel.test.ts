/**
 * An enclave of AWS's tools has Linux 4.14. `make test-enclave-kernel` runs all tests of the enclave's side without the system
 * calls that are newer; here is one story of them, and that those calls are refused.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { NAMESPACES } from './enclave-stage.ts';
import { launch, refusing, run } from './launch.ts';
import { FORWARDER } from './proxy.ts';

/** As there: what is not known is ENOSYS, and an unknown flag, here MFD_EXEC, EINVAL. */
const ON_LINUX_4_14 = refusing('after-4.14=ENOSYS', 'memfd_create:1:0x10=EINVAL');
const STORY_MS = 120_000;
const STORY = 'curl reaches every allowed name over TLS and in clear';
/** pidfd_open(2) is of Linux 5.3, statx(2) of 4.11. */
const CALLS = `import errno, os
try:
    os.pidfd_open(os.getpid())
except OSError as error:
    print(errno.errorcode[error.errno], os.stat('/').st_ino > 0)`;

test('system calls newer than Linux 4.14 fail as with that kernel, and no others', async () => {
  const { stdout, stderr } = await run([...ON_LINUX_4_14, 'python3', '-c', CALLS]);
  assert.equal(stdout, 'ENOSYS True\n', stderr);
});

test('the programs run on it: an enclave reaches all allowed names', async () => {
  const forwarder = await run([...ON_LINUX_4_14, FORWARDER, '--version']);
  assert.match(forwarder.stdout, /^vsock-forwarder \d/, forwarder.stderr);
  const patterns = [NAMESPACES, STORY].map((name) => `--test-name-pattern=${name}`);
  const tests = join(import.meta.dirname, 'enclave.test.ts');
  const story = launch([...ON_LINUX_4_14, process.execPath, '--test', '--test-reporter=spec', ...patterns, tests]);
  const { status, stdout, stderr } = await story.outcome(STORY_MS);
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, new RegExp(`✔ ${STORY}`));
});
