/** Replaces files as a whole, so that nobody ever reads half of one. */
import { closeSync, fchmodSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from './system/files.ts';
import { randomHex } from './system/random.ts';

/** Whatever the umask is: everyone may read it. */
const MODE = 0o644;

/**
 * Writes a new file beside this one, mode 644, which then takes its place.
 * @param durable whether all of it is to be on the disk before
 * @throws the error of the file system; then the file is as it was
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
