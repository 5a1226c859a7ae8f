/**
 * Writes log lines to standard error so that whoever reads it can neither stop nor end the process: a full pipe or
 * a gone reader costs lines, never the control plane's only thread.
 */
import { constants, fstatSync, openSync, writeSync } from 'node:fs';
import { lineWriter, type WriteLine } from './line-writer.ts';
import { isTerminal } from './terminal.ts';

const STDERR = 2;

/** The process's own standard error. Call it once. */
export function openStderr(): WriteLine {
  const fd = openWithoutBlocking();
  return lineWriter((bytes) => writeSync(fd, bytes));
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
