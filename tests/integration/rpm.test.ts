/** What the packages promise, for both machines that they are made for. `tests/e2e/service.test.ts` installs one. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { run } from './launch.ts';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const { version: VERSION } = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8'));
const NAME = 'nitro-enclaves-vsock-proxy';
const EXECUTABLE = `/usr/libexec/${NAME}/vsock-proxy`;
const ALLOWLIST = '/etc/nitro_enclaves/vsock-proxy.yaml';
/** What the package of AWS owns. */
const SHARED = ['/usr/bin/vsock-proxy', `/usr/lib/systemd/system/${NAME}.service`, ALLOWLIST];
const SPEC = join(PROJECT, `packaging/rpm/${NAME}.spec`);

const MACHINES = [
  { arch: 'x86_64', out: 'build' },
  { arch: 'aarch64', out: 'build/aarch64' },
] as const;
type Arch = (typeof MACHINES)[number]['arch'];

const packageFor = (arch: Arch, part = '') => join(PROJECT, `build/${NAME}${part}-${VERSION}-1.${arch}.rpm`);

for (const { arch, out } of MACHINES) {
  suite(arch, () => {
    const rpm = packageFor(arch);

    test('it is for this machine, and its payload is zstd', async () => {
      const format = '%{name} %{version} %{release} %{arch} %{payloadcompressor}';
      assert.equal(await query(rpm, '--queryformat', format), `${NAME} ${VERSION} 1 ${arch} zstd`);
    });

    test('it owns no file of the other package, except the allowlist, without its content', async () => {
      const files = (await query(rpm, '--queryformat', '[%{filenames} %{fileflags:fflags}\n]')).trimEnd().split('\n');
      const shared = files.filter((line) => SHARED.includes(line.split(' ')[0] ?? ''));
      assert.deepEqual(shared, [`${ALLOWLIST} cng`]); // config, noreplace, ghost
    });

    test('its executable has the bytes of the built one', async () => {
      const dump = await query(rpm, '--dump');
      const [, size, , digest] =
        dump
          .split('\n')
          .find((line) => line.startsWith(`${EXECUTABLE} `))
          ?.split(' ') ?? [];
      const bytes = readFileSync(join(PROJECT, out, 'vsock-proxy'));
      assert.deepEqual([Number(size), digest], [bytes.length, createHash('sha256').update(bytes).digest('hex')]);
    });

    test('Amazon Linux 2023 provides all that it requires', async () => {
      const required = (await query(rpm, '--requires')).trimEnd().split('\n');
      const provided = amazonLinux(arch);
      assert.deepEqual(
        required.filter((name) => !provided.has(name) && !/^(rpmlib|config)\(/.test(name)),
        [],
      );
      assert(
        required.some((name) => name.startsWith('libstdc++.so.6(')),
        'libraries are among what it requires',
      );
    });

    test('it requires no glibc newer than 2.28', async () => {
      const versions = [...(await query(rpm, '--requires')).matchAll(/\(GLIBC_2\.(\d+)/g)].map(([, minor]) =>
        Number(minor),
      );
      assert(Math.max(...versions) <= 28, `${versions}`);
    });

    test('the bill of materials names the packages of the bundle, Node.js with its parts, and the libraries of GCC and C', () => {
      const { components, ...rest } = JSON.parse(readFileSync(join(PROJECT, out, 'contents/sbom.cdx.json'), 'utf8'));
      const names: readonly string[] = components.map(({ name }: { readonly name: string }) => name);
      assert.deepEqual(names.slice(-3), ['node', 'libstdc++', 'glibc']);
      assert(names.includes('commander') && names.includes('yaml'), `${names}`);
      assert.deepEqual([rest.serialNumber, rest.metadata.timestamp], [undefined, undefined], 'no two are the same');
      const [node] = components.slice(-3);
      assert.equal(node.version, process.versions.node);
      assert(node.components.some(({ name }: { readonly name: string }) => name === 'openssl'));
    });

    test('it has the licence of every part, and names it in its tag', async () => {
      const { components } = JSON.parse(readFileSync(join(PROJECT, out, 'contents/sbom.cdx.json'), 'utf8'));
      const files = (await query(rpm, '--licensefiles')).trimEnd().split('\n');
      const tag = (await query(rpm, '--queryformat', '%{license}')).split(' AND ');
      for (const { name, licenses } of components) {
        assert(
          files.some((file) => file.startsWith(`/usr/share/licenses/${NAME}/${name}/`)),
          name,
        );
        for (const { license, expression } of licenses) assert(tag.includes(license?.id ?? expression), name);
      }
      assert(files.includes(`/usr/share/licenses/${NAME}/LICENSE`));
    });

    test('the part for images of enclaves has both programs, requires nothing, and names its engine', async () => {
      const part = packageFor(arch, '-enclave');
      const files = (await query(part, '--list')).trimEnd().split('\n');
      for (const program of ['vsock-enclave', 'vsock-forwarder']) {
        assert(files.includes(`/usr/libexec/${NAME}-enclave/${program}`), program);
      }
      const required = (await query(part, '--requires')).trimEnd().split('\n');
      assert.deepEqual(
        required.filter((name) => !name.startsWith('rpmlib(')),
        [],
      );
      const { components } = JSON.parse(readFileSync(join(PROJECT, out, 'enclave-contents/sbom.cdx.json'), 'utf8'));
      const tag = (await query(part, '--queryformat', '%{license}')).split(' AND ');
      for (const { name, licenses } of components) {
        assert(
          files.some((file) => file.startsWith(`/usr/share/licenses/${NAME}-enclave/${name}/`)),
          name,
        );
        for (const { license, expression } of licenses) assert(tag.includes(license?.id ?? expression), name);
      }
      const names = components.map(({ name }: { readonly name: string }) => name);
      assert.deepEqual(names.slice(-3), ['quickjs', 'libstdc++', 'glibc']);
    });
  });
}

for (const program of ['vsock-proxy', 'vsock-forwarder', 'vsock-enclave']) {
  test(`aarch64: Linux with pages of 64 KiB can map ${program}, each segment with pages of its own`, async () => {
    const page = 64 * 1024;
    const { stdout } = await run(['readelf', '--segments', '--wide', join(PROJECT, 'build/aarch64', program)]);
    const loaded = [...stdout.matchAll(/^ +LOAD +(0x\w+) (0x\w+) 0x\w+ 0x\w+ (0x\w+) /gm)].map((found) =>
      found.slice(1).map(Number),
    );
    assert(loaded.length >= 2, stdout);
    let end = 0;
    for (const [offset = NaN, address = NaN, size = NaN] of loaded) {
      assert.equal(offset % page, address % page, stdout);
      assert(Math.floor(address / page) >= Math.ceil(end / page), stdout);
      end = address + size;
    }
  });
}

test('rpmlint finds nothing but what packaging/rpm/rpmlint.toml explains', async () => {
  const config = join(PROJECT, 'packaging/rpm/rpmlint.toml');
  const packages = MACHINES.flatMap(({ arch }) => [
    packageFor(arch),
    packageFor(arch, '-selinux'),
    packageFor(arch, '-enclave'),
  ]);
  const { stdout } = await run(['rpmlint', '-c', config, SPEC, ...packages]);
  assert.match(stdout, /6 packages and 1 specfiles checked; 0 errors, 0 warnings/, stdout);
});

test('the manual page is well formed', async () => {
  const found = await run(['mandoc', '-T', 'lint', '-W', 'warning', join(PROJECT, 'docs/vsock-proxy.1')]);
  assert.deepEqual(found, { status: 0, stdout: '', stderr: '' });
});

async function query(rpm: string, ...what: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await run(['rpm', '--query', '--package', ...what, rpm]);
  assert.equal(status, 0, stderr);
  return stdout;
}

function amazonLinux(arch: Arch): ReadonlySet<string> {
  const list = readFileSync(join(PROJECT, 'tests/e2e/packages/amazon-linux-2023.txt'), 'utf8');
  const names = list.split('\n').flatMap((line) => {
    const [whose, ...words] = line.split(' ');
    if (whose === 'any') return words;
    if (whose !== arch) return [];
    const [library, ...versions] = words;
    return [`${library}()(64bit)`, ...versions.map((version) => `${library}(${version})(64bit)`)];
  });
  return new Set(names);
}
