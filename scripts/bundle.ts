/**
 * bundle.ts VERSION PROGRAM PARTS METAFILE: bundles the control plane.
 *
 *   PROGRAM   runs first, and loads the other parts when they are imported
 *   PARTS     an index, a line feed, and the parts one after the other, each the text of a function
 *   METAFILE  the contents of each part, as esbuild reports them
 *
 * Without a compiler (--jitless) V8 still reads a whole script before it runs any of it. That takes longer than most
 * commands. So each `import()` begins a part of its own, and a part that is not imported is not read. The parts are
 * also there as V8's bytecode, see scripts/executable.ts.
 */
import { writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { build, transform } from 'esbuild';

const [version, program, parts, metafile] = process.argv.slice(2);
if (!version || !program || !parts || !metafile) throw new Error('usage: bundle.ts VERSION PROGRAM PARTS METAFILE');

/** Without white space and comments, V8 holds the source in a fifth of the memory. Names stay, for stack traces. */
const compact = { minifyWhitespace: true, minifySyntax: true, target: 'node24', logLevel: 'warning' } as const;

const { outputFiles, metafile: meta } = await build({
  ...compact,
  entryPoints: { start: 'src/start.ts', yaml: 'node_modules/yaml/dist/index.js' },
  bundle: true,
  splitting: true,
  platform: 'node',
  format: 'esm',
  outdir: 'parts',
  write: false,
  metafile: true,
  define: { VSOCK_PROXY_VERSION: JSON.stringify(version) },
  alias: {
    'node:child_process': './src/platform/child-process.ts',
    yaml: './src/config/read/yaml-later.ts',
  },
});

const sources = await Promise.all(
  outputFiles.map(async ({ path, text }) => {
    // A single executable application has CommonJS modules only.
    const { code } = await transform(text, {
      ...compact,
      format: 'cjs',
      platform: 'node',
      supported: { 'dynamic-import': false },
      logOverride: { 'empty-import-meta': 'silent' },
    });
    return { name: `./${basename(path)}`, bytes: Buffer.from(`(function(exports,require,module){${code}\n})`) };
  }),
);
sources.sort((one, other) => (one.name < other.name ? -1 : 1));

const index: Record<string, readonly [offset: number, length: number]> = {};
let offset = 0;
for (const { name, bytes } of sources) {
  index[name] = [offset, bytes.length];
  offset += bytes.length;
}
writeFileSync(parts, Buffer.concat([Buffer.from(`${JSON.stringify(index)}\n`), ...sources.map(({ bytes }) => bytes)]));
writeFileSync(metafile, JSON.stringify(meta));

const { code } = await transform(`(${String(start)})(require)`, compact);
writeFileSync(program, code);

/** This function becomes part of the program as it is written here. */
function start(builtin: NodeJS.Require): void {
  const { getRawAsset } = builtin('node:sea') as typeof import('node:sea');
  const { Script } = builtin('node:vm') as typeof import('node:vm');
  /** The asset's pieces by name: those of `parts`, or what scripts/executable.ts compiled them to. */
  const open = (name: string) => {
    const asset = Buffer.from(getRawAsset(name));
    const begin = asset.indexOf('\n') + 1;
    const places = JSON.parse(asset.toString('latin1', 0, begin)) as typeof index;
    return (piece: string) => {
      const place = places[piece];
      return place && asset.subarray(begin + place[0], begin + place[0] + place[1]);
    };
  };
  const partOf = open('parts');
  const codeOf = open('code');
  const loaded = new Map<string, { exports: unknown }>();
  const load = (name: string): unknown => {
    const part = partOf(name);
    if (part === undefined) return builtin(name);
    let module = loaded.get(name);
    if (module === undefined) {
      module = { exports: {} };
      loaded.set(name, module);
      const code = codeOf(name);
      const script = new Script(part.toString(), { filename: name, ...(code && { cachedData: code }) });
      script.runInThisContext()(module.exports, load, module);
    }
    return module.exports;
  };
  load('./start.js');
}
