/**
 * A parent with an enclave inside: two kernels, and vsock between them as on a Nitro instance.
 *
 * The parent emulates the virtualization instructions of its processor, so its own kernel runs the enclave with KVM and
 * vhost-vsock. One thing differs: the enclave sees its parent as CID 2, for which the proxy listens on every CID.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { fromRunScript, Machine } from './machine.ts';

const PARENT_CID_SEEN_INSIDE = 2;
const ENCLAVE_CID = 16;
const BYTES = 4 << 20;
const CLOSED_PORT = 8001;
const LOG_LINE_MS = 60_000;
const ENCLAVE_MS = 300_000;

test('an enclave with its own kernel reaches the server through its parent', async () => {
  const enclave = join(fromRunScript('E2E_WORK'), 'enclave.gz');
  execFileSync(project('tests/e2e/enclave/build.sh'), [fromRunScript('E2E_IMAGE'), enclave]);
  await using parent = await Machine.start({
    memoryMib: 1536,
    files: { 'vsock-proxy': project('build/vsock-proxy'), guest: project('tests/e2e/guest'), 'enclave.gz': enclave },
  });
  await parent.check('modprobe --all kvm_amd vhost_vsock');

  const server = await parent.spawn(`python3 /mnt/files/guest/pattern_server.py 10.77.0.1 9000 ${BYTES}`);
  await server.stdout.match(/listening\n/, LOG_LINE_MS);
  const proxy = await parent.spawn(
    'env RUST_LOG=info /mnt/files/vsock-proxy --config /mnt/files/guest/allowlist.yaml --cid any 8000 server.test 9000',
  );
  await proxy.stderr.match(/Proxy is now in listening state/, LOG_LINE_MS);
  const enclaveArguments = `${PARENT_CID_SEEN_INSIDE} 8000 ${BYTES} ${CLOSED_PORT}`;
  const console = await parent.check(
    'qemu-system-x86_64 -accel kvm -cpu host -machine q35 -m 256 -nodefaults -no-user-config -display none -no-reboot' +
      ` -kernel /boot/vmlinuz -initrd /mnt/files/enclave.gz -append "console=ttyS0 quiet panic=-1 -- ${enclaveArguments}"` +
      ` -device vhost-vsock-pci,guest-cid=${ENCLAVE_CID} -serial stdio </dev/null`,
    ENCLAVE_MS,
  );

  assert.match(console, /^To the closed port:\r\nconnect: ECONNRESET\r\nexit status 1\r\n/);
  assert.match(
    console,
    new RegExp(`To the server:\r\nreceived: ${BYTES} of ${BYTES} bytes, all right\r\nexit status 0\r\n`),
  );
  const { status, stdout, stderr } = await server.outcome(LOG_LINE_MS);
  assert.equal(status, 0, stderr);
  assert.match(stdout, new RegExp(`received: ${BYTES} bytes, all right\n`));
  await proxy.stderr.match(new RegExp(`Accepted connection on cid: ${ENCLAVE_CID} port: \\d+\n`), LOG_LINE_MS);
  await proxy.stderr.match(new RegExp(`Client on cid: ${ENCLAVE_CID} port: \\d+ disconnected\n`), LOG_LINE_MS);
});

function project(path: string): string {
  return fileURLToPath(new URL(`../../${path}`, import.meta.url));
}
