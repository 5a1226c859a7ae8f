import { closeSync, constants, openSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { getRawAsset, isSea } from 'node:sea';
import { VsockProxyError } from '../platform/errors.ts';
import { findMemoryFile, openUnnamed } from './unnamed.ts';

/** The name that scripts/executable.ts gives the addon inside the executable. */
const ASSET = 'vsock.node';

let shared: unknown;

/** The addon, loaded once. */
export function loadAddon(): unknown {
  shared ??= loadCopy();
  return shared;
}

/** One more copy of the addon: from inside the executable, or from build/ when the sources run as they are. */
export function loadCopy(): unknown {
  // The expression keeps the bundler from resolving a file that the executable carries as an asset.
  return isSea()
    ? loadAsset(scratchDirectories())
    : loadPath(createRequire(import.meta.url).resolve('../../build/vsock.node'));
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
 * dlopen(3) wants a file. One in memory needs no directory, and is nobody's mount. Where there is none, or where the system
 * forbids that such a file is executed, the addon goes to an unnamed file in the first directory that allows it. Nothing can
 * be left behind, and no planted link be followed. Where no directory allows it either, as in a container with a read-only
 * root, the same file beside the executable is as good.
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

/** dlopen(3) repeats itself on further lines. */
function firstLine({ message }: Error): string {
  return message.split('\n', 1)[0] ?? message;
}

/** @param fd of an empty file, which is closed */
function loadThrough(fd: number, asset: Uint8Array): unknown {
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
  return loadPath(`/proc/self/fd/${fd}`);
}

function loadPath(path: string): unknown {
  const module: { exports: unknown } = { exports: {} };
  process.dlopen(module, path);
  return module.exports;
}
