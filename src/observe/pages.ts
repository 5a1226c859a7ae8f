/** The pages of a running proxy: metrics and health, and on the control socket its state and its connections. */
import type { ConnectionSnapshot, Snapshot } from '../proxy/snapshot.ts';
import type { Reply } from './conversation.ts';
import { json, type Pages } from './http.ts';
import { contentTypeOf, type Format, renderMetrics } from './metrics.ts';
import type { ProcessFigures } from './process.ts';

export interface Observed {
  readonly version: string;
  readonly snapshot: () => Snapshot;
  readonly connections: () => Promise<readonly ConnectionSnapshot[]>;
  readonly process: () => ProcessFigures;
}

/** The pages for every client of the metrics' address. */
export function metricsPages(observed: Observed): Pages {
  return {
    '/metrics': async ({ accept }) => {
      const format = formatFor(accept);
      const source = { snapshot: observed.snapshot(), process: observed.process(), version: observed.version };
      return { status: 200, contentType: contentTypeOf(format), body: await renderMetrics(source, format) };
    },
    '/healthz': () => json({ status: 'ok' }),
    '/readyz': () => readiness(observed.snapshot()),
  };
}

/** The pages for users of the control socket. */
export function controlPages(observed: Observed): Pages {
  return {
    ...metricsPages(observed),
    '/status': () => json({ version: observed.version, pid: process.pid, ...observed.snapshot() }),
    '/connections': async () => json(await observed.connections()),
  };
}

/** RFC 9110 section 12.5.1, as far as scrapers use it: the first of the two types with the highest weight. */
export function formatFor(accept: string): Format {
  const weights = accept.split(',').map((part) => {
    const [type = '', ...parameters] = part.trim().toLowerCase().split(';');
    const q = parameters.map((each) => /^\s*q=([\d.]+)\s*$/.exec(each)?.[1]).find((each) => each !== undefined);
    return { type: type.trim(), weight: q === undefined ? 1 : Number(q) };
  });
  const weightOf = (type: string) =>
    Math.max(0, ...weights.filter((each) => each.type === type).map(({ weight }) => weight));
  return weightOf('application/openmetrics-text') > weightOf('text/plain') ? 'openmetrics' : 'text';
}

/** 200 if every listener listens and every fixed route has an address; otherwise 503 with what is missing. */
export function readiness({ listeners, drains }: Snapshot): Reply {
  const waiting = listeners.flatMap(({ address, upstream }) =>
    upstream !== undefined && upstream.addresses.length === 0
      ? [{ listener: address, reason: upstream.absence ?? 'no address is known' }]
      : [],
  );
  const reasons = drains ? [{ reason: 'the proxy is stopping' }, ...waiting] : waiting;
  return reasons.length === 0
    ? json({ status: 'ready', listeners: listeners.length })
    : json({ status: 'not ready', reasons }, 503);
}
