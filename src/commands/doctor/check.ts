/** The parts of a check of the doctor: a name, a look at the machine, and a result in words. */

export type CheckStatus = 'ok' | 'warn' | 'fail' | 'skip';

/** The result of a check. */
export interface CheckResult {
  readonly status: CheckStatus;
  /** What was found, in one line; for `skip`: why the check did not run. */
  readonly found: string;
  /** The command, or the step, that fixes it. */
  readonly fix?: string;
}

export interface Check {
  /** Lower case, for `--skip` and scripts. A name never changes its meaning. */
  readonly name: string;
  /** Never rejected for a fault of the machine. Several findings are one line each, all under the same name. */
  run(): Promise<CheckResult | readonly CheckResult[]> | CheckResult | readonly CheckResult[];
}

export const ok = (found: string): CheckResult => ({ status: 'ok', found });
export const skip = (found: string): CheckResult => ({ status: 'skip', found });
export const warn = (found: string, fix?: string): CheckResult => withFix('warn', found, fix);
export const fail = (found: string, fix?: string): CheckResult => withFix('fail', found, fix);

function withFix(status: CheckStatus, found: string, fix: string | undefined): CheckResult {
  return fix === undefined ? { status, found } : { status, found, fix };
}
