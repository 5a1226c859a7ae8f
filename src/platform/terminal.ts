/** Whether a descriptor is a terminal. */
import { fstatSync } from 'node:fs';

/** The memory devices of Linux (devices.txt). /dev/null is one of these character devices, and not a terminal. */
const MAJOR_MEMORY = 1;

/** node:tty loads sockets and streams, which would double the time of a start. So it is used last. */
export function isTerminal(descriptor: number): boolean {
  try {
    const status = fstatSync(descriptor);
    if (!status.isCharacterDevice() || ((status.rdev >>> 8) & 0xfff) === MAJOR_MEMORY) return false;
  } catch {
    return false; // the descriptor is closed
  }
  return process.getBuiltinModule('node:tty').isatty(descriptor);
}
