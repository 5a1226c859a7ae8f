/** Whether a descriptor is a terminal. */
import { fstatSync } from 'node:fs';

/** Character devices of memory, as Linux numbers them (devices.txt): /dev/null is one, and no terminal. */
const MAJOR_MEMORY = 1;

/** node:tty brings sockets and streams along, which takes as long as all of this program's own start: it is asked last. */
export function isTerminal(descriptor: number): boolean {
  try {
    const status = fstatSync(descriptor);
    if (!status.isCharacterDevice() || ((status.rdev >>> 8) & 0xfff) === MAJOR_MEMORY) return false;
  } catch {
    return false; // it is closed
  }
  return process.getBuiltinModule('node:tty').isatty(descriptor);
}
