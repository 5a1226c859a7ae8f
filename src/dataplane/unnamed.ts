/** A file without a name. It is gone when the last descriptor and mapping are. */
import { closeSync, constants, openSync, readdirSync, readlinkSync, unlinkSync } from 'node:fs';

/**
 * `O_TMPFILE` of fcntl.h, which Node.js does not export. Its bit `O_DIRECTORY` differs between x86-64 and aarch64.
 * `O_EXCL` prevents that the file gets a name later.
 */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;

/**
 * Opens a new unnamed file in this directory. File systems without such files fail in different ways (EOPNOTSUPP, which
 * Node.js calls ENOTSUP; EISDIR; EINVAL). One is overlayfs before Linux 6.2, the root of most containers. So after any
 * error of open(2), a file that loses its name at once is tried, too.
 * @param unnamed the flags for an unnamed file
 * @throws the error of the second open(2)
 */
export function openUnnamed(directory: string, unnamed = O_TMPFILE): number {
  try {
    return openSync(directory, unnamed | constants.O_RDWR | constants.O_EXCL, 0o600);
  } catch {
    // The module is loaded here, because it would double the time of --version.
    const { randomUUID } = process.getBuiltinModule('node:crypto');
    return openNamed(`${directory}/.${randomUUID()}`);
  }
}

/**
 * Finds the empty file in memory that native/node/entry.S created before Node.js started. Node.js itself cannot create
 * one.
 * @returns undefined if the kernel refused the file, or if the sources run directly
 */
export function findMemoryFile(): number | undefined {
  const names = readdirSync('/proc/self/fd');
  const found = names.find((name) => linkOf(`/proc/self/fd/${name}`) === '/memfd:vsock.node (deleted)');
  return found === undefined ? undefined : Number(found);
}

/** One of the names is the descriptor of the directory itself, which is closed by now. */
function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

/** For a moment the file has a name that nobody can guess. */
function openNamed(path: string): number {
  const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
  const descriptor = openSync(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  try {
    unlinkSync(path);
    return descriptor;
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}
