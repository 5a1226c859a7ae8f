/**
 * How an image is made, on a machine of the test bed: the steps of the EC2 Image Builder component, and Packer itself, which
 * provisions over ssh, restarts the machine, validates and cleans it. Then the disk boots as an instance does that was
 * launched from the image, with user data of its own.
 *
 * Platforms: bookworm
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parse } from 'yaml';
import { forOldPacker } from '../ami/packer.ts';
import { Program } from '../program.ts';
import { Cloud, GENERATOR, REPOSITORY } from './cloud.ts';
import { Machine, PROJECT, ROOT } from './machine.ts';

/** There is no device of Nitro Enclaves here, and an emulated machine has not always an answer in three seconds. */
const RUNNING = '--running --skip nitro-driver --skip allocator --skip metadata';
const NAME = 'nitro-enclaves-vsock-proxy';
const VALIDATE = `/usr/libexec/${NAME}/validate`;
const SOURCE = `--repo ${REPOSITORY} --key key.asc --cli`;
const BUILD_MS = 500_000;
const CLOUD_MS = 400_000;

let cloud: Cloud;
let parent: Machine;

describe('an image', () => {
  before(async () => {
    cloud = await Cloud.open();
    const [rules, listeners] = ['configs/vsock-proxy.yaml', 'tests/e2e/guest/listeners.yaml'].map((name) =>
      readFileSync(join(ROOT, name), 'utf8'),
    );
    cloud.write('vsock-proxy.yaml', `${rules}${listeners}`);
    parent = await Machine.start({
      memoryMib: 1024,
      files: ['tests/e2e/guest'],
      reboots: true,
      instance: cloud.instance,
    });
  });
  after(async () => {
    await parent?.[Symbol.asyncDispose]();
    await cloud?.[Symbol.asyncDispose]();
  });

  test('EC2 Image Builder: the steps of the component, in order, end with a machine that runs', async () => {
    const documents = cloud.makeDocuments(`${SOURCE} --cpus 1 --memory 128`);
    const component: Component = parse(readFileSync(documents('component.yaml'), 'utf8'));
    const ran = await runComponent(component, { Validate: RUNNING });
    assert.deepEqual(ran, ['build: Provision', 'build: Reboot', 'validate: Validate', 'test: Test']);
    await serves();
  });

  test('EC2 Image Builder: a failing step ends it, with the reason', async () => {
    const documents = cloud.makeDocuments(`${SOURCE} --member somebody`);
    const component: Component = parse(readFileSync(documents('component.yaml'), 'utf8'));
    await assert.rejects(
      runComponent(component, {}),
      /^Error: build: Provision: provision: --member: there is no user somebody\. Hint: /,
    );
  });

  test('Packer provisions it again with other settings, restarts it, checks it, and leaves nothing behind', async (t) => {
    await parent.check('touch /root/.bash_history && mkdir -p /var/lib/cloud/instances');
    const template = cloud.path('packer');
    for (const directory of [template, cloud.path('build/ami')]) mkdirSync(directory, { recursive: true });
    for (const [name, text] of forOldPacker()) writeFileSync(join(template, name), text);
    await using way = await wayIn(parent);
    const variables = Object.entries({
      arguments: `${SOURCE} --cpus 1 --memory 25% --serve --allowlist vsock-proxy.yaml`,
      files: cloud.path('files'),
      program: join(ROOT, 'packaging/ami/provision'),
      validate: RUNNING,
      port: `${way.port}`,
      ssh_private_key_file: parent.sshKey,
    }).flatMap(([name, value]) => ['-var', `${name}=${value}`]);
    const packer = new Program('env', [
      ...['-C', cloud.directory, `HOME=${cloud.directory}`, 'CHECKPOINT_DISABLE=1'],
      ...['packer', 'build', '-color=false', '-only=null.machine', ...variables, template],
    ]);
    await packer.stdout.match(/provision: done/, BUILD_MS);
    await parent.comesBack();
    const { status, stdout, stderr } = await packer.outcome(BUILD_MS);
    assert.equal(status, 0, stdout + stderr);
    assert.match(
      stdout,
      /ok: nitro-enclaves-vsock-proxy\.service is active\n[\s\S]*ok: no host keys\n[\s\S]*ok: no machine-id\n/,
    );
    assert.doesNotMatch(stdout, /NOT OK/);
    t.diagnostic(`${stdout.match(/^.*ok: /gm)?.length} lines of validate`);
    const [build] = JSON.parse(readFileSync(cloud.path('build/ami/manifest.json'), 'utf8')).builds;
    assert.equal(build.custom_data.vsock_proxy, 'unknown');
  });

  test('an instance of the image is another machine, and is ready at its first boot', async () => {
    const before = await parent.check('cat /proc/sys/kernel/random/boot_id');
    const key = cloud.path('key.pub');
    writeFileSync(key, execFileSync('ssh-keygen', ['-y', '-f', parent.sshKey]));
    cloud.write('sysconfig', 'RUST_LOG=debug\n');
    const documents = cloud.makeDocuments('--sysconfig sysconfig --serve --cpus 1 --memory 64');
    await cloud.startMetadata('i-0e2e0e2e0e2e0e2e2', '--public-key', key, '--user-data', documents('user-data.mime'));
    await parent.check(`rm ${GENERATOR}`);
    await parent.reboot();
    await parent.run('cloud-init status --wait', CLOUD_MS);
    assert.match(
      (await parent.run('cloud-init status')).stdout,
      /^status: done\n/,
      await parent.check('cat /var/log/cloud-init-output.log'),
    );
    assert.notEqual(await parent.check('cat /proc/sys/kernel/random/boot_id'), before);
    assert.match(await parent.check('cat /etc/machine-id'), /^[0-9a-f]{32}\n$/);
    await parent.check(`${VALIDATE} ${RUNNING}`);
    assert.equal(await parent.check('cat /run/nitro-enclaves-allocator'), '---\nmemory_mib: 64\ncpu_count: 1\n');
    await serves();
  });
});

