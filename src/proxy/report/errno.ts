import { ERRNOS, getSystemErrorMessage } from '../../platform/system/errors.ts';

/** `ECONNREFUSED: connection refused`; the name alone where the system has no words for it. */
export function describeErrno(name: string): string {
  const number = ERRNOS[name];
  const words = number === undefined ? undefined : getSystemErrorMessage(-number);
  return words === undefined ? name : `${name}: ${words}`;
}
