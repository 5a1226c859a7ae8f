import { VsockProxyError } from '../platform/errors.ts';
import { getSystemErrorName } from '../platform/system/errors.ts';
import type {
  ClientCounters,
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
  LiveConnection,
  Progress,
  SocketAddress,
} from './contract.ts';
import { loadAddon, loadCopy } from './load.ts';
import { checkTables, type NativeTables } from './names.ts';

/** The exports of native/binding/calls.cc and of the engine's module: the contract, with errnos as numbers. */
interface Addon extends NativeTables {
  /** @returns an errno, as all functions that return a number */
  start(threads: number, deliver: (batch: Batch) => void): number;
  listen(spec: ListenSpec): {
    readonly id: ListenerId;
    readonly on: SocketAddress;
    readonly call: string;
    readonly error: number;
  };
  setUpstream(listener: ListenerId, addresses: readonly SocketAddress[]): void;
  decide(connection: ConnectionId, decision: Decision): void;
  closeListener(listener: ListenerId): void;
  forget(listener: ListenerId): void;
  drain(deadlineMs: number): void;
  counters(): readonly ListenerCounters[];
  clients(): readonly ClientCounters[];
  /** Each thread answers with a `listing` of this number. */
  list(number: number): void;
  threadSeconds(): readonly number[];
  beat(): boolean;
  stop(): void;
}

/**
 * Events since the last batch, each kind in order. `drained`: the number of aborted connections, when the drain is
 * over.
 */
export interface Batch {
  readonly progress: readonly Progress[];
  readonly close: readonly WithError<CloseRecord>[];
  readonly fault: readonly WithError<Fault>[];
  readonly request: readonly WithError<DecisionRequest>[];
  readonly listing: readonly Listing[];
  readonly drained?: number;
}

/** The connections of one relay thread. */
interface Listing {
  readonly number: number;
  readonly connections: readonly LiveConnection[];
}

/** With the number of the errno, if any, instead of its name. */
type WithError<Event> = Event & { readonly error?: number };

/** One thread relays tens of Gbit/s. More than a few threads would only take processors from the enclaves. */
const MAX_RELAY_THREADS = 4;

/** How many relay threads a proxy has on a machine with this many processors. */
export function relayThreads(processors: number): number {
  return Math.min(processors, MAX_RELAY_THREADS);
}

/** A copy of the addon has one data plane at a time. The first data plane uses the shared copy. */
let sharedIsTaken = false;

/**
 * Starts a data plane.
 *
 * @param threads relay threads, 1 to 64
 * @throws VsockProxyError `internal` if the addon cannot be loaded, or its threads cannot be started
 */
export function openDataPlane(events: DataPlaneEvents, { threads }: { readonly threads: number }): DataPlane {
  const isShared = !sharedIsTaken;
  const addon = (isShared ? loadAddon() : loadCopy()) as Addon;
  checkTables(addon);
  let running = true;
  let onDrained: ((aborted: number) => void) | undefined;
  const listings = new Listings(threads);

  const error = addon.start(threads, ({ progress, close, fault, request, listing, drained }) => {
    // In this order, a request follows the earlier steps of its connection, and nothing follows the end of a
    // connection.
    if (progress.length > 0) events.onProgress(progress);
    if (request.length > 0) events.onDecisionRequest(request.map(nameError));
    if (close.length > 0) events.onClose(close.map(nameError));
    if (fault.length > 0) events.onFault(fault.map(nameError));
    listings.take(listing);
    if (drained !== undefined) onDrained?.(drained);
  });
  if (error !== 0) {
    throw new VsockProxyError('internal', `Could not start ${threads} relay threads: ${errnoName(error)}`, {
      hint: 'raise the limits on threads (TasksMax=), open files (LimitNOFILE=) and address space (ulimit -v, LimitAS=)',
      errno: errnoName(error),
    });
  }

  if (isShared) sharedIsTaken = true;
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
    decide: (connection, decision) => live().decide(connection, decision),
    closeListener: (listener) => live().closeListener(listener),
    forget: (listener) => live().forget(listener),
    drain: (deadlineMs) =>
      new Promise((resolve) => {
        onDrained = resolve;
        live().drain(deadlineMs);
      }),
    counters: () => live().counters(),
    clients: () => live().clients(),
    connections: () => listings.request((number) => live().list(number)),
    threadSeconds: () => live().threadSeconds(),
    beat: () => live().beat(),
    stop() {
      if (!running) return;
      addon.stop();
      running = false;
      if (isShared) sharedIsTaken = false;
    },
  };
}

/** Collects the lists of all threads. */
class Listings {
  readonly #threads: number;
  readonly #open = new Map<number, { readonly parts: Listing[]; readonly resolve: (all: LiveConnection[]) => void }>();
  #last = 0;

  constructor(threads: number) {
    this.#threads = threads;
  }

  request(list: (number: number) => void): Promise<readonly LiveConnection[]> {
    this.#last += 1;
    const { promise, resolve } = Promise.withResolvers<readonly LiveConnection[]>();
    this.#open.set(this.#last, { parts: [], resolve });
    list(this.#last);
    return promise;
  }

  take(listings: readonly Listing[]): void {
    for (const listing of listings) {
      const { parts, resolve } = this.#open.get(listing.number) ?? {};
      if (parts?.push(listing) !== this.#threads) continue;
      this.#open.delete(listing.number);
      resolve?.(parts.flatMap(({ connections }) => connections));
    }
  }
}

function nameError<Event extends object>(event: WithError<Event>): Event {
  if (event.error === undefined) return event;
  const { error, ...rest } = event;
  return { ...rest, errno: errnoName(error) } as object as Event;
}

/** `ECONNREFUSED` for 111. */
function errnoName(errno: number): string {
  return getSystemErrorName(-errno);
}