/** An enclave reaches KMS of the region. */
async function serves(): Promise<void> {
  await parent.check(`python3 ${PROJECT}/tests/e2e/guest/scenarios.py client_ends_first 8000 443`);
}

interface Component {
  readonly parameters: readonly Readonly<Record<string, { readonly default: string }>>[];
  readonly phases: readonly {
    readonly name: string;
    readonly steps: readonly {
      readonly name: string;
      readonly action: string;
      readonly onFailure: 'Abort' | 'Continue' | 'Ignore';
      readonly inputs: { readonly commands?: readonly string[] };
    }[];
  }[];
}

/**
 * What AWS's task orchestrator does with a component, as far as this one needs it: phases and steps in order, parameters filled
 * in, a restart waited for; Abort ends it at once, Continue lets the phase end and then fails, Ignore goes on.
 */
async function runComponent(component: Component, given: Readonly<Record<string, string>>): Promise<readonly string[]> {
  const values = Object.fromEntries(
    component.parameters.flatMap((one) => Object.entries(one)).map(([name, of]) => [name, given[name] ?? of.default]),
  );
  const ran: string[] = [];
  for (const { name: phase, steps } of component.phases) {
    let failure: string | undefined;
    for (const { name, action, onFailure, inputs } of steps) {
      ran.push(`${phase}: ${name}`);
      if (action === 'Reboot') {
        await parent.reboot();
        continue;
      }
      assert.equal(action, 'ExecuteBash');
      const commands = (inputs.commands ?? []).join('\n').replaceAll(/\{\{ (\w+) \}\}/g, (_, word) => {
        const value = values[word];
        assert(value !== undefined, `no parameter ${word}`);
        return value;
      });
      const file = `/run/step-${ran.length}.sh`;
      await parent.check(`cat >${file} <<'END OF STEP'\n${commands}\nEND OF STEP`);
      const { status, stderr, stdout } = await parent.run(`bash ${file}`, BUILD_MS);
      if (status === 0 || onFailure === 'Ignore') continue;
      failure = `${phase}: ${name}: ${stderr || stdout}`;
      if (onFailure === 'Abort') break;
    }
    if (failure !== undefined) throw new Error(failure);
  }
  return ran;
}

/** A port that leads to sshd of the machine, also after it was restarted. */
async function wayIn(machine: Machine): Promise<AsyncDisposable & { readonly port: number }> {
  const server = createServer((client) => {
    const inside = connect(machine.sshPort, '127.0.0.1');
    for (const socket of [client, inside]) {
      socket.on('error', () => undefined);
      socket.on('close', () => {
        client.destroy();
        inside.destroy();
      });
    }
    client.pipe(inside).pipe(client);
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, '127.0.0.1', resolve);
  await promise;
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      await new Promise((done) => server.close(done));
    },
  };
}
