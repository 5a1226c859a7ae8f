import { closeSync, constants, openSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { getRawAsset, isSea } from 'node:sea';
import { VsockProxyError } from '../platform/errors.ts';
import { findMemoryFile, openUnnamed } from './unnamed.ts';

/** The name of the addon inside the executable, as scripts/executable.ts sets it. */
const ASSET = 'vsock.node';

let shared: unknown;

/** The shared copy of the addon, loaded once. */
export function loadAddon(): unknown {
  shared ??= loadCopy();
  return shared;
}

/** Another copy of the addon: from inside the executable, or from build/ if the sources run directly. */
export function loadCopy(): unknown {
  // The expression keeps the bundler from resolving the file, which is an asset of the executable.
  return isSea()
    ? loadAsset(scratchDirectories())
    : loadPath(createRequire(import.meta.url).resolve('../../build/vsock.node'));
}

/**
 * systemd sets `RUNTIME_DIRECTORY`, to a list if the unit names several. In a Nitro Enclave /dev/shm, /tmp and /run are
 * mounted noexec. Code can be executed in the directory of the executable.
 */
export function scratchDirectories(): readonly string[] {
  const runtime = process.env.RUNTIME_DIRECTORY?.split(':').filter((path) => path.startsWith('/')) ?? [];
  return [...runtime, '/dev/shm', '/tmp', '/var/tmp', dirname(process.execPath)];
}

/**
 * dlopen(3) needs a file. A file in memory needs no directory and no mount. If there is none, or if the system forbids
 * to execute it, the addon goes to an unnamed file in the first directory that allows it. Nothing is left behind, and
 * no planted link is followed. If no directory allows it, as in a container with a read-only root, the same file beside
 * the executable is used.
 */
function loadAsset(directories: readonly string[]): unknown {
  const asset = new Uint8Array(getRawAsset(ASSET));
  const beside = join(dirname(process.execPath), ASSET);
  const ways: readonly (readonly [place: string, load: () => unknown])[] = [
    ['memory', () => loadThrough(memoryFile(), asset)],
    ...directories.map((directory) => [directory, () => loadThrough(openUnnamed(directory), asset)] as const),
    [beside, () => loadBeside(beside, asset)],
  ];
  const failures: string[] = [];
  for (const [place, load] of ways) {
    try {
      return load();
    } catch (error) {
      failures.push(`${place}: ${error instanceof Error ? firstLine(error) : String(error)}`);
    }
  }
  throw new VsockProxyError('internal', `Could not load the data plane (${failures.join('; ')})`, {
    hint:
      `memfd_create must be allowed, or one of these directories be writable and not mounted noexec ` +
      `(systemd: RuntimeDirectory=vsock-proxy; docker --read-only: --tmpfs /tmp:exec), ` +
      `or ${ASSET} of the package lie beside the executable; and /proc must be mounted`,
  });
}

function memoryFile(): number {
  const fd = findMemoryFile();
  if (fd === undefined) throw new Error('memfd_create was refused');
  return fd;
}

/** The message of dlopen(3) repeats itself on further lines. */
function firstLine({ message }: Error): string {
  return message.split('\n', 1)[0] ?? message;
}

/** @param fd of an empty file; it is closed */
function loadThrough(fd: number, asset: Uint8Array): unknown {
  try {
    writeFileSync(fd, asset);
    return loadFrom(fd);
  } finally {
    closeSync(fd);
  }
}

/** @throws Error if it is not the file with which this executable was built */
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
  return loadPath(`/proc/self/fd/${fd}`);
}

function loadPath(path: string): unknown {
  const module: { exports: unknown } = { exports: {} };
  process.dlopen(module, path);
  return module.exports;
}
