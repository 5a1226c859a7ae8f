/** Standard error. A full pipe or a missing reader costs lines, and stops nothing. */
import { lineWriter, type WriteLine } from '../line-writer.ts';
import { checked } from './errors.ts';

const STDERR = 2;
/** The values of open(2) and inode(7), which are the same on x86-64 and aarch64. */
const O_WRONLY = 1;
const O_NOCTTY = 0o400;
const O_NONBLOCK = 0o4000;
const FILE_TYPE = 0o170000;
const PIPE = 0o010000;

export function openStderr(): WriteLine {
  const fd = openForItself();
  return lineWriter((bytes) => checked(host.writeWithoutWaiting(fd, bytes), 'write'));
}

/**
 * O_NONBLOCK would hold for every process that has the same file open. Another one of them, such as the command, may
 * fill a pipe or a terminal between poll(2) and write(2), which then waits. So these are opened again, if /proc allows it.
 */
function openForItself(): number {
  const { mode, terminal } = host.statusOf(STDERR);
  if ((mode & FILE_TYPE) !== PIPE && !terminal) return STDERR;
  const own = host.openFile(`/proc/self/fd/${STDERR}`, O_WRONLY | O_NONBLOCK | O_NOCTTY, 0);
  return own < 0 ? STDERR : own;
}

export function isTerminal(fd: number): boolean {
  return host.statusOf(fd).terminal;
}
