/** What one check of the doctor is: a name, a question to the machine, and one answer in words. */

export type CheckStatus = 'ok' | 'warn' | 'fail' | 'skip';

/** What a check has found out. */
export interface CheckResult {
  readonly status: CheckStatus;
  /** What was found, in one line; for `skip`: why nothing was looked for. */
  readonly found: string;
  /** The command, or the one step, that mends it. */
  readonly fix?: string;
}

export interface Check {
  /** In lower case, for `--skip` and scripts. Never changes its meaning. */
  readonly name: string;
  /** Never rejected for what may be wrong with a machine. Several findings: one line each, all under the same name. */
  run(): Promise<CheckResult | readonly CheckResult[]> | CheckResult | readonly CheckResult[];
}

export const ok = (found: string): CheckResult => ({ status: 'ok', found });
export const skip = (found: string): CheckResult => ({ status: 'skip', found });
export const warn = (found: string, fix?: string): CheckResult => withFix('warn', found, fix);
export const fail = (found: string, fix?: string): CheckResult => withFix('fail', found, fix);

function withFix(status: CheckStatus, found: string, fix: string | undefined): CheckResult {
  return fix === undefined ? { status, found } : { status, found, fix };
}
