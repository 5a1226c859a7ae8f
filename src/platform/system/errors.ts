/** The names, numbers and words of errnos and signals, as node:os and node:util have them. */
import { constants } from 'node:os';
import { getSystemErrorMessage as messageOf, getSystemErrorName as nameOf } from 'node:util';

/** What the kernel calls them: `ECONNREFUSED` is 111. */
export const ERRNOS: Readonly<Record<string, number>> = constants.errno;
/** `SIGTERM` is 15. */
export const SIGNALS: Readonly<Record<string, number>> = constants.signals;

/** `-111` is `ECONNREFUSED`. */
export const getSystemErrorName: (errno: number) => string = nameOf;
/** `-111` is `connection refused`; undefined where there are no words for it. */
export const getSystemErrorMessage: (errno: number) => string | undefined = messageOf;

/** What is thrown where a call of the system fails. */
export interface SystemError extends Error {
  readonly code?: string;
  /** Below 0. */
  readonly errno?: number;
  readonly syscall?: string;
}
