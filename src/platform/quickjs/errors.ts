/** Errnos and signals: their tables come from Node.js when the program is built (scripts/bundle-enclave.ts). */
import type * as Contract from '../system/errors.ts';

/** Put in place by the bundler. */
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

/** As Node.js makes it. @param errno below 0 */
export function systemError(errno: number, syscall: string, path?: string): SystemError {
  const code = getSystemErrorName(errno);
  const where = path === undefined ? '' : ` '${path}'`;
  return Object.assign(new Error(`${code}: ${getSystemErrorMessage(errno)}, ${syscall}${where}`), {
    code,
    errno,
    syscall,
  });
}

/** @throws SystemError for what is below 0 */
export function checked(result: number, syscall: string, path?: string): number {
  if (result < 0) throw systemError(result, syscall, path);
  return result;
}
