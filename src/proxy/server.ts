/**
 * Runs the proxy from its first plan to its end. It starts all listeners or none, and changes plans without a break.
 */

import type { DataPlane, DataPlaneEvents, SocketAddress } from '../dataplane/contract.ts';
import { writeAddress } from '../dataplane/format.ts';
import { CountedResolver } from '../dns/counted.ts';
import type { Resolver } from '../dns/resolver.ts';
import type { MetricsPlan, Plan } from '../plan.ts';
import type { Clock } from '../platform/clock.ts';
import { VsockProxyError } from '../platform/errors.ts';
import type { Log, LogFor } from '../platform/log.ts';
import { Dispatcher } from './handlers/dispatcher.ts';
import type { Handlers, RouteSupport } from './handlers/open.ts';
import { TargetIds } from './handlers/target-ids.ts';
import type { ListenerContext } from './listener.ts';
import { describeChange, Listeners } from './listeners.ts';
import { count, seconds } from './report/quantities.ts';
import { Report } from './report/report.ts';
import type { Seam } from './route.ts';
import { type ConnectionSnapshot, clientSnapshot, type Snapshot, snapshotOf } from './snapshot.ts';

export interface ServeDependencies extends Pick<ListenerContext, 'activatedSockets' | 'hasOwnVsock'> {
  readonly logFor: LogFor;
  readonly clock: Clock;
  readonly resolver: Resolver;
  readonly openDataPlane: (events: DataPlaneEvents) => DataPlane;
  /** The wall clock. */
  readonly now: () => Date;
  readonly support?: RouteSupport;
  /** Called with each plan that takes over. The first call comes before any log line about the plan. */
  readonly onPlan?: (plan: Plan) => void;
}

/** The result of a reload. */
export type Reloaded = { readonly kind: 'done' } | { readonly kind: 'failed'; readonly error: unknown };

export interface RunningProxy {
  /**
   * Changes to the plan that `load` returns now. On any error nothing changes. Never rejected. A call during a reload
   * causes one more reload after it, and the promise is for the last one.
   */
  reload(): Promise<Reloaded>;
  /** Stops accepting, gives open connections time to end ({@link drainMs}), and releases everything. Call it once. */
  drain(): Promise<void>;
  drainMs(): number;
  /** The addresses of the listeners, in the order of the first plan. */
  addresses(): readonly SocketAddress[];
  /** One line for people. */
  status(): string;
  /** The present state. */
  snapshot(): Snapshot;
  connections(): Promise<readonly ConnectionSnapshot[]>;
  /** The metrics settings of the plan in force. */
  metrics(): MetricsPlan | undefined;
  /** Whether every relay thread has run since the last call. False twice in a row means that a thread hangs. */
  beat(): boolean;
}

/**
 * Listens when every route is known to be allowed, or when that cannot be known yet. Until the name of a fixed route is
 * resolved, the data plane lets clients wait.
 * @param load returns the plan, at the start and at each reload
 * @throws VsockProxyError of `load`; `denied` or `listen-failed`
 */
export async function serve(load: () => Promise<Plan>, dependencies: ServeDependencies): Promise<RunningProxy> {
  const server = new Server(load, dependencies);
  await server.start();
  return server;
}

class Server implements RunningProxy {
  readonly #load: () => Promise<Plan>;
  readonly #dependencies: ServeDependencies;
  readonly #log: Log;
  readonly #targets = new TargetIds();
  readonly #dispatcher: Dispatcher;
  readonly #report: Report;
  readonly #listeners: Listeners;
  /** This code is loaded only if needed. Most proxies have one fixed route and do not need it. */
  #handlers: Promise<Handlers> | undefined;
  #openedHandlers: Handlers | undefined;
  readonly #resolver: CountedResolver;
  /** Opened when the first plan may run. */
  #opened: DataPlane | undefined;
  #plan: Plan = { listeners: [], drainMs: 0 };
  #startedAt = new Date(0);
  #loadedAt = new Date(0);
  #loads = 0;
  #failedLoads = 0;
  /** The result of the last reload, in one line. */
  #failure: string | undefined;
  #draining = false;
  #reloading: Promise<Reloaded> | undefined;
  #onceMore = false;

