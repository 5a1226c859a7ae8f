/**
 * contents.ts METAFILE GCC GLIBC OUTPUT ENGINE: tells what a program consists of, beside the project's own sources.
 *
 *   OUTPUT/sbom.cdx.json    CycloneDX, by `npm sbom`: the packages in the bundle; the engine with what is in it; libstdc++; glibc
 *   OUTPUT/licenses/PART/   the licence texts of each part
 *
 * METAFILE is what esbuild wrote beside the bundle, GCC the version of the compiler, and GLIBC
 * that of the C library, which the static programs contain (vsock-proxy has vsock-forwarder in it). The output depends on these and on the installed packages only: no clock, no random number, no path, no machine.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

const NODE_LICENSE = `node_modules/node-linux-${process.arch}/LICENSE`;
/** Laid out by scripts/quickjs.sh. */
const QUICKJS_LICENSE = 'build/quickjs/LICENSE';
const QUICKJS_VERSION = 'build/quickjs/VERSION';
const GCC_LICENSES = ['packaging/licenses/GPL-3.0.txt', 'packaging/licenses/GCC-exception-3.1.txt'];
/** The notices of its parts are in Debian's record. */
const GLIBC_LICENSES = ['packaging/licenses/LGPL-2.1.txt', '/usr/share/doc/libc6/copyright'];
/** Entries of `process.versions` that are no software: interfaces, data of other entries, and Node.js itself. */
const NO_SOFTWARE = ['node', 'modules', 'napi', 'cldr', 'tz', 'unicode'];
/** Names that Node.js abbreviates. */
const FULL_NAMES: Readonly<Record<string, string>> = { ares: 'c-ares', uv: 'libuv' };

/** What this program needs of a CycloneDX component: https://cyclonedx.org/docs/1.5/json/#components */
interface Component {
  readonly type: string;
  readonly name: string;
  readonly version?: string;
}

const [metafile, gcc, glibc, output, engine] = process.argv.slice(2);
if (!metafile || !gcc || !glibc || !output || (engine !== 'node' && engine !== 'quickjs')) {
  throw new Error('usage: contents.ts METAFILE GCC GLIBC OUTPUT node|quickjs');
}

const packages = bundledPackages(metafile);
rmSync(output, { recursive: true, force: true });
for (const name of packages) copyLicenses(name, licensesOf(`node_modules/${name}`));
copyLicenses(engine, [engine === 'node' ? NODE_LICENSE : QUICKJS_LICENSE]);
copyLicenses('libstdc++', GCC_LICENSES);
copyLicenses('glibc', GLIBC_LICENSES);
writeFileSync(join(output, 'sbom.cdx.json'), `${JSON.stringify(describe(packages, gcc, glibc), undefined, 2)}\n`);

/** The npm packages that gave the bundle at least one byte. */
function bundledPackages(path: string): readonly string[] {
  const { outputs } = JSON.parse(readFileSync(path, 'utf8')) as {
    readonly outputs: Readonly<
      Record<string, { readonly inputs: Readonly<Record<string, { bytesInOutput: number }>> }>
    >;
  };
  const inputs = Object.values(outputs).flatMap((one) => Object.entries(one.inputs));
  const names = inputs.flatMap(([file, { bytesInOutput }]) => {
    const name = /.*\bnode_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1];
    return name === undefined || bytesInOutput === 0 ? [] : [name];
  });
  return [...new Set(names)].sort();
}

function licensesOf(directory: string): readonly string[] {
  const files = readdirSync(directory).filter((name) => /^(licen[cs]e|notice|copying)/i.test(name));
  if (files.length === 0) {
    throw new Error(`${directory} has no licence text. Hint: add it to packaging/licenses, and tell contents.ts`);
  }
  return files.map((name) => join(directory, name));
}

function copyLicenses(part: string, files: readonly string[]): void {
  const directory = join(output as string, 'licenses', part);
  mkdirSync(directory, { recursive: true });
  for (const file of files) cpSync(file, join(directory, basename(file)));
}

function describe(names: readonly string[], gccVersion: string, glibcVersion: string): object {
  const list = JSON.parse(
    execFileSync('npm', ['sbom', '--sbom-format=cyclonedx', '--package-lock-only', '--omit=dev', '--loglevel=error'], {
      encoding: 'utf8',
    }),
  );
  const components: readonly Component[] = list.components.filter((one: Component) => names.includes(one.name));
  const missing = names.filter((name) => !components.some((one) => one.name === name));
  if (missing.length > 0) throw new Error(`npm does not tell of ${missing.join(', ')}, which the bundle contains`);
  const { name, version, license } = JSON.parse(readFileSync('package.json', 'utf8'));
  return {
    bomFormat: list.bomFormat,
    specVersion: list.specVersion,
    version: 1,
    metadata: {
      lifecycles: [{ phase: 'build' }],
      tools: [{ vendor: 'npm', name: 'cli' }], // its version is the machine's, not the project's
      component: {
        'bom-ref': `${name}@${version}`,
        type: 'application',
        name,
        version,
        licenses: [{ license: { id: license } }],
      },
    },
    components: [...components, engine === 'node' ? nodejs() : quickjs(), libstdcxx(gccVersion), libc(glibcVersion)],
  };
}

function nodejs(): Component & Readonly<Record<string, unknown>> {
  const version = process.versions.node;
  return {
    'bom-ref': `node@${version}`,
    type: 'platform',
    name: 'node',
    version,
    licenses: [{ license: { id: 'MIT' } }],
    cpe: `cpe:2.3:a:nodejs:node.js:${version}:*:*:*:*:*:*:*`,
    purl: `pkg:github/nodejs/node@v${version}`,
    components: Object.entries(process.versions)
      .filter(([name, of]) => !NO_SOFTWARE.includes(name) && of)
      .map(([name, of]) => ({ type: 'library', name: FULL_NAMES[name] ?? name, version: of as string })),
  };
}

/** Its Unicode tables and its arithmetic are its own. */
function quickjs(): Component & Readonly<Record<string, unknown>> {
  const version = readFileSync(QUICKJS_VERSION, 'utf8').trim();
  return {
    'bom-ref': `quickjs@${version}`,
    type: 'platform',
    name: 'quickjs',
    version,
    licenses: [{ license: { id: 'MIT' } }],
    purl: `pkg:generic/quickjs@${version}`,
  };
}

function libstdcxx(version: string): Component & Readonly<Record<string, unknown>> {
  return {
    'bom-ref': `libstdc++@${version}`,
    type: 'library',
    name: 'libstdc++',
    version,
    licenses: [{ expression: 'GPL-3.0-or-later WITH GCC-exception-3.1' }],
    cpe: `cpe:2.3:a:gnu:gcc:${version}:*:*:*:*:*:*:*`,
  };
}

function libc(version: string): Component & Readonly<Record<string, unknown>> {
  return {
    'bom-ref': `glibc@${version}`,
    type: 'library',
    name: 'glibc',
    version,
    licenses: [{ license: { id: 'LGPL-2.1-or-later' } }],
    cpe: `cpe:2.3:a:gnu:glibc:${version}:*:*:*:*:*:*:*`,
  };
}
