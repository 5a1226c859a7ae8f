/**
 * Writes the samples of families of metrics: https://prometheus.io/docs/instrumenting/exposition_formats.
 *
 * A scrape may have ten thousand samples, and the program runs without a JIT. So samples are not objects but pieces of
 * text, which are mostly prepared, and joined once. prom-client, which uses objects, takes five times as long.
 */
import type { Histogram, ListenerCounters } from '../dataplane/contract.ts';
import type { ClientSnapshot, ListenerSnapshot, Snapshot } from '../proxy/snapshot.ts';
import type { ProcessFigures } from './process.ts';

/** This many clients have series of their own. */
export const MOST_CLIENTS = 256;

export interface MetricsSource {
  readonly snapshot: Snapshot;
  readonly process: ProcessFigures;
  readonly version: string;
}

/** A source, with the escaped values of the label `listener`, in the order of its listeners. */
export interface Scrape extends MetricsSource {
  readonly listeners: readonly string[];
}

/** Whole samples, each with a line feed in front. */
export type Pieces = (string | number)[];

export interface MetricFamily {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly write: (pieces: Pieces, scrape: Scrape) => void;
}

interface Sample {
  readonly value: number;
  readonly labels: Readonly<Record<string, string>>;
}

export function scrapeOf(source: MetricsSource): Scrape {
  return { ...source, listeners: source.snapshot.listeners.map(({ address }) => escapeLabel(address)) };
}

function escapeLabel(text: string): string {
  return text.replace(/[\\"\n]/g, (char) => (char === '\n' ? '\\n' : `\\${char}`));
}

export function single(
  type: 'counter' | 'gauge',
  name: string,
  help: string,
  value: (source: MetricsSource) => number | undefined,
): MetricFamily {
  const start = `\n${name} `;
  return {
    name,
    help,
    type,
    write(pieces, scrape) {
      const found = value(scrape);
      if (found !== undefined) pieces.push(start, found);
    },
  };
}

/** For families with few samples, with any labels. */
export function labelled(
  type: 'counter' | 'gauge',
  name: string,
  help: string,
  samples: (source: MetricsSource) => readonly Sample[],
): MetricFamily {
  return {
    name,
    help,
    type,
    write(pieces, scrape) {
      for (const { value, labels } of samples(scrape)) {
        const all = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`);
        pieces.push(`\n${name}{${all.join(',')}} `, value);
      }
    },
  };
}

export function perListener(
  type: 'counter' | 'gauge',
  name: string,
  help: string,
  value: (listener: ListenerSnapshot) => number | undefined,
): MetricFamily {
  const start = `\n${name}{listener="`;
  return {
    name,
    help,
    type,
    write(pieces, scrape) {
      forEachListener(scrape, (listener, label) => {
        const found = value(listener);
        if (found !== undefined) pieces.push(start, label, '"} ', found);
      });
    },
  };
}

/**
 * One sample for each key of a record, with a label for it.
 * @param record its keys are words of this program, and need no escaping
 * @param has selects keys
 */
export function perKey(
  name: string,
  help: string,
  label: string,
  record: (listener: ListenerSnapshot) => Readonly<Record<string, number>>,
  has: (key: string) => boolean = () => true,
): MetricFamily {
  const start = `\n${name}{listener="`;
  const middle = `",${label}="`;
  return {
    name,
    help,
    type: 'counter',
    write(pieces, scrape) {
      forEachListener(scrape, (listener, address) => {
        const values = record(listener);
        for (const key of Object.keys(values)) {
          if (has(key)) pieces.push(start, address, middle, key, '"} ', values[key] ?? 0);
        }
      });
    },
  };
}

export function histogram(name: string, help: string, of: (counters: ListenerCounters) => Histogram): MetricFamily {
  const [bucket, sum, count] = ['bucket', 'sum', 'count'].map((suffix) => `\n${name}_${suffix}{listener="`);
  // All histograms of a snapshot have the same bounds.
  let last: Histogram['bounds'] | undefined;
  let ends: readonly string[] = [];
  return {
    name,
    help,
    type: 'histogram',
    write(pieces, scrape) {
      forEachListener(scrape, (listener, label) => {
        const { bounds, counts, sum: total } = of(listener.counters);
        if (bounds !== last) {
          last = bounds;
          ends = counts.map((_, index) => `",le="${bounds[index] ?? '+Inf'}"} `);
        }
        let below = 0;
        for (let index = 0; index < counts.length; index += 1) {
          below += counts[index] ?? 0;
          pieces.push(bucket ?? '', label, ends[index] ?? '', below);
        }
        pieces.push(sum ?? '', label, '"} ', total, count ?? '', label, '"} ', below);
      });
    },
  };
}

/** The names are CIDs and IP addresses, and need no escaping. */
export function perClient(
  type: 'counter' | 'gauge',
  name: string,
  help: string,
  value: (client: ClientSnapshot) => number,
): MetricFamily {
  const start = `\n${name}{client="`;
  return {
    name,
    help,
    type,
    write(pieces, { snapshot: { clients } }) {
      for (const client of clients.slice(0, MOST_CLIENTS)) pieces.push(start, client.name, '"} ', value(client));
      const others = clients.slice(MOST_CLIENTS);
      if (others.length === 0) return;
      pieces.push(
        start,
        'other"} ',
        others.reduce((sum, client) => sum + value(client), 0),
      );
    },
  };
}

function forEachListener(
  { snapshot, listeners }: Scrape,
  write: (listener: ListenerSnapshot, label: string) => void,
): void {
  for (const [index, listener] of snapshot.listeners.entries()) write(listener, listeners[index] ?? '');
}
