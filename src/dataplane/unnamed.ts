/** A file without a name, gone when the last descriptor and mapping are. */
import { closeSync, constants, openSync, readdirSync, readlinkSync, unlinkSync } from 'node:fs';

/**
 * `O_TMPFILE` of fcntl.h. Node does not name it; of its two bits `O_DIRECTORY` differs between x86-64 and aarch64.
 * `O_EXCL` forbids naming the file later.
 */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;

/**
 * A new one in this directory. File systems that do not know such files say so in different ways (EOPNOTSUPP, which Node.js
 * calls ENOTSUP; EISDIR; EINVAL): overlayfs before Linux 6.2, and so the root of most containers, is one of them. So
 * whatever open(2) says, a file that loses its name at once is tried as well.
 * @param unnamed the flags that ask for it
 * @throws the error of the second open(2)
 */
export function openUnnamed(directory: string, unnamed = O_TMPFILE): number {
  try {
    return openSync(directory, unnamed | constants.O_RDWR | constants.O_EXCL, 0o600);
  } catch {
    // Loaded here: it takes as long as all else that --version does.
    const { randomUUID } = process.getBuiltinModule('node:crypto');
    return openNamed(`${directory}/.${randomUUID()}`);
  }
}

/**
 * The empty one in memory that native/node/entry.S made before Node.js started: Node.js itself can make none.
 * @returns undefined where the kernel gave none, and when the sources run as they are
 */
export function findMemoryFile(): number | undefined {
  const names = readdirSync('/proc/self/fd');
  const found = names.find((name) => linkOf(`/proc/self/fd/${name}`) === '/memfd:vsock.node (deleted)');
  return found === undefined ? undefined : Number(found);
}

/** One of the names is the descriptor by which they were read, and it is gone. */
function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

/** With a name that nobody can guess, for a moment. */
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
