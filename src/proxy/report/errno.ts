import { constants } from 'node:os';
import { getSystemErrorMessage } from 'node:util';

/** `ECONNREFUSED: connection refused`; the name alone where the system has no words for it. */
export function describeErrno(name: string): string {
  const number = (constants.errno as Readonly<Record<string, number>>)[name];
  const words = number === undefined ? undefined : getSystemErrorMessage(-number);
  return words === undefined ? name : `${name}: ${words}`;
}
