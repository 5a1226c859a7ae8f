import { closeSync, constants, openSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { getRawAsset, isSea } from 'node:sea';
import { VsockProxyError } from '../errors.ts';

/** The name that scripts/executable.ts gives the addon inside the executable. */
const ASSET = 'vsock.node';

/**
 * `O_TMPFILE` of fcntl.h: a file without a name, gone when the last descriptor and mapping are. Node does not
 * name it; of its two bits `O_DIRECTORY` differs between x86-64 and aarch64. `O_EXCL` forbids naming it later.
 */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;

/** Loads the addon: from inside the executable, or from build/ when the sources run as they are. */
export function loadAddon(): unknown {
  // The expression keeps the bundler from resolving a file that the executable carries as an asset.
  return isSea() ? loadAsset(scratchDirectories()) : createRequire(import.meta.url)('../../build/vsock.node');
}

/** `RUNTIME_DIRECTORY` comes from systemd, as a list when the unit names several. */
function scratchDirectories(): readonly string[] {
  const runtime = process.env.RUNTIME_DIRECTORY?.split(':').filter((path) => path.startsWith('/')) ?? [];
  return [...runtime, '/dev/shm', '/tmp'];
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
  const fd = openSync(directory, O_TMPFILE | constants.O_RDWR | constants.O_EXCL, 0o600);
  try {
    writeFileSync(fd, new Uint8Array(getRawAsset(ASSET)));
    const module: { exports: unknown } = { exports: {} };
    process.dlopen(module, `/proc/self/fd/${fd}`);
    return module.exports;
  } finally {
    closeSync(fd);
  }
}
