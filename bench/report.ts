/** The figures as text for people. Pure. */
import type { Contest } from './decisions.ts';
import type { Footprint } from './footprint.ts';
import { markLimit, markRatio, median, type Name, names, ratioTo, ratioToBestPeer } from './judge.ts';
import type { Measure, Race, Sample, Samples } from './race.ts';

/** Every cell as text. */
export type Line = readonly string[];

const shortNames: Readonly<Record<Name, string>> = {
  direct: 'direct',
  'vsock-proxy': 'vsock-proxy',
  socat: 'socat',
  'systemd-socket-proxyd': 'socket-proxyd',
  HAProxy: 'HAProxy',
};

export const heading: Line = ['', 'unit', ...names.map((name) => shortNames[name]), 'ratio', 'goal', ''];

/** The lines of one race: medians, and how ours compares with the best peer. */
export function raceLines(race: Race, samples: Samples): readonly Line[] {
  const lines = race.rows.map(({ title, unit, figure, better, goal }): Line => {
    const medians = perName((name) => median(valuesOf(samples[name], figure)));
    const ratio = ratioToBestPeer(medians, better);
    const cells = names.map((name) => decimal(medians[name]));
    return [title, unit, ...cells, ratio.toFixed(2), `≥ ${goal.toFixed(2)}`, markRatio(ratio, goal)];
  });
  if (samples.direct.every(({ figures }) => figures.failed === undefined)) return lines;
  const failed = perName((name) => failuresOf(samples[name]));
  const mark = markLimit(failed['vsock-proxy'], 0);
  return [...lines, ['connections that failed', '', ...names.map((name) => String(failed[name])), '', '0', mark]];
}

export function footprintLine({ title, unit, cells, limit }: Footprint): Line {
  const texts = names.map((name) => {
    const value = cells[name];
    return value === undefined ? '' : decimal(value);
  });
  return [title, unit, ...texts, '', `≤ ${limit}`, markLimit(cells['vsock-proxy'] ?? Number.NaN, limit)];
}

export const spreadHeading: Line = ['', 'unit', ...names.map((name) => shortNames[name])];

/** How far the rounds of a race lie apart, and how many CPUs the load generator took (client + server). */
export function spreadLines(race: Race, samples: Samples): readonly Line[] {
  const spreads = race.rows.map(({ title, unit, figure }): Line => {
    return [title, unit, ...names.map((name) => spread(samples[name], figure))];
  });
  return [...spreads, [LOAD, 'CPUs', ...names.map((name) => loadCpus(samples[name]))]];
}

const LOAD = '  load: client + server';

/** @param ours the program in the first column of figures */
export const duelHeading = (ours = 'vsock-proxy'): Line => ['', 'unit', ours, 'beside', '', 'ratio', 'goal', ''];

/** The lines of one contest: medians, and how ours compares with the other. */
export function duelLines<N extends string>({ ours, peer, duels }: Contest<N>, samples: Samples<N>): readonly Line[] {
  const lines = duels.map(({ title, unit, figure, better, goal, ours, beside }): Line => {
    const [our, their] = [median(valuesOf(samples[ours], figure)), median(valuesOf(samples[beside], figure))];
    const ratio = ratioTo(their, our, better);
    const aim = goal === undefined ? ['', ''] : [`≥ ${goal.toFixed(2)}`, markRatio(ratio, goal)];
    return [title, unit, decimal(our), beside, decimal(their), ratio.toFixed(2), ...aim];
  });
  if (peer === undefined) return lines;
  const failed = ours.reduce((sum, name) => sum + failuresOf(samples[name]), 0);
  const theirs = String(failuresOf(samples[peer]));
  return [...lines, ['connections that failed', '', String(failed), peer, theirs, '', '0', markLimit(failed, 0)]];
}

/** Two that are measured in one run; how many times better the first is; and the spreads of both. */
export function pairOf({ figure, better }: Measure, one: readonly Sample[], other: readonly Sample[]) {
  const [ours, theirs] = [median(valuesOf(one, figure)), median(valuesOf(other, figure))];
  return {
    cells: [decimal(ours), decimal(theirs)],
    ratio: ratioTo(theirs, ours, better),
    spreads: [spread(one, figure), spread(other, figure)],
  };
}

export const duelSpreadHeading = (ours = 'vsock-proxy'): Line => ['', 'unit', ours, 'beside', ''];

export function duelSpreadLines<N extends string>({ duels }: Contest<N>, samples: Samples<N>): readonly Line[] {
  return duels.flatMap(({ title, unit, figure, ours, beside }): readonly Line[] => [
    [title, unit, spread(samples[ours], figure), beside, spread(samples[beside], figure)],
    [LOAD, 'CPUs', loadCpus(samples[ours]), beside, loadCpus(samples[beside])],
  ]);
}

/** CPUs that something else than the benchmark kept busy, in the middle of all samples. */
export function foreignCpus(all: readonly Samples<string>[]): number {
  return median(
    all.flatMap((samples) =>
      Object.values(samples)
        .flat()
        .map((one) => one.foreignCpus),
    ),
  );
}

/** The first column left-aligned, the others right-aligned. */
export function textTable(lines: readonly Line[]): string {
  const widths = (lines[0] ?? []).map((_, column) => Math.max(...lines.map((line) => (line[column] ?? '').length)));
  const pad = (text: string, column: number) =>
    column === 0 ? text.padEnd(widths[column] ?? 0) : text.padStart(widths[column] ?? 0);
  return lines.map((line) => line.map(pad).join('  ').trimEnd()).join('\n');
}

export function markdownTable([head = [], ...lines]: readonly Line[]): string {
  const rule = head.map((_, column) => (column === 0 ? '---' : '--:'));
  return [head, rule, ...lines].map((line) => `| ${line.map((text) => text.trim()).join(' | ')} |`).join('\n');
}

export function valuesOf(samples: readonly Sample[], figure: string): readonly number[] {
  return samples.map(({ figures }) => figures[figure] ?? Number.NaN);
}

function failuresOf(samples: readonly Sample[]): number {
  return valuesOf(samples, 'failed').reduce((sum, value) => sum + value, 0);
}

/** The least and the greatest. */
export function spread(samples: readonly Sample[], figure: string): string {
  const values = valuesOf(samples, figure);
  return `${decimal(Math.min(...values))}–${decimal(Math.max(...values))}`;
}

function loadCpus(samples: readonly Sample[]): string {
  const [client, server] = [samples.map((one) => one.clientCpus), samples.map((one) => one.serverCpus)];
  return `${median(client).toFixed(2)} + ${median(server).toFixed(2)}`;
}

function perName<T>(value: (name: Name) => T): Record<Name, T> {
  return Object.fromEntries(names.map((name) => [name, value(name)])) as Record<Name, T>;
}

/** Three digits that count; whole numbers from 100 on. */
export function decimal(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
}
