/** A snapshot of a proxy that has done something of everything. */
import type { Histogram, ListenerCounters, ListenerId } from '../../../src/dataplane/contract.ts';
import type { ProcessFigures } from '../../../src/observe/process.ts';
import type { ListenerSnapshot, Snapshot } from '../../../src/proxy/snapshot.ts';
import { closedCounts } from '../../dataplane/figures.ts';

export const AT = new Date('2026-11-27T12:00:00Z');
const before = (seconds: number) => new Date(AT.getTime() - seconds * 1000);

export function histogram(...counts: readonly [number, number, number]): Histogram {
  return { bounds: [0.001, 0.1], counts, sum: 1.5 };
}

export function counters(changes: Partial<ListenerCounters> = {}): ListenerCounters {
  return {
    listener: 1 as ListenerId,
    accepted: 12,
    active: 3,
    bytesUp: 2048,
    bytesDown: 5_000_000,
    closed: closedCounts({ finished: 6, 'connect-failed': 2, denied: 1, 'not-admitted': 4 }),
    limitHits: 5,
    limitWaitMs: 2500,
    waitingMs: 100,
    connect: histogram(5, 3, 0),
    duration: histogram(1, 2, 6),
    queued: histogram(0, 5, 0),
    decisionsCached: 7,
    exchangesCached: 0,
    answers: [0, 0, 0, 0, 0],
    decisionsRequested: 2,
    ...changes,
  };
}

export function listener(changes: Partial<ListenerSnapshot> = {}): ListenerSnapshot {
  return {
    address: 'vsock:3:8000',
    place: 'proxy.yaml:3',
    route: 'target',
    target: 'kms.example:443',
    limits: { connections: 100, connectionsPerClient: 0, ratePerClient: 0 },
    counters: counters(),
    upstream: { addresses: ['10.0.0.7:443'], ageSeconds: 12, ttlSeconds: 60, stale: false },
    lastFailure: { at: before(90), problem: 'could not connect to kms.example:443: ECONNREFUSED' },
    ...changes,
  };
}

export function snapshot(changes: Partial<Snapshot> = {}): Snapshot {
  return {
    at: AT,
    startedAt: before(7500),
    config: { path: 'proxy.yaml', hash: 'abc', loadedAt: before(60), loads: 3, failedLoads: 1 },
    listeners: [
      listener(),
      listener({
        address: 'vsock:3:10000',
        route: 'http',
        denials: { denied: 2 },
        http: { methods: { CONNECT: 9, GET: 1 }, statuses: { '4xx': 2 } },
      }),
    ],
    clients: [{ name: 'vsock:16', active: 3, accepted: 12, refused: 4, bytesUp: 1, bytesDown: 2 }],
    dns: { lookups: { ok: 4, ENOTFOUND: 1 }, staleAnswers: 2, remembered: 3 },
    threadSeconds: [1.5, 0.25],
    drains: false,
    ...changes,
  };
}

export const PROCESS: ProcessFigures = {
  engine: { node: '24.21.0', arch: 'x64' },
  cpuSeconds: 2,
  residentBytes: 50_000_000,
  descriptors: 40,
  descriptorLimit: 1024,
  loopDelaySeconds: 0.002,
};
