/**
 * image.ts OUTPUT VERSION [NAME…]: writes the two container images, or those of these names, without a container engine.
 *
 *   OUTPUT/vsock-proxy/                        an OCI image layout, both machines: VERSION, VERSION-amd64, VERSION-arm64
 *   OUTPUT/vsock-proxy-VERSION-ARCH.tar        the same of one machine for `docker load`
 *   OUTPUT/vsock-proxy-enclave…                vsock-enclave and vsock-forwarder alone, for `COPY --from=`
 *
 * The output depends on what was built and on the libraries of Debian in build/…/libraries only: no clock, no user, no host.
 * Formats: https://github.com/opencontainers/image-spec, and the tar file of `docker save`.
 */
import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { constants, gzipSync, zstdCompressSync } from 'node:zlib';

const [output, version, ...names] = process.argv.slice(2);
if (!output || !version) throw new Error('usage: image.ts OUTPUT VERSION [NAME…]');

const MACHINES = [
  { arch: 'amd64', out: 'build' },
  { arch: 'arm64', out: 'build/aarch64', variant: 'v8' },
] as const;
type Machine = (typeof MACHINES)[number];

/** The uid that images without root use by convention. */
const UID = 65532;
const CREATED = '1970-01-01T00:00:00Z';
const LIBEXEC = 'usr/libexec/vsock-proxy';
const SHARE = 'usr/share/vsock-proxy';

/** A regular file, or a link. The directories follow from the paths. */
type Entry =
  | { readonly path: string; readonly content: Buffer; readonly executable: boolean }
  | { readonly path: string; readonly target: string };

interface Image {
  readonly name: string;
  readonly title: string;
  readonly entrypoint: readonly string[];
  readonly environment: readonly string[];
  /** zstd saves an eighth. Every engine supports gzip, and builders of enclaves may have an old engine. */
  readonly compression: 'gzip' | 'zstd';
  entries(machine: Machine): readonly Entry[];
}

const IMAGES: readonly Image[] = [
  {
    name: 'vsock-proxy',
    title: 'Controls what an AWS Nitro Enclave can reach: vsock to TCP, by an allowlist',
    entrypoint: ['/usr/bin/vsock-proxy'],
    environment: ['PATH=/usr/bin'],
    compression: 'zstd',
    entries: proxyEntries,
  },
  {
    name: 'vsock-proxy-enclave',
    title: 'vsock-enclave and vsock-forwarder: static files for the image of an enclave',
    entrypoint: ['/vsock-forwarder'],
    environment: [],
    compression: 'gzip',
    entries: ({ out }) => [
      file('vsock-forwarder', join(out, 'vsock-forwarder'), true),
      file('vsock-enclave', join(out, 'vsock-enclave'), true),
      file('sbom.cdx.json', join(out, 'enclave-contents/sbom.cdx.json')),
      file('licenses/LICENSE', 'LICENSE'),
      ...tree('licenses', join(out, 'enclave-contents/licenses')),
    ],
  },
];

