/**
 * A data plane in memory by src/dataplane/contract.ts, for tests of the control plane. The same suite runs against it
 * and against the addon.
 */
import type {
  ClientCounters,
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
  Listening,
  ListenSpec,
  LiveConnection,
  Progress,
  SocketAddress,
} from '../../src/dataplane/contract.ts';
import { VsockProxyError } from '../../src/platform/errors.ts';
import { FakeClients } from './clients.ts';
import { FakeConnection } from './connection.ts';
import { FakeDecisionCache } from './decision-cache.ts';
import { closedCounts, FakeClientTotals, FakeHistogram } from './figures.ts';
import type { Harness } from './harness.ts';
import { type FakeEnd, FakeNetwork, FakeSocket, keyOf } from './network.ts';

/** The contract: at most one fault per listener, kind and second. */
const FAULT_PERIOD_MS = 1000;

interface Listener {
  readonly id: ListenerId;
  readonly spec: ListenSpec;
  readonly socket: FakeSocket;
  /** Takes what fits from the socket's queue. */
  readonly accept: () => void;
  /** Undefined until the first `setUpstream`: clients are kept waiting. */
  upstream: readonly SocketAddress[] | undefined;
  readonly connections: Set<FakeConnection>;
  readonly clients: FakeClients;
  readonly cache: FakeDecisionCache;
  readonly totals: {
    accepted: number;
    bytesUp: number;
    bytesDown: number;
    limitHits: number;
    limitWaitMs: number;
    decisionsCached: number;
    decisionsRequested: number;
    exchangesCached: number;
  };
  readonly answers: number[];
  readonly histograms: Record<'connect' | 'duration' | 'queued', FakeHistogram>;
  readonly closed: Record<CloseReason, number>;
  readonly toldAt: Map<Fault['kind'], number>;
  isOpen: boolean;
  /** A client was seen to wait for a place. */
  hasWaiting: boolean;
}

export class FakeDataPlane implements DataPlane {
  readonly #network: FakeNetwork;
  readonly #events: DataPlaneEvents;
  readonly #listeners = new Map<ListenerId, Listener>();
  readonly #connections = new Map<ConnectionId, FakeConnection>();
  readonly #clients = new FakeClientTotals();
  #lastListener = 0;
  #lastConnection = 0;
  #steps: Progress[] = [];
  #records: CloseRecord[] = [];
  #faults: Fault[] = [];
  #requests: DecisionRequest[] = [];
  #stopped = false;
  #onEmpty: (() => void) | undefined;
  /** The result of `beat`, for tests of a hanging thread. */
  beats = true;

  constructor(network: FakeNetwork, events: DataPlaneEvents) {
    this.#network = network;
    this.#events = events;
  }

