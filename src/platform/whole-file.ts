/** Replaces files atomically, so that no reader sees half of one. */
import { closeSync, fchmodSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from './system/files.ts';
import { randomHex } from './system/random.ts';

/** Everyone may read the file, whatever the umask. */
const MODE = 0o644;

/** What to do about the errno of a file that could not be written; it is as it was before. */
export const WRITE_HINTS: Readonly<Record<string, string>> = {
  ENOENT: 'make its directory first',
  ENOTDIR: 'name a file in a directory',
  EISDIR: 'name a file, not a directory',
  EACCES: 'make its directory writable for the user that this runs as',
  EROFS: 'name a file on a file system that is not read-only',
};

/**
 * Writes a new file beside this one, with mode 644, and renames it to this path.
 * @param durable whether the data must be on the disk before the rename
 * @throws the error of the file system; then the old file is unchanged
 */
export function replaceFile(path: string, text: string, { durable = false } = {}): void {
  const unfinished = `${path}.${randomHex(8)}`;
  try {
    const descriptor = openSync(unfinished, 'wx');
    try {
      fchmodSync(descriptor, MODE);
      writeFileSync(descriptor, text);
      if (durable) fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(unfinished, path);
  } catch (error) {
    rmSync(unfinished, { force: true });
    throw error;
  }
}
