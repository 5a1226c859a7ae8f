/**
 * A data plane in memory, true to src/dataplane/contract.ts, for tests of what sits on top of it. The same suite runs
 * against it and against the addon.
 */
import type {
  CloseReason,
  CloseRecord,
  ConnectionId,
  DataPlane,
  DataPlaneEvents,
  Fault,
  ListenerCounters,
  ListenerId,
  ListenSpec,
  Progress,
  UpstreamAddress,
} from '../../src/dataplane/contract.ts';
import { VsockProxyError } from '../../src/errors.ts';
import { FakeConnection } from './connection.ts';
import { type FakeEnd, FakeNetwork, keyOf } from './network.ts';
import type { Stage } from './stage.ts';

/** The contract: at most one fault per listener, kind and second. */
const FAULT_PERIOD_MS = 1000;

interface Listener {
  readonly id: ListenerId;
  readonly spec: ListenSpec;
  /** Undefined until the first `setUpstream`: clients are kept waiting. */
  upstream: readonly UpstreamAddress[] | undefined;
  readonly connections: Set<FakeConnection>;
  /** Clients that no place was free for. */
  readonly queue: { readonly client: FakeEnd; readonly since: number }[];
  readonly totals: { accepted: number; bytesUp: number; bytesDown: number; limitHits: number; limitWaitMs: number };
  readonly closed: Record<CloseReason, number>;
  limitToldAt: number;
}

export class FakeDataPlane implements DataPlane {
  readonly #network: FakeNetwork;
  readonly #events: DataPlaneEvents;
  readonly #listeners = new Map<ListenerId, Listener>();
  #lastConnection = 0;
  #steps: Progress[] = [];
  #records: CloseRecord[] = [];
  #faults: Fault[] = [];
  #stopped = false;
  #onEmpty: (() => void) | undefined;

  constructor(network: FakeNetwork, events: DataPlaneEvents) {
    this.#network = network;
    this.#events = events;
  }

