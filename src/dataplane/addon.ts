import { getSystemErrorName } from 'node:util';
import { VsockProxyError } from '../errors.ts';
import type {
  CloseReason,
  CloseRecord,
  DataPlane,
  DataPlaneEvents,
  Fault,
  ListenerCounters,
  ListenerId,
  ListenSpec,
  Phase,
  Progress,
  UpstreamAddress,
} from './contract.ts';
import { loadAddon } from './load.ts';

/** What native/addon.cc exports: the contract, with errnos and enumerations as numbers in the order of native/record.h. */
interface Addon {
  start(threads: number, deliver: Deliver): number;
  listen(spec: ListenSpec): { readonly id: ListenerId; readonly call: string; readonly error: number };
  setUpstream(listener: ListenerId, addresses: readonly UpstreamAddress[]): void;
  closeListener(listener: ListenerId): void;
  drain(deadlineMs: number): void;
  counters(): readonly RawCounters[];
  stop(): void;
}
type Deliver = (
  steps: readonly Progress[],
  records: readonly RawRecord[],
  faults: readonly RawFault[],
  aborted: number | undefined,
) => void;
type RawRecord = Omit<CloseRecord, 'phase' | 'reason' | 'endedBy' | 'errno'> & {
  readonly phase: number;
  readonly reason: number;
  readonly endedBy: number;
  readonly error: number;
};
type RawFault = { readonly kind: Fault['kind']; readonly listener: ListenerId; readonly error: number };
type RawCounters = Omit<ListenerCounters, 'closed'> & { readonly closed: readonly number[] };

const PHASES: readonly Phase[] = ['connecting', 'relaying'];
const PARTIES: readonly CloseRecord['endedBy'][] = ['client', 'server', 'proxy'];
const REASONS: readonly CloseReason[] = [
  'finished',
  'reset',
  'connect-failed',
  'no-upstream',
  'connect-timeout',
  'idle-timeout',
  'drained',
  'internal',
];

/**
 * Starts the data plane.
 *
 * @param threads relay threads, 1 to 64
 * @throws VsockProxyError `internal` when the addon cannot be loaded or its threads cannot be started
 */
export function openDataPlane(events: DataPlaneEvents, { threads }: { readonly threads: number }): DataPlane {
  const addon = loadAddon() as Addon;
  let running = true;
  let onDrained: ((aborted: number) => void) | undefined;

  const error = addon.start(threads, (steps, records, faults, aborted) => {
    if (steps.length > 0) events.onProgress(steps);
    if (records.length > 0) events.onClose(records.map(toRecord));
    if (faults.length > 0) events.onFault(faults.map(toFault));
    if (aborted !== undefined) onDrained?.(aborted);
  });
  if (error !== 0) {
    throw new VsockProxyError('internal', `Could not start ${threads} relay threads: ${errnoName(error)}`, {
      hint: 'raise the limits on threads (TasksMax=) and open files (LimitNOFILE=)',
      errno: errnoName(error),
    });
  }

  const live = (): Addon => {
    if (!running) throw new VsockProxyError('internal', 'The data plane has been stopped');
    return addon;
  };
  return {
    listen(spec) {
      const { id, call, error } = live().listen(spec);
      if (error === 0) return id;
      throw new VsockProxyError('listen-failed', `${call}: ${errnoName(error)}`, { errno: errnoName(error) });
    },
    setUpstream: (listener, addresses) => live().setUpstream(listener, addresses),
    closeListener: (listener) => live().closeListener(listener),
    drain: (deadlineMs) =>
      new Promise((resolve) => {
        onDrained = resolve;
        live().drain(deadlineMs);
      }),
    counters: () => live().counters().map(toCounters),
    stop() {
      if (running) addon.stop();
      running = false;
    },
  };
}

function toRecord({ phase, reason, endedBy, error, ...rest }: RawRecord): CloseRecord {
  return {
    ...rest,
    phase: named(PHASES, phase),
    reason: named(REASONS, reason),
    endedBy: named(PARTIES, endedBy),
    ...(error === 0 ? {} : { errno: errnoName(error) }),
  };
}

function toFault({ kind, listener, error }: RawFault): Fault {
  return kind === 'limit' ? { kind, listener } : { kind, listener, errno: errnoName(error) };
}

function toCounters({ closed, ...rest }: RawCounters): ListenerCounters {
  const byReason = REASONS.map((reason, index) => [reason, closed[index] ?? 0]);
  return { ...rest, closed: Object.fromEntries(byReason) as Record<CloseReason, number> };
}

function named<T>(names: readonly T[], index: number): T {
  const name = names[index];
  if (name === undefined) throw new VsockProxyError('internal', `The data plane sent the unknown value ${index}`);
  return name;
}

/** `ECONNREFUSED` for 111. */
function errnoName(errno: number): string {
  return getSystemErrorName(-errno);
}
