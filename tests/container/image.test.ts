/** What the container images promise: judged by skopeo and umoci, and run by runc as the tightest pod would run them. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, suite, test } from 'node:test';
import { allowVsock, type DockerProfile, type Profile, resolveConditions } from '../../packaging/container/seccomp.ts';
import type { Outcome } from '../program.ts';
import { Bundle, OCI, OURS, PROJECT, read, run, skopeo, UID, VERSION } from './runc.ts';

const PATIENCE_MS = 60_000;
const MEGABYTE = 1_000_000;

const DEFAULT = resolveConditions(read<DockerProfile>(join(PROJECT, 'packaging/container/moby/default.json')));

/** Of the image for enclaves: the engine, and what is in the bundle. */
const CONTENTS = [
  '@leichtgewicht/ip-codec',
  'commander',
  'dns-packet',
  'glibc',
  'libstdc++',
  'prom-client',
  'quickjs',
  'yaml',
];
const LICENSES = [
  '@leichtgewicht',
  'LICENSE',
  'commander',
  'dns-packet',
  'glibc',
  'libstdc++',
  'prom-client',
  'quickjs',
  'yaml',
];

const work = mkdtempSync(join(PROJECT, 'build/container-'));
after(() => rmSync(work, { recursive: true }));

suite('the image layout', () => {
  const MACHINES = ['amd64', 'arm64'] as const;

  for (const [name, limit, entrypoint] of [
    ['vsock-proxy', 40 * MEGABYTE, '/usr/bin/vsock-proxy'],
    ['vsock-proxy-enclave', 2.5 * MEGABYTE, '/vsock-forwarder'],
  ] as const) {
    test(`${name}: skopeo reads each machine's image, which is small, not root's, and labelled`, async () => {
      for (const arch of MACHINES) {
        const config = JSON.parse(
          await skopeo('inspect', '--config', '--override-arch', arch, `oci:${OCI}/${name}:${VERSION}`),
        );
        assert.equal(config.architecture, arch);
        assert.deepEqual(config.config.Entrypoint, [entrypoint]);
        assert.equal(config.config.User, `${UID}:${UID}`);
        assert.equal(config.config.Labels['org.opencontainers.image.version'], VERSION);
        const { layers } = JSON.parse(
          await skopeo('inspect', '--raw', '--override-arch', arch, `oci:${OCI}/${name}:${VERSION}-${arch}`),
        );
        const [{ size }] = layers;
        assert.ok(size <= limit, `${size} bytes for ${arch}`);
      }
    });

    test(`${name}: umoci lists it, and each blob is what its name says`, async () => {
      const tags = (await run('umoci', 'list', '--layout', join(OCI, name))).trim().split('\n');
      assert.deepEqual(tags, [VERSION, ...MACHINES.map((arch) => `${VERSION}-${arch}`)]);
      const blobs = join(OCI, name, 'blobs/sha256');
      for (const blob of readdirSync(blobs)) {
        assert.equal(
          createHash('sha256')
            .update(readFileSync(join(blobs, blob)))
            .digest('hex'),
          blob,
        );
      }
    });
  }

  test('the image for enclaves has two programs, static, and no directory of a system', async () => {
    for (const [arch, out] of [
      ['amd64', 'build'],
      ['arm64', 'build/aarch64'],
    ] as const) {
      const bundle = join(work, `enclave-${arch}`);
      await run('umoci', 'unpack', '--image', `${OCI}/vsock-proxy-enclave:${VERSION}-${arch}`, bundle);
      const programs = ['vsock-enclave', 'vsock-forwarder'];
      assert.deepEqual(readdirSync(join(bundle, 'rootfs')).sort(), ['licenses', 'sbom.cdx.json', ...programs]);
      for (const program of programs) {
        const packed = readFileSync(join(bundle, 'rootfs', program));
        assert.deepEqual(packed, readFileSync(join(PROJECT, out, program)));
      }
      const { components } = JSON.parse(readFileSync(join(bundle, 'rootfs/sbom.cdx.json'), 'utf8'));
      const names = components.map(({ name }: { readonly name: string }) => name);
      assert.deepEqual(names.sort(), CONTENTS);
      assert.deepEqual(readdirSync(join(bundle, 'rootfs/licenses')).sort(), LICENSES);
    }
  });

  // The other one comes from the same code, and takes a minute to compress.
  test('made again, the image for enclaves has the same bytes', async () => {
    const name = 'vsock-proxy-enclave';
    const again = join(work, 'again');
    await run(process.execPath, join(PROJECT, 'packaging/container/image.ts'), again, VERSION, name);
    for (const file of [`${name}/index.json`, `${name}-${VERSION}-amd64.tar`, `${name}-${VERSION}-arm64.tar`]) {
      assert.ok(readFileSync(join(again, file)).equals(readFileSync(join(OCI, file))), file);
    }
  });
});