  listen(spec: ListenSpec): ListenerId {
    const { listening, bindErrno } = this.#network;
    const errno = bindErrno(spec.on) ?? (listening.has(keyOf(spec.on)) ? 'EADDRINUSE' : undefined);
    if (errno !== undefined) throw new VsockProxyError('listen-failed', `bind: ${errno}`, { errno });
    const listener: Listener = {
      id: (this.#listeners.size + 1) as ListenerId,
      spec,
      upstream: undefined,
      connections: new Set(),
      queue: [],
      totals: { accepted: 0, bytesUp: 0, bytesDown: 0, limitHits: 0, limitWaitMs: 0 },
      closed: {
        finished: 0,
        reset: 0,
        'connect-failed': 0,
        'no-upstream': 0,
        'connect-timeout': 0,
        'idle-timeout': 0,
        drained: 0,
        internal: 0,
      },
      limitToldAt: Number.NEGATIVE_INFINITY,
    };
    this.#listeners.set(listener.id, listener);
    listening.set(keyOf(spec.on), (client) => {
      listener.queue.push({ client, since: this.#network.clock.now() });
      if (!this.#acceptWhatFits(listener)) this.#noteWaiting(listener);
    });
    return listener.id;
  }

  setUpstream(id: ListenerId, addresses: readonly UpstreamAddress[]): void {
    const listener = this.#listeners.get(id);
    if (listener === undefined) return;
    listener.upstream = addresses;
    for (const connection of [...listener.connections]) connection.connect(addresses);
  }

  closeListener(id: ListenerId): void {
    const listener = this.#listeners.get(id);
    if (listener === undefined) return;
    this.#network.listening.delete(keyOf(listener.spec.on));
    for (const { client } of listener.queue.splice(0)) client.reset();
  }

  async drain(deadlineMs: number): Promise<number> {
    for (const id of this.#listeners.keys()) this.closeListener(id);
    let aborted = 0;
    if (this.#open().length > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#onEmpty = resolve;
      const cancel = this.#network.clock.setTimer(deadlineMs, () => {
        aborted = this.#open().length;
        for (const connection of this.#open()) connection.close('drained', 'proxy');
      });
      await promise;
      cancel();
    }
    this.#flush();
    return aborted;
  }

  counters(): readonly ListenerCounters[] {
    return [...this.#listeners.values()].map(({ id, totals, closed, connections, queue }) => ({
      listener: id,
      ...totals,
      closed: { ...closed },
      active: connections.size,
      waitingMs: queue[0] === undefined ? 0 : Math.max(1, this.#network.clock.now() - queue[0].since),
    }));
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    for (const id of this.#listeners.keys()) this.closeListener(id);
    for (const connection of this.#open()) connection.close('drained', 'proxy');
  }

  #open(): FakeConnection[] {
    return [...this.#listeners.values()].flatMap(({ connections }) => [...connections]);
  }

  /** @returns whether nobody waits any more */
  #acceptWhatFits(listener: Listener): boolean {
    const { spec, queue, connections, totals } = listener;
    while (connections.size < spec.maxConnections) {
      const next = queue.shift();
      if (next === undefined) return true;
      const queuedMs = this.#network.clock.now() - next.since;
      totals.accepted += 1;
      totals.limitWaitMs += queuedMs;
      this.#accept(listener, next.client, queuedMs);
    }
    return queue.length === 0;
  }

  #noteWaiting(listener: Listener): void {
    const now = this.#network.clock.now();
    listener.totals.limitHits += 1;
    if (now - listener.limitToldAt < FAULT_PERIOD_MS) return;
    listener.limitToldAt = now;
    this.#faults.push({ kind: 'limit', listener: listener.id });
    this.#flushSoon();
  }

  #accept(listener: Listener, client: FakeEnd, queuedMs: number): void {
    const { id, spec, upstream, connections, totals, closed } = listener;
    this.#lastConnection += 1;
    const connectionId = this.#lastConnection as ConnectionId;
    const identity = { listener: id, connection: connectionId, client: client.address, queuedMs };
    const progress = { listener: id, connection: connectionId, client: client.address };
    const lifecycle = spec.report === 'lifecycle';
    const connection = new FakeConnection(this.#network, client, identity, spec.timeouts, {
      onConnected: (server) => {
        if (lifecycle) this.#steps.push({ step: 'connected', ...progress, server });
        this.#flushSoon();
      },
      onClosed: (record) => {
        connections.delete(connection);
        totals.bytesUp += record.bytesUp;
        totals.bytesDown += record.bytesDown;
        closed[record.reason] += 1;
        if (lifecycle || record.reason !== 'finished') this.#records.push(record);
        this.#flushSoon();
        this.#acceptWhatFits(listener);
        if (this.#open().length === 0) this.#onEmpty?.();
      },
    });
    connections.add(connection);
    if (lifecycle) this.#steps.push({ step: 'accepted', ...progress });
    this.#flushSoon();
    if (upstream !== undefined) connection.connect(upstream);
  }

  #flushSoon(): void {
    queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    const [steps, records, faults] = [this.#steps, this.#records, this.#faults];
    this.#steps = [];
    this.#records = [];
    this.#faults = [];
    if (this.#stopped) return;
    if (steps.length > 0) this.#events.onProgress(steps);
    if (records.length > 0) this.#events.onClose(records);
    if (faults.length > 0) this.#events.onFault(faults);
  }
}

/** The stage in memory. */
export function openFakeStage(network = new FakeNetwork()): Stage {
  const opened: DataPlane[] = [];
  return {
    open(events) {
      const dataPlane = new FakeDataPlane(network, events);
      opened.push(dataPlane);
      return dataPlane;
    },
    freeAddress: () => network.freeAddress(),
    connect: (to) => network.connect(to),
    serve: () => network.serve(),
    silentAddress: () => network.silentAddress(),
    close() {
      for (const dataPlane of opened) dataPlane.stop();
      return Promise.resolve();
    },
  };
}
