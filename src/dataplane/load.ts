import { closeSync, constants, openSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
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
 * dlopen(3) wants a file, and Node.js can make none in memory. The system may be read-only, mounted noexec here and there,
 * and without a home: the addon goes to an unnamed file in the first directory that allows it. Nothing can be left behind,
 * and no planted link be followed. Where no directory allows it, as in a container with a read-only root, the same file
 * beside the executable is as good.
 */
function loadAsset(directories: readonly string[]): unknown {
  const asset = new Uint8Array(getRawAsset(ASSET));
  const failures: string[] = [];
  const ways = directories.map((directory) => [directory, () => loadThrough(directory, asset)] as const);
  const beside = join(dirname(process.execPath), ASSET);
  for (const [place, load] of [...ways, [beside, () => loadBeside(beside, asset)] as const]) {
    try {
      return load();
    } catch (error) {
      failures.push(`${place}: ${error instanceof Error ? firstLine(error) : String(error)}`);
    }
  }
  throw new VsockProxyError('internal', `Could not load the data plane (${failures.join('; ')})`, {
    hint:
      `one of these directories must be writable and not mounted noexec (systemd: RuntimeDirectory=vsock-proxy; ` +
      `docker --read-only: --tmpfs /tmp:exec), or ${ASSET} of the package must lie beside the executable`,
  });
}

/** dlopen(3) repeats itself on further lines. */
function firstLine({ message }: Error): string {
  return message.split('\n', 1)[0] ?? message;
}

function loadThrough(directory: string, asset: Uint8Array): unknown {
  const fd = openUnnamed(directory);
  try {
    writeFileSync(fd, asset);
    return loadFrom(fd);
  } finally {
    closeSync(fd);
  }
}

/** @throws Error where it is not the file that this executable was built with */
function loadBeside(path: string, asset: Uint8Array): unknown {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    if (!readFileSync(fd).equals(asset)) throw new Error('it is of another version than the executable');
    return loadFrom(fd);
  } finally {
    closeSync(fd);
  }
}

function loadFrom(fd: number): unknown {
  const module: { exports: unknown } = { exports: {} };
  process.dlopen(module, `/proc/self/fd/${fd}`);
  return module.exports;
}