suite('in a container of runc: not root, read-only, without capabilities', { concurrency: 1 }, () => {
  let bundle: Bundle;
  /** Some port that this machine's other sockets do not have. */
  const PORT = 20_000 + (process.pid % 40_000);
  /** As kubelet lays out the volume of a ConfigMap. */
  const configMap = join(work, 'config');
  let versions = 0;

  /** All files of the volume become others at once: by the link that they hang on. */
  function putConfig(yaml: string): void {
    versions += 1;
    const version = `..version_${versions}`;
    mkdirSync(join(configMap, version));
    writeFileSync(join(configMap, version, 'proxy.yaml'), yaml);
    symlinkSync(version, join(configMap, '..data_tmp'));
    renameSync(join(configMap, '..data_tmp'), join(configMap, '..data'));
  }

  before(async () => {
    bundle = await Bundle.unpack(work);
    mkdirSync(configMap);
    symlinkSync('..data/proxy.yaml', join(configMap, 'proxy.yaml'));
    putConfig('allowlist: [{address: 192.0.2.1, port: 443}]\n');
    // What a program gets that asks for a socket of each family, given for all 64 bits of the argument.
    writeFileSync(
      join(work, 'families.c'),
      `#include <errno.h>
       #include <stdio.h>
       #include <stdlib.h>
       #include <sys/socket.h>
       #include <sys/syscall.h>
       #include <unistd.h>
       int main(int count, char** families) {
         for (int i = 1; i < count; i++) {
           const unsigned long family = strtoul(families[i], 0, 0);
           const long fd = syscall(SYS_socket, family, (int)family == 38 ? SOCK_SEQPACKET : SOCK_STREAM, 0);
           printf("%s %d\\n", families[i], fd < 0 ? errno : 0);
         }
         return 0;
       }`,
    );
    await run('gcc', '-static', '-o', join(bundle.rootfs, 'families'), join(work, 'families.c'));
  });

  afterEach(() => bundle.clear());

  const start = (seccomp: Profile, args: readonly string[]) =>
    bundle.start({ seccomp, args, volumes: { '/config': configMap } });

  const serving = (seccomp: Profile) =>
    start(seccomp, [
      '/usr/bin/vsock-proxy',
      '--cid',
      'any',
      '--config',
      '/config/proxy.yaml',
      `${PORT}`,
      '192.0.2.1',
      '443',
    ]);

  test('the default profile: EPERM, and the message names the profile', async () => {
    const { status, stderr }: Outcome = await serving(DEFAULT).program.outcome(PATIENCE_MS);
    assert.equal(status, 1);
    assert.match(stderr, /Could not bind to .*EPERM.*Hint: .*seccomp profile must allow AF_VSOCK/);
  });

  test('our profile: it listens, and SIGTERM ends it', async () => {
    const container = serving(OURS);
    await container.program.stderr.match(/Proxy is now in listening state/, PATIENCE_MS);
    await bundle.signal(container, 'TERM');
    assert.equal((await container.program.outcome(PATIENCE_MS)).status, 0, container.program.stderr.text);
  });

  test('as the pod of the chart: its probes are answered, and a new ConfigMap is a reload, a wrong one none', async () => {
    const listener = (port: number) => `{listen: "vsock:any:${port}", connect: "192.0.2.1:443"}`;
    const config = (...listeners: readonly string[]) =>
      `allowlist: [{address: 192.0.2.1, port: 443}]\nmetrics: {listen: "tcp:0.0.0.0:9465"}\nlisteners: [${listeners.join()}]\n`;
    putConfig(config(listener(PORT)));
    const container = start(OURS, ['/usr/bin/vsock-proxy', 'serve', '--watch', '--config', '/config/proxy.yaml']);
    const { program } = container;
    await program.stderr.match(/Proxy is now in listening state/, PATIENCE_MS);
    // It answers a moment after it listens.
    const inside = ['nsenter', '--target', `${await bundle.pid(container)}`, '--net'];
    const fetch = [
      ...inside,
      'curl',
      '--fail',
      '--silent',
      '--retry',
      '30',
      '--retry-connrefused',
      '--retry-delay',
      '1',
    ];
    for (const path of ['readyz', 'healthz', 'metrics']) await run(...fetch, `http://127.0.0.1:9465/${path}`);
    putConfig(config(listener(PORT), listener(PORT + 1)));
    const [added] = await program.stderr.match(/Reloaded: .*\n/, PATIENCE_MS);
    assert.match(added, /added/);
    putConfig('listeners: nonsense\n');
    await program.stderr.match(/Reload failed.*\n/, PATIENCE_MS);
    await bundle.signal(container, 'TERM');
    assert.equal((await program.outcome(PATIENCE_MS)).status, 0, program.stderr.text);
  });

  const EPERM = 1;
  const AF_ALG = '38';
  const AF_VSOCK = '40';

  async function families(seccomp: Profile, ...asked: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const { status, stdout, stderr } = await start(seccomp, ['/families', ...asked]).program.outcome(PATIENCE_MS);
    assert.equal(status, 0, stderr);
    return new Map(
      stdout
        .trim()
        .split('\n')
        .map((line) => line.split(' '))
        .map(([family = '', errno]) => [family, Number(errno)]),
    );
  }

  test('AF_ALG is refused in both profiles, AF_VSOCK in the default alone', async () => {
    const standard = await families(DEFAULT, AF_ALG, AF_VSOCK);
    assert.deepEqual([standard.get(AF_ALG), standard.get(AF_VSOCK)], [EPERM, EPERM]);
    const ours = await families(OURS, AF_ALG, AF_VSOCK, '1', '2', '10');
    assert.deepEqual([...ours.values()], [EPERM, 0, 0, 0, 0]);
  });

  test('a family is compared exactly', async () => {
    const withHighBits = '0x100000028';
    assert.equal((await families(OURS, withHighBits)).get(withHighBits), EPERM);
  });

  test('the init step puts the profile of the image into a directory of the node', async () => {
    const put = ['chroot', bundle.rootfs, '/usr/libexec/vsock-proxy/put-seccomp-profile'];
    mkdirSync(join(bundle.rootfs, 'node'));
    for (const _ of [1, 2]) await run(...put, '/node'); // twice: it replaces what is there
    assert.deepEqual(readdirSync(join(bundle.rootfs, 'node')), ['vsock-proxy.json']);
    assert.deepEqual(read(join(bundle.rootfs, 'node/vsock-proxy.json')), OURS);
    assert.equal(statSync(join(bundle.rootfs, 'node/vsock-proxy.json')).mode & 0o777, 0o644);
  });
});

suite('the seccomp profile', () => {
  test('beside the default it changes nothing but the family above 40', () => {
    assert.deepEqual(OURS, allowVsock(DEFAULT));
    const changed = OURS.syscalls.filter((rule, at) => JSON.stringify(rule) !== JSON.stringify(DEFAULT.syscalls[at]));
    assert.deepEqual(changed, [
      { names: ['socket'], action: 'SCMP_ACT_ALLOW', args: [{ index: 0, value: 40, op: 'SCMP_CMP_EQ' }] },
    ]);
  });

  test('a rule that is for a capability is not in it: containerd would let everyone have it', () => {
    const allowed = OURS.syscalls.filter(({ action }) => action === 'SCMP_ACT_ALLOW').flatMap(({ names }) => names);
    for (const name of ['mount', 'bpf', 'setns', 'unshare', 'reboot', 'init_module', 'perf_event_open']) {
      assert.ok(!allowed.includes(name), name);
    }
  });

  test('a default without the rule that it changes is no source for it', () => {
    assert.throws(() => allowVsock(OURS), /0 rules allow the families above AF_VSOCK/);
  });
});