function proxyEntries({ out }: Machine): readonly Entry[] {
  const libraries = join(out, 'libraries');
  return [
    ...tree('', libraries),
    text('etc/group', `vsock-proxy:x:${UID}:\n`),
    text('etc/passwd', `vsock-proxy:x:${UID}:${UID}:vsock-proxy:/:/sbin/nologin\n`),
    text('etc/nsswitch.conf', 'hosts: files dns\n'),
    text('etc/os-release', 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="vsock-proxy, on libraries of Debian 12"\n'),
    file('etc/nitro_enclaves/vsock-proxy.yaml', 'configs/vsock-proxy.yaml'),
    { path: 'usr/bin/vsock-proxy', target: `/${LIBEXEC}/vsock-proxy` },
    file(`${LIBEXEC}/vsock-proxy`, join(out, 'vsock-proxy'), true),
    file(`${LIBEXEC}/vsock.node`, join(out, 'vsock.node')),
    file(`${LIBEXEC}/put-seccomp-profile`, join(out, 'put-seccomp-profile'), true),
    file(`${SHARE}/seccomp.json`, 'packaging/container/seccomp.json'),
    text(`${SHARE}/sbom.cdx.json`, withLibraries(readFileSync(join(out, 'contents/sbom.cdx.json'), 'utf8'), libraries)),
    file('usr/share/licenses/vsock-proxy/LICENSE', 'LICENSE'),
    ...tree('usr/share/licenses/vsock-proxy', join(out, 'contents/licenses')),
  ];
}

/** The bill of materials of the executable, with Debian's packages. */
function withLibraries(sbom: string, libraries: string): string {
  const list = JSON.parse(sbom) as { readonly components: readonly object[] };
  const packages = join(libraries, 'var/lib/dpkg/status.d');
  const debian = readdirSync(packages)
    .sort()
    .map((name) => {
      const control = readFileSync(join(packages, name), 'utf8');
      const field = (key: string) => new RegExp(`^${key}: (.+)$`, 'm').exec(control)?.[1] ?? '';
      const purl = `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(field('Version'))}`;
      return {
        'bom-ref': `${name}@${field('Version')}`,
        type: 'library',
        name,
        version: field('Version'),
        purl: `${purl}?arch=${field('Architecture')}&distro=debian-12`,
      };
    });
  return `${JSON.stringify({ ...list, components: [...list.components, ...debian] }, undefined, 2)}\n`;
}

function text(path: string, content: string): Entry {
  return { path, content: Buffer.from(content), executable: false };
}

function file(path: string, source: string, executable = false): Entry {
  return { path, content: readFileSync(source), executable };
}

/** All files and links below a directory. */
function tree(path: string, source: string): readonly Entry[] {
  return readdirSync(source, { recursive: true, encoding: 'utf8' }).flatMap((name): readonly Entry[] => {
    const from = join(source, name);
    const to = join(path, name);
    const status = lstatSync(from);
    if (status.isSymbolicLink()) return [{ path: to, target: readlinkSync(from) }];
    return status.isFile() ? [file(to, from, (status.mode & 0o100) !== 0)] : [];
  });
}

/** A tar file (POSIX ustar), owned by root and sorted, with every directory before its contents. */
function tar(entries: readonly Entry[]): Buffer {
  const directories = new Set<string>();
  for (const { path } of entries) {
    for (let at = path.indexOf('/'); at >= 0; at = path.indexOf('/', at + 1)) directories.add(path.slice(0, at + 1));
  }
  const sorted = [...[...directories].map((path) => ({ path })), ...entries].sort((a, b) => (a.path < b.path ? -1 : 1));
  const blocks = sorted.flatMap((entry) => {
    if (!('content' in entry))
      return ['target' in entry ? header(entry.path, '2', { target: entry.target }) : header(entry.path, '5', {})];
    const { content, executable } = entry;
    const padding = Buffer.alloc((512 - (content.length % 512)) % 512);
    return [header(entry.path, '0', { mode: executable ? 0o755 : 0o644, size: content.length }), content, padding];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

interface HeaderFields {
  readonly mode?: number;
  readonly size?: number;
  readonly target?: string;
}

/** @throws Error for a path that would need a second field */
function header(path: string, type: '0' | '2' | '5', { mode, size = 0, target = '' }: HeaderFields): Buffer {
  if (Buffer.byteLength(path) > 100 || Buffer.byteLength(target) > 100)
    throw new Error(`${path}: too long for a header`);
  const block = Buffer.alloc(512);
  const octal = (value: number, at: number, width: number) =>
    block.write(value.toString(8).padStart(width - 1, '0'), at, 'latin1');
  block.write(path, 0);
  octal(mode ?? (type === '2' ? 0o777 : 0o755), 100, 8);
  octal(0, 108, 8); // uid
  octal(0, 116, 8); // gid
  octal(size, 124, 12);
  octal(0, 136, 12); // mtime
  block.write('        ', 148); // the checksum field counts as spaces
  block.write(type, 156);
  block.write(target, 157);
  block.write('ustar\x0000', 257, 'latin1');
  octal(
    block.reduce((sum, byte) => sum + byte, 0),
    148,
    7,
  );
  return block;
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** https://github.com/opencontainers/image-spec/blob/main/descriptor.md */
interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: object;
  readonly annotations?: Readonly<Record<string, string>>;
}

const MEDIA = 'application/vnd.oci.image';

/** An image layout under construction, with every blob by its digest. */
function openLayout(directory: string): { put(mediaType: string, content: Buffer | object): Descriptor } {
  const blobs = join(directory, 'blobs/sha256');
  mkdirSync(blobs, { recursive: true });
  writeFileSync(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  return {
    put(mediaType, content) {
      const bytes = Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content));
      const hex = sha256(bytes);
      writeFileSync(join(blobs, hex), bytes);
      return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
    },
  };
}

/** Level 12 as in the RPM. A higher level takes nine times as long and saves an eighth. */
function compress(layer: Buffer, compression: Image['compression']): Buffer {
  if (compression === 'gzip') return gzipSync(layer, { level: 9 });
  return zstdCompressSync(layer, { params: { [constants.ZSTD_c_compressionLevel]: 12 } });
}

function configOf(image: Image, machine: Machine, layer: Buffer): object {
  const { name, title, entrypoint, environment } = image;
  return {
    created: CREATED,
    architecture: machine.arch,
    ...('variant' in machine && { variant: machine.variant }),
    os: 'linux',
    config: {
      User: `${UID}:${UID}`,
      ...(environment.length > 0 && { Env: environment }),
      Entrypoint: entrypoint,
      WorkingDir: '/',
      Labels: {
        'org.opencontainers.image.title': name,
        'org.opencontainers.image.description': title,
        'org.opencontainers.image.version': version,
        'org.opencontainers.image.licenses': 'Apache-2.0',
      },
    },
    rootfs: { type: 'layers', diff_ids: [`sha256:${sha256(layer)}`] },
    history: [{ created: CREATED, created_by: 'packaging/container/image.ts' }],
  };
}

function writeImage(image: Image, directory: string, tag: string): void {
  const layout = openLayout(join(directory, image.name));
  const manifests = MACHINES.map((machine) => {
    const layer = tar(image.entries(machine));
    const config = configOf(image, machine, layer);
    const manifest = layout.put(`${MEDIA}.manifest.v1+json`, {
      schemaVersion: 2,
      mediaType: `${MEDIA}.manifest.v1+json`,
      config: layout.put(`${MEDIA}.config.v1+json`, config),
      layers: [layout.put(`${MEDIA}.layer.v1.tar+${image.compression}`, compress(layer, image.compression))],
    });
    writeFileSync(
      join(directory, `${image.name}-${tag}-${machine.arch}.tar`),
      dockerArchive(`${image.name}:${tag}`, config, layer),
    );
    const { arch, ...rest } = machine;
    const variant = 'variant' in rest && { variant: rest.variant };
    return { ...manifest, platform: { architecture: arch, os: 'linux', ...variant } };
  });
  const index = { schemaVersion: 2, mediaType: `${MEDIA}.index.v1+json`, manifests };
  const called = (one: Descriptor, ref: string) => ({
    ...one,
    annotations: { 'org.opencontainers.image.ref.name': ref },
  });
  const entries = [
    called(layout.put(index.mediaType, index), tag),
    ...manifests.map((one) => called(one, `${tag}-${one.platform.architecture}`)),
  ];
  writeFileSync(join(directory, image.name, 'index.json'), JSON.stringify({ ...index, manifests: entries }));
}

function dockerArchive(repoTag: string, config: object, layer: Buffer): Buffer {
  const configText = JSON.stringify(config);
  const configName = `${sha256(Buffer.from(configText))}.json`;
  const layerName = `${sha256(layer)}.tar`;
  return tar([
    text(configName, configText),
    { path: layerName, content: layer, executable: false },
    text('manifest.json', JSON.stringify([{ Config: configName, RepoTags: [repoTag], Layers: [layerName] }])),
  ]);
}

rmSync(output, { recursive: true, force: true });
mkdirSync(output, { recursive: true });
for (const image of IMAGES) {
  if (names.length === 0 || names.includes(image.name)) writeImage(image, output, version);
}
