/**
 * Writes log lines to standard error so that whoever reads it can neither stop nor end the process: a full pipe or
 * a gone reader costs lines, never the control plane's only thread.
 */
import { constants, fstatSync, openSync, writeSync } from 'node:fs';
import { isTerminal } from './terminal.ts';

const STDERR = 2;

/** @returns whether the line was taken, at least in part */
export type WriteLine = (line: string) => boolean;

/** The process's own standard error. Call it once. */
export function openStderr(): WriteLine {
  const fd = openWithoutBlocking();
  return lineWriter((bytes) => writeSync(fd, bytes));
}

/**
 * Writes whole lines in order. What a line could not get rid of goes out before the next one, so that no line is torn.
 * @param write like write(2) on a descriptor that does not block: how many bytes were taken; throws with an `errno`
 */
export function lineWriter(write: (bytes: Uint8Array) => number): WriteLine {
  let rest: Uint8Array = new Uint8Array();
  return (line) => {
    rest = writeWhatFits(write, rest);
    if (rest.length > 0) return false;
    const bytes = Buffer.from(line);
    const left = writeWhatFits(write, bytes);
    if (left.length === bytes.length) return false;
    rest = left;
    return true;
  };
}

/** @returns what did not fit */
function writeWhatFits(write: (bytes: Uint8Array) => number, bytes: Uint8Array): Uint8Array {
  let left = bytes;
  while (left.length > 0) {
    try {
      left = left.subarray(write(left));
    } catch (error) {
      // EAGAIN: full. EPIPE, EIO, ENOSPC, …: nobody reads it (any more). There is no better place to complain.
      if (error instanceof Error && 'errno' in error) break;
      throw error;
    }
  }
  return left;
}

/**
 * O_NONBLOCK belongs to the open file description, which is shared with the shell and everything else it started. So a
 * pipe or terminal is opened once more for ourselves; a socket cannot be, but systemd gives each service its own, and
 * Node restores its flags at exit. Files never block; where nothing works, neither does this: writes may wait then.
 */
function openWithoutBlocking(): number {
  const stderr = fstatSync(STDERR);
  if (stderr.isSocket()) {
    const { Socket } = process.getBuiltinModule('node:net'); // most starts need nothing of it
    new Socket({ fd: STDERR, readable: false, writable: true }).on('error', () => undefined).unref();
    return STDERR;
  }
  if (!stderr.isFIFO() && !isTerminal(STDERR)) return STDERR;
  try {
    return openSync(`/proc/self/fd/${STDERR}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    return STDERR; // /proc is not mounted, or the pipe belongs to another user
  }
}
