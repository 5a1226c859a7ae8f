/**
 * A parent with an enclave inside: two kernels, and vsock between them as on a Nitro instance.
 *
 * The parent's emulated processor has virtualization instructions, so its kernel runs the enclave with KVM and vhost-vsock.
 * One thing differs: the enclave sees its parent as CID 2, for which the proxy listens on every CID.
 *
 * Platforms: bookworm
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { imageOf, Machine, PROJECT, type RemoteProgram } from './machine.ts';
import { PLATFORMS } from './platforms.ts';

const PARENT_CID_SEEN_INSIDE = 2;
const ENCLAVE_CID = 16;
/** It has another one after its restart. */
const NEXT_CID = 17;
const NITRO_CLI = '/run/nitro-cli';
const ASK = 'socat -u TCP:127.0.0.1:3000 STDOUT';
const PORT = 8000;
const CLOSED_PORT = 8001;
const BYTES = 4 << 20;
const ENCLAVE = 'build/e2e/enclave.gz';
const LOG_LINE_MS = 60_000;
const ENCLAVE_MS = 300_000;

test('an enclave with its own kernel reaches the server through its parent, and is reached under every CID', async () => {
  execFileSync(join(import.meta.dirname, 'enclave/build.sh'), [imageOf(PLATFORMS.bookworm), ENCLAVE]);
  await using parent = await Machine.start({
    memoryMib: 1536,
    // As enclaves come and go, KVM patches the scheduler (preempt_notifier_key). With two processors, QEMU 7.2 may go on
    // with what stood there before on the other one, which is then in a breakpoint for ever.
    processors: 1,
    files: ['build/vsock-proxy', 'tests/e2e/guest', ENCLAVE],
  });
  const guest = `${PROJECT}/tests/e2e/guest`;
  const server = await parent.spawn(`python3 ${guest}/pattern_server.py 10.77.0.1 9000 ${BYTES} 2`);
  await server.stdout.match(/listening\n/, LOG_LINE_MS);
  const options = `--config ${guest}/allowlist.yaml --cid any`;
  const proxy = await parent.spawn(
    `env RUST_LOG=info ${PROJECT}/build/vsock-proxy ${options} ${PORT} server.test 9000`,
  );
  await proxy.stderr.match(/Proxy is now in listening state/, LOG_LINE_MS);

  await parent.check('modprobe --all kvm_amd vhost_vsock');
  const initArguments = `${PARENT_CID_SEEN_INSIDE} ${PORT} ${BYTES} ${CLOSED_PORT}`;
  await using enclave = await start(parent, ENCLAVE_CID, initArguments);
  const [console] = await enclave.stdout.match(/.*Serving/s, ENCLAVE_MS);
  assert.match(console, /To the closed port:\r\nconnect: ECONNRESET\r\nexit status 1\r\n/);
  const exchange = `received: ${BYTES} of ${BYTES} bytes, all right\r\nexit status 0\r\n`;
  assert.match(console, new RegExp(`To the server:\r\n${exchange}By the forwarder:\r\n${exchange}`));
  const { status, stdout, stderr } = await server.outcome(LOG_LINE_MS);
  assert.equal(status, 0, stderr);
  assert.match(stdout, new RegExp(`listening\n(received: ${BYTES} bytes, all right\n){2}$`));
  const [, port] = await proxy.stderr.match(
    new RegExp(`Accepted connection on cid: ${ENCLAVE_CID} port: (\\d+)\n`),
    LOG_LINE_MS,
  );
  await proxy.stderr.match(new RegExp(`Client on cid: ${ENCLAVE_CID} port: ${port} disconnected\n`), LOG_LINE_MS);

  await parent.check(`printf '#!/bin/sh\\ncat /run/enclaves\\n' >${NITRO_CLI} && chmod +x ${NITRO_CLI}`);
  await tellCid(parent, ENCLAVE_CID);
  const serve = `serve --config ${guest}/enclaver.yaml --enclave-name application --nitro-cli ${NITRO_CLI}`;
  await using ingress = await parent.spawn(`env RUST_LOG=info ${PROJECT}/build/vsock-proxy ${serve}`);
  await ingress.stderr.match(/Proxy is now in listening state/, LOG_LINE_MS);
  assert.equal(await parent.check(ASK), 'hello from the enclave\n');

  await enclave[Symbol.asyncDispose]();
  await using next = await start(parent, NEXT_CID);
  await next.stdout.match(/Serving/, ENCLAVE_MS);
  await tellCid(parent, NEXT_CID);
  assert.equal(await parent.check(ASK), 'hello from the enclave\n');
  await ingress.stderr.match(new RegExp(`The enclave "application" has CID ${NEXT_CID}\n`), LOG_LINE_MS);
});

/** Boots an enclave; its console is the standard output. */
function start(parent: Machine, cid: number, initArguments = ''): Promise<RemoteProgram> {
  return parent.spawn(
    'qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot -accel kvm -cpu host -machine q35 -m 256' +
      ` -kernel /boot/vmlinuz -initrd ${PROJECT}/${ENCLAVE} -append "console=ttyS0 quiet panic=-1 -- ${initArguments}"` +
      ` -device vhost-vsock-pci,guest-cid=${cid} -serial stdio`,
  );
}

/** What the stand-in for nitro-cli prints from now on. */
function tellCid(parent: Machine, cid: number): Promise<string> {
  const enclaves = [{ EnclaveName: 'application', EnclaveCID: cid, State: 'RUNNING' }];
  return parent.check(`echo '${JSON.stringify(enclaves)}' >/run/enclaves`);
}
