/** From figures to verdicts. Pure. */

export const names = ['direct', 'vsock-proxy', 'socat', 'systemd-socket-proxyd', 'HAProxy'] as const;
/** Who is measured; `direct` is the way without a proxy, the limit of what one can reach. */
export type Name = (typeof names)[number];
/** With whom ours is compared. */
export const peers = names.slice(2);

/** `level`: short of the goal, but by no more than the noise of the measurement. */
export type Mark = 'PASS' | 'level' | 'SHORT';

export type Better = 'higher' | 'lower';

/** Ratios that differ by less are the same. */
const noise = 0.05;

/** The middle value, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, other) => one - other);
  const upper = sorted[sorted.length >> 1];
  const lower = sorted[(sorted.length - 1) >> 1];
  if (upper === undefined || lower === undefined) throw new Error('no values, no median');
  return (lower + upper) / 2;
}

/** How many times better ours is than the other: above 1 it is ahead, whatever the unit. */
export function ratioTo(other: number, ours: number, better: Better): number {
  return better === 'higher' ? ours / other : other / ours;
}

/** That to the best peer, of the medians, so that a reader can check it with the table alone. */
export function ratioToBestPeer(medians: Readonly<Record<Name, number>>, better: Better): number {
  return Math.min(...peers.map((peer) => ratioTo(medians[peer], medians['vsock-proxy'], better)));
}

export function markRatio(ratio: number, goal: number): Mark {
  if (ratio >= goal) return 'PASS';
  return ratio >= goal * (1 - noise) ? 'level' : 'SHORT';
}

/** For what must not be larger than `limit`, whichever its sign. */
export function markLimit(value: number, limit: number): Mark {
  return Math.abs(value) <= limit ? 'PASS' : 'SHORT';
}
