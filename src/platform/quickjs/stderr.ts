/** Standard error. A full pipe or a missing reader costs lines, and stops nothing. */
import { lineWriter, type WriteLine } from '../line-writer.ts';
import { checked } from './errors.ts';

const STDERR = 2;

export function openStderr(): WriteLine {
  const fd = host.openForItself(STDERR);
  return lineWriter((bytes) => checked(host.writeWithoutWaiting(fd, bytes), 'write'));
}

export function isTerminal(fd: number): boolean {
  return host.statusOf(fd).terminal;
}
