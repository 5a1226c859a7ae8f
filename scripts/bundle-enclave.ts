/**
 * bundle-enclave.ts VERSION ENTRY SCRIPT METAFILE: bundles the enclave's side for QuickJS, as one script.
 *
 * The files of src/platform/quickjs replace those of src/platform/system with the same names.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { basename, resolve } from 'node:path';
import { getSystemErrorMap } from 'node:util';
import { build, type Plugin } from 'esbuild';

const [version, entry, script, metafile] = process.argv.slice(2);
if (!version || !entry || !script || !metafile) {
  throw new Error('usage: bundle-enclave.ts VERSION ENTRY SCRIPT METAFILE');
}

const QUICKJS = resolve('src/platform/quickjs');

/** Modules of Node.js that libraries import. */
const LIBRARIES = /^(?:buffer|node:(?:child_process|events|fs|path|process|util))$/;

const engine: Plugin = {
  name: 'quickjs',
  setup({ onResolve }) {
    onResolve({ filter: /^\.{1,2}\// }, ({ path, resolveDir }) => {
      const target = resolve(resolveDir, path);
      const isOfEngine = /\/src\/(?:platform\/system\/\w+|dataplane\/load)\.ts$/.test(target);
      if (!isOfEngine) return undefined;
      const own = `${QUICKJS}/${basename(target)}`;
      if (!existsSync(own)) return { errors: [{ text: `QuickJS has no ${basename(target)}` }] };
      return { path: own };
    });
    onResolve({ filter: LIBRARIES }, ({ importer }) =>
      importer.includes('node_modules') ? { path: `${QUICKJS}/libraries.ts` } : undefined,
    );
  },
};

const { outputFiles, metafile: meta } = await build({
  entryPoints: [entry],
  bundle: true,
  minifySyntax: true,
  target: 'es2023',
  logLevel: 'warning',
  platform: 'neutral',
  mainFields: ['module', 'main'],
  format: 'iife',
  outfile: script,
  write: false,
  metafile: true,
  plugins: [engine],
  define: {
    VSOCK_PROXY_VERSION: JSON.stringify(version),
    SYSTEM_SIGNALS: JSON.stringify(constants.signals),
    SYSTEM_ERRORS: JSON.stringify([...getSystemErrorMap()].map(([errno, names]) => [errno, ...names])),
  },
});
writeFileSync(script, outputFiles[0]?.contents ?? '');
writeFileSync(metafile, JSON.stringify(meta));
