/**
 * User data on an instance of EC2, as cloud-init of Debian sees it: by the firmware, with a metadata service that wants tokens,
 * and repositories over HTTP. It is provisioned at the first boot, and at the second one it is as it was.
 *
 * Platforms: bookworm
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Cloud, GENERATOR, REPOSITORY } from './cloud.ts';
import { Machine, PROJECT } from './machine.ts';

/** There is no device of Nitro Enclaves here, and an emulated machine has not always an answer in three seconds. */
const RUNNING = '--running --skip nitro-driver --skip allocator --skip metadata';
const NAME = 'nitro-enclaves-vsock-proxy';
const ARGUMENTS = `--repo ${REPOSITORY} --key key.asc --cli --cpus 50% --memory 25% --sysconfig sysconfig`;
const CLOUD_MS = 400_000;

let cloud: Cloud;
let parent: Machine;

describe('user data', () => {
  before(async () => {
    cloud = await Cloud.open();
    cloud.write('sysconfig', 'RUST_LOG=info\n');
    const documents = cloud.makeDocuments(ARGUMENTS);
    await cloud.startMetadata('i-0e2e0e2e0e2e0e2e1', '--user-data', documents('user-data.yaml'));
    const edits = [`rm ${GENERATOR}`];
    parent = await Machine.start({
      memoryMib: 1024,
      files: ['tests/e2e/guest'],
      reboots: true,
      edits,
      instance: cloud.instance,
    });
    await parent.run('cloud-init status --wait', CLOUD_MS);
  });
  after(async () => {
    await parent?.[Symbol.asyncDispose]();
    await cloud?.[Symbol.asyncDispose]();
  });

  test('cloud-init takes the machine for an instance of EC2, finds no fault in the user data, and sends tokens', async () => {
    const log = await parent.check('cat /var/log/cloud-init-output.log');
    assert.equal(await parent.check('cloud-id'), 'aws\n');
    assert.match((await parent.run('cloud-init status')).stdout, /^status: done\n/, log);
    const { status, stdout, stderr } = await parent.run('cloud-init schema --system');
    assert.equal(status, 0, stdout + stderr);
    assert.doesNotMatch(cloud.asked, /GET .* without token: 200/);
    assert.match(cloud.asked, /GET \/.*\/user-data with token: 200/);
  });

  test('first boot: everything is installed, configured, enabled, and runs', async () => {
    await parent.check(`/usr/libexec/${NAME}/validate ${RUNNING}`);
    const [, kib] = /^MemTotal: *(\d+) kB$/m.exec(await parent.check('cat /proc/meminfo')) ?? [];
    const quarter = Math.floor((Math.floor(Number(kib) / 1024) * 25) / 100 / 2) * 2;
    const asked = `---\nmemory_mib: ${quarter}\ncpu_count: 1\n`;
    assert.equal(await parent.check('cat /run/nitro-enclaves-allocator'), asked);
    await parent.check(`python3 ${PROJECT}/tests/e2e/guest/scenarios.py client_ends_first 8000 443`);
    await parent.check('test ! -e /var/lib/nitro-enclaves-vsock-proxy-files');
  });

  test('second boot: it runs, and no step has run twice', async () => {
    const transactions = await parent.check('dnf history list | wc -l; stat -c %y /etc/nitro_enclaves/image.json');
    await parent.reboot();
    await parent.run('cloud-init status --wait', CLOUD_MS);
    await parent.check(`/usr/libexec/${NAME}/validate ${RUNNING}`);
    await parent.check(`python3 ${PROJECT}/tests/e2e/guest/scenarios.py client_ends_first 8000 443`);
    assert.equal(
      await parent.check('dnf history list | wc -l; stat -c %y /etc/nitro_enclaves/image.json'),
      transactions,
    );
    assert.equal(await parent.check('grep -c "^provision: done" /var/log/cloud-init-output.log'), '1\n');
  });
});
