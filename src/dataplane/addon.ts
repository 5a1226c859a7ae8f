import { getSystemErrorName } from 'node:util';
import { VsockProxyError } from '../platform/errors.ts';
import type {
  CloseReason,
  CloseRecord,
  ConnectionId,
  DataPlane,
  DataPlaneEvents,
  Decision,
  DecisionRequest,
  Fault,
  ListenerCounters,
  ListenerId,
  ListenSpec,
  Phase,
  Progress,
  SocketAddress,
} from './contract.ts';
import { loadAddon } from './load.ts';

/** What native/node/addon.cc exports: the contract, with errnos and enumerations as numbers in the order of native/core/messages.h. */
interface Addon {
  start(threads: number, deliver: Deliver, onHead: OnHead): number;
  listen(spec: ListenSpec): {
    readonly id: ListenerId;
    readonly on: SocketAddress;
    readonly call: string;
    readonly error: number;
  };
  decide(connection: ConnectionId, decision: Exclude<Decision, ConnectDecision>): void;
  connect(
    connection: ConnectionId,
    target: number,
    consume: number,
    addresses: AddressList,
    toServer: Uint8Array | undefined,
    toClient: Uint8Array | undefined,
    explain: boolean,
    handshake: boolean,
    precedentMs: number,
    precedentBytes: number,
    except: readonly number[],
  ): void;
  addressList(addresses: readonly SocketAddress[]): AddressList;
  setUpstream(listener: ListenerId, addresses: readonly SocketAddress[]): void;
  closeListener(listener: ListenerId): void;
  drain(deadlineMs: number): void;
  counters(): readonly RawCounters[];
  beat(): boolean;
  stop(): void;
}
type Deliver = (
  steps: readonly Progress[],
  records: readonly RawRecord[],
  faults: readonly RawFault[],
  aborted: number | undefined,
  asks: readonly RawRequest[],
) => void;
/** Of each question of kind `head`, ahead of what is delivered with it. `text`: the path or the IP address. */
type OnHead = (
  listener: ListenerId,
  connection: ConnectionId,
  family: number,
  cid: number,
  port: number,
  text: string,
  bytes: Uint8Array,
  ended: boolean,
) => void;
type ConnectDecision = Extract<Decision, { readonly action: 'connect' }>;
/** Addresses as the addon has them. */
type AddressList = object & { readonly __brand: 'AddressList' };
type RawRequest = Exclude<DecisionRequest, { readonly kind: 'head' | 'failed' }> | RawFailedRequest;
type FailedRequest = Extract<DecisionRequest, { readonly kind: 'failed' }>;
type RawFailedRequest = Omit<FailedRequest, 'reason' | 'errno'> & { readonly reason: number; readonly error: number };
type RawRecord = Omit<CloseRecord, 'phase' | 'reason' | 'endedBy' | 'errno'> & {
  readonly phase: number;
  readonly reason: number;
  readonly endedBy: number;
  readonly error: number;
};
type RawFault = {
  readonly kind: Fault['kind'];
  readonly listener: ListenerId;
  readonly error: number;
  readonly client?: SocketAddress;
};
type RawCounters = Omit<ListenerCounters, 'closed'> & { readonly closed: readonly number[] };

const PHASES: readonly Phase[] = ['deciding', 'connecting', 'relaying'];
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
  'head-timeout',
  'denied',
  'malformed',
  'not-admitted',
  'client-limit',
  'client-rate',
  'decision-timeout',
];

const NOT_CACHED = { forMs: 0, bytes: 0, except: [] } as const;

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
  let heads: DecisionRequest[] = [];

  const deliver: Deliver = (steps, records, faults, aborted, others) => {
    const asks = others.length === 0 ? heads : [...heads, ...others.map(toAsk)];
    heads = [];
    // Of one connection, a question comes behind the steps before it, and nothing behind its end.
    if (steps.length > 0) events.onProgress(steps);
    if (asks.length > 0) events.onDecisionRequest(asks);
    if (records.length > 0) events.onClose(records.map(toRecord));
    if (faults.length > 0) events.onFault(faults.map(toFault));
    if (aborted !== undefined) onDrained?.(aborted);
  };
  const error = addon.start(threads, deliver, (listener, connection, family, cid, port, text, bytes, ended) => {
    heads.push({ kind: 'head', listener, connection, client: toAddress(family, cid, port, text), bytes, ended });
  });
  if (error !== 0) {
    throw new VsockProxyError('internal', `Could not start ${threads} relay threads: ${errnoName(error)}`, {
      hint: 'raise the limits on threads (TasksMax=) and open files (LimitNOFILE=)',
      errno: errnoName(error),
    });
  }

  // Most decisions have the addresses of an earlier one.
  const lists = new WeakMap<readonly SocketAddress[], AddressList>();
  const listOf = (addresses: readonly SocketAddress[]): AddressList => {
    const known = lists.get(addresses);
    if (known !== undefined) return known;
    const list = addon.addressList(addresses);
    lists.set(addresses, list);
    return list;
  };

  const live = (): Addon => {
    if (!running) throw new VsockProxyError('internal', 'The data plane has been stopped');
    return addon;
  };
  return {
    listen(spec) {
      const { id, on, call, error } = live().listen(spec);
      if (error === 0) return { id, on };
      throw new VsockProxyError('listen-failed', `${call}: ${errnoName(error)}`, { errno: errnoName(error) });
    },
    setUpstream: (listener, addresses) => live().setUpstream(listener, addresses),
    decide(connection, decision) {
      if (decision.action !== 'connect') return live().decide(connection, decision);
      const { target, consume, addresses, toServer, toClient, explain, handshake = false } = decision;
      const { forMs, bytes, except } = decision.cache ?? NOT_CACHED;
      const list = listOf(addresses);
      live().connect(connection, target, consume, list, toServer, toClient, explain, handshake, forMs, bytes, except);
    },
    closeListener: (listener) => live().closeListener(listener),
    drain: (deadlineMs) =>
      new Promise((resolve) => {
        onDrained = resolve;
        live().drain(deadlineMs);
      }),
    counters: () => live().counters().map(toCounters),
    beat: () => live().beat(),
    stop() {
      if (running) addon.stop();
      running = false;
    },
  };
}

function toAddress(family: number, cid: number, port: number, text: string): SocketAddress {
  switch (family) {
    case 0:
      return { family: 'vsock', cid, port };
    case 1:
      return { family: 'unix', path: text };
    default:
      return { family: 'tcp', ip: text, port };
  }
}

function toAsk(ask: RawRequest): DecisionRequest {
  if (ask.kind !== 'failed') return ask;
  const { reason, error, ...rest } = ask;
  const failed = { ...rest, reason: named(REASONS, reason) as FailedRequest['reason'] };
  return error === 0 ? failed : { ...failed, errno: errnoName(error) };
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

function toFault({ kind, listener, error, client }: RawFault): Fault {
  if (kind === 'limit') return { kind, listener };
  if (kind === 'accept') return { kind, listener, errno: errnoName(error) };
  if (client !== undefined) return { kind, listener, client };
  throw new VsockProxyError('internal', `The data plane sent the fault ${kind} without its client`);
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
