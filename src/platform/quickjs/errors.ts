/** Errnos and signals. scripts/bundle-enclave.ts takes their tables from Node.js when the program is built. */
import type * as Contract from '../system/errors.ts';

/** The bundler sets it. */
declare const SYSTEM_ERRORS: readonly (readonly [errno: number, name: string, message: string])[];
declare const SYSTEM_SIGNALS: Readonly<Record<string, number>>;

export type SystemError = Contract.SystemError;

export const SIGNALS: typeof Contract.SIGNALS = SYSTEM_SIGNALS;
export const ERRNOS: typeof Contract.ERRNOS = Object.fromEntries(SYSTEM_ERRORS.map(([errno, name]) => [name, -errno]));

const KNOWN = new Map(SYSTEM_ERRORS.map((one) => [one[0], one]));

export const getSystemErrorName: typeof Contract.getSystemErrorName = (errno) =>
  KNOWN.get(errno)?.[1] ?? `Unknown system error ${errno}`;

export const getSystemErrorMessage: typeof Contract.getSystemErrorMessage = (errno) =>
  KNOWN.get(errno)?.[2] ?? `Unknown system error ${errno}`;

/** The error that Node.js would make. @param errno a negative number */
export function systemError(errno: number, syscall: string, path?: string): SystemError {
  const code = getSystemErrorName(errno);
  const where = path === undefined ? '' : ` '${path}'`;
  return Object.assign(new Error(`${code}: ${getSystemErrorMessage(errno)}, ${syscall}${where}`), {
    code,
    errno,
    syscall,
  });
}

/** @throws SystemError for a negative number */
export function checked(result: number, syscall: string, path?: string): number {
  if (result < 0) throw systemError(result, syscall, path);
  return result;
}