  constructor(load: () => Promise<Plan>, dependencies: ServeDependencies) {
    const { logFor, clock, now, activatedSockets, hasOwnVsock } = dependencies;
    this.#resolver = new CountedResolver(dependencies.resolver);
    this.#load = load;
    this.#dependencies = dependencies;
    this.#log = logFor('vsock_proxy::proxy');
    this.#dispatcher = new Dispatcher({
      decide: (connection, decision) => this.#dataPlane.decide(connection, decision),
      onError: (error) => this.#report.tellError(error),
    });
    this.#report = new Report({
      log: this.#log,
      clock,
      now,
      counters: () => this.#dataPlane.counters(),
      refusalOf: (connection) => this.#dispatcher.refusalOf(connection),
      targetOf: (target) => this.#targets.textOf(target),
    });
    this.#listeners = new Listeners({
      resolver: this.#resolver,
      clock,
      log: this.#log,
      activatedSockets,
      hasOwnVsock,
      handlerFor: async (plan) => {
        this.#handlers ??= this.#loadHandlers();
        return (await this.#handlers).handlerFor(plan);
      },
    });
  }

  /** Call it once, before anything else. */
  async start(): Promise<void> {
    const { logFor, now, openDataPlane, onPlan } = this.#dependencies;
    const plan = await this.#load();
    onPlan?.(plan);
    this.#tellNotes(plan);
    this.#plan = plan;
    this.#loads = 1;
    this.#loadedAt = now();
    this.#startedAt = this.#loadedAt;
    const first = await this.#listeners.prepare(plan.listeners);
    this.#opened = openDataPlane(this.#events());
    try {
      this.#listeners.commit(first, this.#seam, this.#report);
    } catch (error) {
      await this.#stop();
      throw error;
    }
    logFor('vsock_proxy').info('Proxy is now in listening state');
    await this.#listeners.tellUnusedSockets();
  }

  reload(): Promise<Reloaded> {
    this.#onceMore = true;
    this.#reloading ??= this.#reloadAll().finally(() => {
      this.#reloading = undefined;
    });
    return this.#reloading;
  }

  async drain(): Promise<void> {
    this.#draining = true;
    const open = connectionsOf(this.#dataPlane);
    const { drainMs } = this.#plan;
    const deadline = seconds(drainMs);
    const drained = this.#dataPlane.drain(drainMs);
    this.#log.info(`No new clients are accepted; ${count(open, 'open connection')} may take ${deadline} to end`);
    (await this.#handlers)?.drain();
    const aborted = await drained;
    await this.#stop();
    if (aborted === 0) this.#log.info('All connections have ended');
    else this.#log.warn(`${count(aborted, 'connection')} still open after ${deadline} (timeouts.drain): reset`);
  }

  drainMs(): number {
    return this.#plan.drainMs;
  }

  metrics(): MetricsPlan | undefined {
    return this.#plan.metrics;
  }

  addresses(): readonly SocketAddress[] {
    return this.#listeners.running.flatMap(({ bound }) => bound.map(({ on }) => on));
  }

  status(): string {
    const addresses = this.#listeners.running.reduce((sum, { bound }) => sum + bound.length, 0);
    return this.#failure === undefined
      ? `Listening on ${count(addresses, 'address', 'addresses')}; ${count(connectionsOf(this.#dataPlane), 'connection')}`
      : `${this.#failure}; running with the configuration of ${this.#loadedAt.toISOString().slice(11, 19)}Z`;
  }

  snapshot(): Snapshot {
    const { now, clock } = this.#dependencies;
    const figures = this.#listeners.figures(this.#seam, this.#report);
    return {
      at: now(),
      startedAt: this.#startedAt,
      config: this.#configSnapshot(),
      listeners: this.#listeners.running.flatMap((each) => snapshotOf(each, figures(each), clock.now())),
      clients: this.#dataPlane.clients().map(clientSnapshot),
      dns: {
        lookups: this.#resolver.lookups,
        staleAnswers: this.#report.staleAnswers,
        remembered: this.#openedHandlers?.remembered ?? 0,
      },
      threadSeconds: this.#dataPlane.threadSeconds(),
      drains: this.#draining,
    };
  }

  async connections(): Promise<readonly ConnectionSnapshot[]> {
    const open = await this.#dataPlane.connections();
    const listeners = this.#listeners.addressesById();
    return open.map(({ target, ...connection }) => {
      const { on, target: fixed } = listeners.get(connection.listener) ?? {};
      const text = fixed ?? (target === undefined ? undefined : this.#targets.textOf(target));
      return {
        ...connection,
        address: on === undefined ? 'a listener that was removed' : writeAddress(on),
        ...(text !== undefined && { target: text }),
      };
    });
  }

  beat(): boolean {
    return this.#dataPlane.beat();
  }

  #configSnapshot(): Snapshot['config'] {
    const { source } = this.#plan;
    return {
      ...(source && { path: source.path, hash: source.sha256() }),
      loadedAt: this.#loadedAt,
      loads: this.#loads,
      failedLoads: this.#failedLoads,
      ...(this.#failure !== undefined && { failure: this.#failure }),
    };
  }

  get #dataPlane(): DataPlane {
    if (this.#opened === undefined) throw new VsockProxyError('internal', 'The data plane is not open yet');
    return this.#opened;
  }

  get #seam(): Seam {
    return { dataPlane: this.#dataPlane, dispatcher: this.#dispatcher };
  }

  #events(): DataPlaneEvents {
    return {
      ...this.#report.events,
      onDecisionRequest: this.#dispatcher.onDecisionRequest,
      onClose: (records) => {
        this.#report.events.onClose(records);
        for (const { connection } of records) this.#dispatcher.end(connection);
      },
    };
  }

  #tellNotes({ notes = [] }: Plan): void {
    const log = this.#dependencies.logFor('vsock_proxy');
    for (const { level, text } of notes) log[level](text);
  }

  async #loadHandlers(): Promise<Handlers> {
    const { clock, support } = this.#dependencies;
    const { openHandlers } = await import('./handlers/open.ts');
    this.#openedHandlers = openHandlers({
      resolver: this.#resolver,
      clock,
      targets: this.#targets,
      onStale: (error, name, ageMs) => this.#report.tellStale(error, name, ageMs),
      ...support,
    });
    return this.#openedHandlers;
  }

  /** Runs once more if another reload was requested meanwhile. */
  async #reloadAll(): Promise<Reloaded> {
    for (;;) {
      this.#onceMore = false;
      const outcome = await this.#reloadOnce();
      if (!this.#onceMore || this.#draining) return outcome;
    }
  }

  async #reloadOnce(): Promise<Reloaded> {
    this.#loads += 1;
    try {
      const next = await this.#load();
      this.#tellNotes(next);
      const change = await this.#listeners.prepare(next.listeners);
      if (this.#draining) {
        this.#listeners.discard(change);
        return { kind: 'failed', error: new VsockProxyError('internal', 'The proxy is stopping') };
      }
      this.#listeners.commit(change, this.#seam, this.#report);
      this.#plan = next;
      this.#dependencies.onPlan?.(next);
      this.#loadedAt = this.#dependencies.now();
      this.#failure = undefined;
      this.#log.info(`Reloaded: ${describeChange(change)}`, { event: 'reloaded' });
      await this.#listeners.tellUnusedSockets();
      return { kind: 'done' };
    } catch (error) {
      this.#failedLoads += 1;
      this.#failure = describeFailure(error);
      this.#log.error(`Reload failed, and everything goes on as before: ${lineOf(error)}`, { event: 'reload-failed' });
      return { kind: 'failed', error };
    }
  }

  /** Resources that all listeners share. */
  async #stop(): Promise<void> {
    this.#listeners.stop();
    this.#dispatcher.stop();
    (await this.#handlers)?.stop();
    this.#report.stop();
    this.#dataPlane.stop();
  }
}

/** A short text for a status. The log has the hint. */
function describeFailure(error: unknown): string {
  const { message, place } = error instanceof VsockProxyError ? error : { message: String(error), place: undefined };
  return `Reload failed${place === undefined ? '' : ` at ${place}`}: ${message}`;
}

function lineOf(error: unknown): string {
  return error instanceof VsockProxyError ? error.line : String(error);
}

function connectionsOf(dataPlane: DataPlane): number {
  return dataPlane.counters().reduce((sum, { active }) => sum + active, 0);
}
