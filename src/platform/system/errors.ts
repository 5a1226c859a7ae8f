/** The names, numbers and messages of errnos and signals, from node:os and node:util. */
import { constants } from 'node:os';
import { getSystemErrorMessage as messageOf, getSystemErrorName as nameOf } from 'node:util';

/** The numbers of errnos: `ECONNREFUSED` is 111. */
export const ERRNOS: Readonly<Record<string, number>> = constants.errno;
/** The numbers of signals: `SIGTERM` is 15. */
export const SIGNALS: Readonly<Record<string, number>> = constants.signals;

/** `-111` is `ECONNREFUSED`. */
export const getSystemErrorName: (errno: number) => string = nameOf;
/** `-111` is `connection refused`; undefined if there is no message for it. */
export const getSystemErrorMessage: (errno: number) => string | undefined = messageOf;

/** The error of a failed system call. */
export interface SystemError extends Error {
  readonly code?: string;
  /** A negative number. */
  readonly errno?: number;
  readonly syscall?: string;
}
