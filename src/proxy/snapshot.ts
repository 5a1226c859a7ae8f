/**
 * The state of the proxy at one moment, for status, metrics and health. It is one plain value, made for each request.
 * No state is kept for it.
 */
import type { ClientCounters, ClientKey, ListenerLimits, LiveConnection } from '../dataplane/contract.ts';
import { writeAddress } from '../dataplane/format.ts';
import { lifetimeOf } from '../dns/lifetime.ts';
import type { Figures } from './figures.ts';
import type { Listener } from './listener.ts';
import { formatServer } from './report/format.ts';

export interface Snapshot {
  readonly at: Date;
  readonly startedAt: Date;
  readonly config: ConfigSnapshot;
  readonly listeners: readonly ListenerSnapshot[];
  /** The busiest client first. */
  readonly clients: readonly ClientSnapshot[];
  readonly dns: DnsSnapshot;
  /** The processor time of each relay thread, in seconds. */
  readonly threadSeconds: readonly number[];
  readonly drains: boolean;
}

/** `name`: `vsock:16`, `tcp:10.0.0.7`, `unix`. */
export type ClientSnapshot = Omit<ClientCounters, 'client'> & { readonly name: string };

export interface ConfigSnapshot {
  /** Absent if no file is read. */
  readonly path?: string;
  /** SHA-256 of its bytes, in hexadecimal. */
  readonly hash?: string;
  /** When the running plan was loaded. */
  readonly loadedAt: Date;
  readonly loads: number;
  readonly failedLoads: number;
  /** Why the last reload failed; absent: it did not. */
  readonly failure?: string;
}

export interface ListenerSnapshot extends Figures {
  /** In the form of the file: `vsock:3:8000`, `tcp:0.0.0.0:443`, `unix:/run/x`. */
  readonly address: string;
  /** Its place in the file: `vsock-proxy.yaml:14`; absent: on the command line. */
  readonly place?: string;
  /** `target`, `http`, `sni`, … */
  readonly route: string;
  /** The target of all its clients; absent if each client names its own. */
  readonly target?: string;
  readonly limits: ListenerLimits;
  /** For a route to one name or address. */
  readonly upstream?: UpstreamSnapshot;
}

export interface UpstreamSnapshot {
  /** `10.0.0.7:443`; empty while there is no address. */
  readonly addresses: readonly string[];
  /** The reason why there is no address. */
  readonly absence?: string;
  /** The age of the answer in use, and its lifetime, in seconds; absent for addresses that the operator wrote. */
  readonly ageSeconds?: number;
  readonly ttlSeconds?: number;
  readonly stale: boolean;
}

export interface DnsSnapshot {
  /** Ended look-ups by result: `ok`, `ENOTFOUND`, `ETIMEOUT`, … */
  readonly lookups: Readonly<Record<string, number>>;
  readonly staleAnswers: number;
  /** The number of names in the cache. */
  readonly remembered: number;
}

/** Open connections. */
export type ConnectionSnapshot = Omit<LiveConnection, 'target'> & {
  /** The address of its listener. */
  readonly address: string;
  /** `host:port`; absent if the client has not named it, or if it is forgotten. */
  readonly target?: string;
};

/**
 * One for each socket of the listener.
 * @param figures those of each socket
 * @param now of the clock that dates answers
 */
export function snapshotOf(
  { plan, route, bound }: Listener,
  figures: readonly (Figures | undefined)[],
  now: number,
): readonly ListenerSnapshot[] {
  const upstream = upstreamOf(route, now);
  return bound.flatMap(({ on }, index) => {
    const counted = figures[index];
    if (counted === undefined) return [];
    return {
      address: writeAddress(on),
      ...(plan.place !== undefined && { place: plan.place }),
      route: plan.route.kind,
      ...(route.target !== undefined && { target: route.target }),
      limits: plan.limits,
      ...counted,
      ...(upstream && { upstream }),
    };
  });
}

function upstreamOf(route: Listener['route'], now: number): UpstreamSnapshot | undefined {
  const current = route.current?.();
  if (current === undefined) return undefined;
  const addresses = current.map(formatServer);
  const last = route.last();
  return {
    addresses,
    ...(addresses.length === 0 && { absence: route.absence() }),
    ...(last && { ageSeconds: (now - last.at) / 1000, ttlSeconds: lifetimeOf(last.answer) / 1000 }),
    stale: last !== undefined && now - last.at > lifetimeOf(last.answer),
  };
}

export function clientSnapshot({ client, ...counters }: ClientCounters): ClientSnapshot {
  return { ...counters, name: nameOf(client) };
}

function nameOf(client: ClientKey): string {
  switch (client.family) {
    case 'vsock':
      return `vsock:${client.cid}`;
    case 'tcp':
      return `tcp:${client.ip}`;
    case 'unix':
      return 'unix';
  }
}
