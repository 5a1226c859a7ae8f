/**
 * Writes log lines to standard error so that its reader can neither stop nor end the process. A full pipe or a missing
 * reader costs lines, never the control plane's only thread.
 */
import { constants, fstatSync, openSync, writeSync } from 'node:fs';
import { lineWriter, type WriteLine } from './line-writer.ts';
import { isTerminal } from './terminal.ts';

const STDERR = 2;

/** The standard error of this process. Call it once. */
export function openStderr(): WriteLine {
  const fd = openWithoutBlocking();
  return lineWriter((bytes) => writeSync(fd, bytes));
}

/**
 * O_NONBLOCK belongs to the open file description, which is shared with the shell and its other children. So a pipe or
 * terminal is opened again for this process alone. A socket cannot be opened again, but systemd gives each service its
 * own, and Node.js restores its flags at exit. Files never block. If nothing works, writes may block.
 */
function openWithoutBlocking(): number {
  const stderr = fstatSync(STDERR);
  if (stderr.isSocket()) {
    const { Socket } = process.getBuiltinModule('node:net'); // most starts do not need it
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
