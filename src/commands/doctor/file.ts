/** The configuration file, as a finding. */
import type { LoadedFile, Refused } from '../../config/load.ts';
import { type CheckResult, fail, ok, skip, warn } from './check.ts';

/** Every problem of the file, a line each. */
export function describeConfig(path: string, loaded: LoadedFile | Refused): CheckResult | readonly CheckResult[] {
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

/** @param json what `vsock-proxy check --json HOST PORT` prints */
export function describeVerdict(json: string): CheckResult {
  const { verdict, verdicts = [], problems } = JSON.parse(json) as CheckJson;
  if (verdict === undefined) return skip(problems[0]?.message ?? 'nobody can say');
  const first = verdicts.find((each) => each.verdict === verdict);
  const found = first === undefined ? verdict : `${verdict}: ${first.reason}`;
  if (verdict === 'allowed') return ok(found);
  return (verdict === 'denied' ? fail : warn)(found, first?.hint ?? undefined);
}