  listen(spec: ListenSpec): Listening {
    const socket = this.#open(spec.on);
    this.#lastListener += 1;
    const listener: Listener = {
      id: this.#lastListener as ListenerId,
      spec,
      socket,
      accept: () => {
        if (!this.#acceptWhatFits(listener)) this.#noteWaiting(listener);
      },
      upstream: undefined,
      connections: new Set(),
      clients: new FakeClients(spec, this.#network.clock),
      cache: new FakeDecisionCache(this.#network.clock),
      totals: {
        accepted: 0,
        bytesUp: 0,
        bytesDown: 0,
        limitHits: 0,
        limitWaitMs: 0,
        decisionsCached: 0,
        decisionsRequested: 0,
        exchangesCached: 0,
      },
      answers: [0, 0, 0, 0, 0],
      histograms: { connect: new FakeHistogram(), duration: new FakeHistogram(), queued: new FakeHistogram() },
      closed: closedCounts(),
      toldAt: new Map(),
      isOpen: true,
      hasWaiting: false,
    };
    this.#listeners.set(listener.id, listener);
    socket.open(listener.accept);
    return { id: listener.id, on: socket.address };
  }

  decide(connection: ConnectionId, decision: Decision): void {
    const deciding = this.#connections.get(connection);
    if (deciding?.openRequest === undefined) return;
    const { listener, client } = deciding.identity;
    const of = this.#listeners.get(listener);
    of?.cache.add(client, deciding.openRequest, decision);
    const isFinal = decision.action === 'exchange' && of?.isOpen !== true;
    deciding.decide(isFinal ? { ...decision, persistent: false } : decision);
  }

  setUpstream(id: ListenerId, addresses: readonly SocketAddress[]): void {
    const listener = this.#listeners.get(id);
    if (listener === undefined) return;
    listener.upstream = addresses;
    for (const connection of [...listener.connections]) connection.connect(addresses);
  }

  closeListener(id: ListenerId): void {
    const listener = this.#listeners.get(id);
    if (listener === undefined || !listener.isOpen) return;
    listener.isOpen = false;
    listener.socket.close(listener.accept);
  }

  async drain(deadlineMs: number): Promise<number> {
    for (const id of this.#listeners.keys()) this.closeListener(id);
    for (const connection of [...this.#connections.values()]) connection.drain();
    let aborted = 0;
    if (this.#connections.size > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#onEmpty = resolve;
      const cancel = this.#network.clock.setTimer(deadlineMs, () => {
        aborted = this.#connections.size;
        for (const connection of [...this.#connections.values()]) connection.close('drained', 'proxy');
      });
      await promise;
      cancel();
    }
    this.#flush();
    return aborted;
  }

  counters(): readonly ListenerCounters[] {
    return [...this.#listeners.values()].map(
      ({ id, totals, answers, histograms, closed, connections, socket, isOpen }) => {
        const first = isOpen ? socket.queue[0] : undefined;
        return {
          listener: id,
          ...totals,
          answers: [...answers],
          closed: { ...closed },
          active: connections.size,
          waitingMs: first === undefined ? 0 : Math.max(1, this.#network.clock.now() - first.since),
          connect: histograms.connect.read(),
          duration: histograms.duration.read(),
          queued: histograms.queued.read(),
        };
      },
    );
  }

  forget(id: ListenerId): void {
    const listener = this.#listeners.get(id);
    if (listener?.isOpen === false && listener.connections.size === 0) this.#listeners.delete(id);
  }

  clients(): readonly ClientCounters[] {
    return this.#clients.read();
  }

  connections(): Promise<readonly LiveConnection[]> {
    return Promise.resolve([...this.#connections.values()].map((connection) => connection.read()));
  }

  threadSeconds(): readonly number[] {
    return [0];
  }

  /** Of the listeners, in the order in which they were opened. */
  kinds(): readonly ListenSpec['kind'][] {
    return [...this.#listeners.values()].map(({ spec }) => spec.kind);
  }

  beat(): boolean {
    return this.beats && !this.#stopped;
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    for (const id of this.#listeners.keys()) this.closeListener(id);
    for (const connection of [...this.#connections.values()]) connection.close('drained', 'proxy');
  }

  /** @throws VsockProxyError `listen-failed` */
  #open(on: ListenSpec['on']): FakeSocket {
    const { bindErrno, inherited, listening } = this.#network;
    const fail = (call: string, errno: string): never => {
      throw new VsockProxyError('listen-failed', `${call}: ${errno}`, { errno });
    };
    if (on.family === 'inherited') return inherited.get(on.fd) ?? fail('getsockname', 'EBADF');
    if (on.family === 'predecessor') {
      const predecessor = this.#listeners.get(on.listener);
      return predecessor?.isOpen ? predecessor.socket : fail('dup', 'EBADF');
    }
    const errno = bindErrno(on) ?? (listening.has(keyOf(on)) ? 'EADDRINUSE' : undefined);
    return errno === undefined ? new FakeSocket(this.#network, on, false) : fail('bind', errno);
  }

  /** @returns whether nobody waits any more */
  #acceptWhatFits(listener: Listener): boolean {
    const { spec, socket, connections, totals, histograms } = listener;
    while (connections.size < spec.limits.connections) {
      const next = socket.queue.shift();
      if (next === undefined) return true;
      const queuedMs = this.#network.clock.now() - next.since;
      totals.accepted += 1;
      totals.limitWaitMs += queuedMs;
      if (listener.hasWaiting) histograms.queued.observe(queuedMs);
      listener.hasWaiting = false;
      this.#accept(listener, next.client, queuedMs);
    }
    return socket.queue.length === 0;
  }

  #noteWaiting(listener: Listener): void {
    listener.totals.limitHits += 1;
    listener.hasWaiting = true;
    this.#tellFault(listener, { kind: 'limit', listener: listener.id });
  }

  #tellFault({ toldAt }: Listener, fault: Fault): void {
    const now = this.#network.clock.now();
    if (now - (toldAt.get(fault.kind) ?? Number.NEGATIVE_INFINITY) < FAULT_PERIOD_MS) return;
    toldAt.set(fault.kind, now);
    this.#faults.push(fault);
    this.#flushSoon();
  }

  #accept(listener: Listener, client: FakeEnd, queuedMs: number): void {
    const { id, spec, upstream, connections, clients, totals, histograms, closed } = listener;
    const ofClient = this.#clients.of(client.address);
    const refusal = clients.enter(client.address);
    if (refusal !== undefined) {
      client.reset();
      closed[refusal] += 1;
      ofClient.refused += 1;
      this.#tellFault(listener, { kind: refusal, listener: id, client: client.address });
      return;
    }
    ofClient.accepted += 1;
    ofClient.active += 1;
    this.#lastConnection += 1;
    const identity = {
      listener: id,
      connection: this.#lastConnection as ConnectionId,
      client: client.address,
      queuedMs,
    };
    const common = { listener: id, connection: identity.connection, client: client.address };
    const lifecycle = spec.report === 'lifecycle';
    const connection = new FakeConnection(this.#network, client, identity, spec, {
      onConnected: (server, target) => {
        const step = { step: 'connected', ...common, server, ...(target === undefined ? {} : { target }) } as const;
        if (lifecycle) this.#steps.push(step);
        this.#flushSoon();
      },
      onDecisionRequest: (subject) => {
        const known = listener.isOpen ? listener.cache.find(client.address, subject) : undefined;
        if (known !== undefined) {
          totals.decisionsCached += 1;
          if (known.request !== undefined) totals.exchangesCached += 1;
          return connection.decide(known.decision, known.request);
        }
        totals.decisionsRequested += 1;
        this.#requests.push({ ...common, ...subject });
        this.#flushSoon();
      },
      onAnswered: (status) => {
        const index = Math.floor(status / 100) - 1;
        listener.answers[index] = (listener.answers[index] ?? 0) + 1;
      },
      onClosed: (record) => {
        connections.delete(connection);
        this.#connections.delete(record.connection);
        clients.leave(client.address);
        totals.bytesUp += record.bytesUp;
        totals.bytesDown += record.bytesDown;
        histograms.duration.observe(record.totalMs);
        if (record.connectMs !== record.totalMs || record.phase === 'relaying')
          histograms.connect.observe(record.connectMs);
        ofClient.active -= 1;
        ofClient.bytesUp += record.bytesUp;
        ofClient.bytesDown += record.bytesDown;
        closed[record.reason] += 1;
        if (lifecycle || record.reason !== 'finished') this.#records.push(record);
        this.#flushSoon();
        if (listener.isOpen) this.#acceptWhatFits(listener);
        if (this.#connections.size === 0) this.#onEmpty?.();
      },
    });
    connections.add(connection);
    this.#connections.set(identity.connection, connection);
    if (lifecycle) this.#steps.push({ step: 'accepted', ...common });
    this.#flushSoon();
    connection.start(listener.socket.address);
    if (upstream !== undefined) connection.connect(upstream);
  }

  #flushSoon(): void {
    queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    const [steps, records, faults, requests] = [this.#steps, this.#records, this.#faults, this.#requests];
    this.#steps = [];
    this.#records = [];
    this.#faults = [];
    this.#requests = [];
    if (this.#stopped) return;
    if (steps.length > 0) this.#events.onProgress(steps);
    if (requests.length > 0) this.#events.onDecisionRequest(requests);
    if (records.length > 0) this.#events.onClose(records);
    if (faults.length > 0) this.#events.onFault(faults);
  }
}

/** The harness in memory. */
export function openFakeHarness(network = new FakeNetwork()): Harness {
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
