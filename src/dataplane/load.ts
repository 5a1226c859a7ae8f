import { closeSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { getRawAsset, isSea } from 'node:sea';
import { VsockProxyError } from '../platform/errors.ts';
import { openUnnamed } from './unnamed.ts';

/** The name that scripts/executable.ts gives the addon inside the executable. */
const ASSET = 'vsock.node';

/** Loads the addon: from inside the executable, or from build/ when the sources run as they are. */
export function loadAddon(): unknown {
  // The expression keeps the bundler from resolving a file that the executable carries as an asset.
  return isSea() ? loadAsset(scratchDirectories()) : createRequire(import.meta.url)('../../build/vsock.node');
}

/**
 * `RUNTIME_DIRECTORY` comes from systemd, as a list when the unit names several. In a Nitro Enclave /dev/shm, /tmp and
 * /run are mounted noexec; where the executable is, code can be executed.
 */
export function scratchDirectories(): readonly string[] {
  const runtime = process.env.RUNTIME_DIRECTORY?.split(':').filter((path) => path.startsWith('/')) ?? [];
  return [...runtime, '/dev/shm', '/tmp', '/var/tmp', dirname(process.execPath)];
}

/**
 * dlopen(3) wants a path, and the system may be read-only, mounted noexec here and there, and without a home:
 * the addon goes to an unnamed file in the first directory that allows it. Nothing can be left behind,
 * and no planted link be followed.
 */
function loadAsset(directories: readonly string[]): unknown {
  const failures: string[] = [];
  for (const directory of directories) {
    try {
      return loadThrough(directory);
    } catch (error) {
      failures.push(`${directory}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new VsockProxyError('internal', `Could not load the data plane (${failures.join('; ')})`, {
    hint: 'one of these directories must be writable and not mounted noexec; systemd: RuntimeDirectory=vsock-proxy',
  });
}

function loadThrough(directory: string): unknown {
  const fd = openUnnamed(directory);
  try {
    writeFileSync(fd, new Uint8Array(getRawAsset(ASSET)));
    const module: { exports: unknown } = { exports: {} };
    process.dlopen(module, `/proc/self/fd/${fd}`);
    return module.exports;
  } finally {
    closeSync(fd);
  }
}
