/** The check of the configuration file. */
import type { LenientFile } from '../../config/lenient.ts';
import type { LoadedFile, Refused } from '../../config/load.ts';
import { type CheckResult, fail, ok, skip, warn } from './check.ts';

/** One finding for each problem of the file. Mistakes that are ignored are warnings. */
export function describeConfig(
  path: string,
  loaded: LoadedFile | LenientFile | Refused,
): CheckResult | readonly CheckResult[] {
  if ('ignored' in loaded) {
    return loaded.ignored.map(({ problem: { message, place, hint } }) =>
      warn(`passed over: ${place === undefined ? message : `${message} (${place})`}`, hint),
    );
  }
  if (!('problems' in loaded)) return ok(`${path} is valid`);
  const more = loaded.more > 0 ? [fail(`${loaded.more} more problems`, `vsock-proxy check --config ${path}`)] : [];
  return [
    ...loaded.problems.map(({ message, place, hint }) =>
      fail(place === undefined ? message : `${message} (${place})`, hint),
    ),
    ...more,
  ];
}

interface CheckJson {
  readonly verdict?: 'allowed' | 'denied' | 'undecided';
  readonly verdicts?: readonly { readonly verdict: string; readonly reason: string; readonly hint?: string | null }[];
  readonly problems: readonly { readonly message: string }[];
}

/** @param json the output of `vsock-proxy check --json HOST PORT` */
export function describeVerdict(json: string): CheckResult {
  const { verdict, verdicts = [], problems } = JSON.parse(json) as CheckJson;
  if (verdict === undefined) return skip(problems[0]?.message ?? 'nobody can say');
  const first = verdicts.find((each) => each.verdict === verdict);
  const found = first === undefined ? verdict : `${verdict}: ${first.reason}`;
  if (verdict === 'allowed') return ok(found);
  return (verdict === 'denied' ? fail : warn)(found, first?.hint ?? undefined);
}
