/** Durations, as the file writes them. */

/** Whole seconds, or a whole number with its unit. */
export const DURATION = /^(\d+)(ms|s|m|h)?$/;
const MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;
/** Nobody needs a longer duration, and timers are limited to 24 days. */
export const LONGEST = '168h';

export function toMs(written: string): number | undefined {
  const [, count, unit = 's'] = DURATION.exec(written) ?? [];
  return count === undefined ? undefined : Number(count) * MS[unit as keyof typeof MS];
}

/** Whether the duration is in the allowed range. */
export function isInRange(ms: number, shortest: '0' | '1ms'): boolean {
  return ms >= (toMs(shortest) ?? 0) && ms <= (toMs(LONGEST) ?? 0);
}
