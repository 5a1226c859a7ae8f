/** The proxy from its first plan to its end: all listeners or none, and from one plan to the next without a break. */

import type { DataPlane, DataPlaneEvents, SocketAddress } from '../dataplane/contract.ts';
import type { Resolver } from '../dns/resolver.ts';
import type { Plan } from '../plan.ts';
import type { Clock } from '../platform/clock.ts';
import { VsockProxyError } from '../platform/errors.ts';
import type { LogFor } from '../platform/log.ts';
import { Dispatcher } from './handlers/dispatcher.ts';
import type { Handlers, RouteSupport } from './handlers/open.ts';
import { TargetIds } from './handlers/target-ids.ts';
import type { ListenerContext } from './listener.ts';
import { describeChange, Listeners } from './listeners.ts';
import { count, seconds } from './report/quantities.ts';
import { openReport } from './report/report.ts';

export interface ServeDependencies extends Pick<ListenerContext, 'activatedSockets'> {
  readonly logFor: LogFor;
  readonly clock: Clock;
  readonly resolver: Resolver;
  readonly openDataPlane: (events: DataPlaneEvents) => DataPlane;
  /** Of the wall clock. */
  readonly now: () => Date;
  readonly support?: RouteSupport;
}

/** How a reload has ended. */
export type Reloaded = { readonly kind: 'done' } | { readonly kind: 'failed'; readonly error: unknown };

export interface RunningProxy {
  /**
   * Changes to what `load` says now; on any error everything stays as it is. Never rejected. While one is under way, one
   * more is made after it, and the promise is for the last one.
   */
  reload(): Promise<Reloaded>;
  /** Stops accepting, gives open connections time to end ({@link drainMs}), and releases everything. Call it once. */
  drain(): Promise<void>;
  drainMs(): number;
  /** Where it listens, in the order of the first plan. */
  addresses(): readonly SocketAddress[];
  /** One line for people. */
  status(): string;
  /** Whether every relay thread has run since the last call: false twice in a row means that one hangs. */
  beat(): boolean;
}

/**
 * Listens once every route is known to be allowed, or while that cannot be known; in the time until the name of a fixed
 * route is resolved, the data plane keeps clients waiting.
 * @param load what is to run, at first and after each reload
 * @throws VsockProxyError of `load`; `denied` or `listen-failed`
 */
export async function serve(load: () => Promise<Plan>, dependencies: ServeDependencies): Promise<RunningProxy> {
  const { logFor, clock, now, resolver, openDataPlane, activatedSockets, support } = dependencies;
  const log = logFor('vsock_proxy::proxy');
  const targets = new TargetIds();
  const dispatcher = new Dispatcher({
    decide: (connection, decision) => dataPlane.decide(connection, decision),
    onError: (error) => report.tellError(error),
  });
  const report = openReport({
    log,
    clock,
    counters: () => dataPlane.counters(),
    refusalOf: (connection) => dispatcher.refusalOf(connection),
    targetOf: (target) => targets.textOf(target),
  });

  // Most proxies have one fixed route, and load nothing of this.
  let handlers: Promise<Handlers> | undefined;
  const loadHandlers = async (): Promise<Handlers> => {
    const { openHandlers } = await import('./handlers/open.ts');
    return openHandlers({ resolver, clock, targets, onStale: report.tellStale, ...support });
  };
  const listeners = new Listeners({
    resolver,
    clock,
    log,
    activatedSockets,
    async handlerFor(plan) {
      handlers ??= loadHandlers();
      return (await handlers).handlerFor(plan);
    },
  });
  const stop = async (): Promise<void> => {
    dispatcher.stop();
    (await handlers)?.stop();
    report.stop();
  };

  const plan = await load();
  let { drainMs } = plan;
  let loadedAt = now();
  let failure: string | undefined;
  const first = await listeners.prepare(plan.listeners);
  const dataPlane = openDataPlane({
    ...report.events,
    onDecisionRequest: dispatcher.onDecisionRequest,
    onClose(records) {
      report.events.onClose(records);
      for (const { connection } of records) dispatcher.end(connection);
    },
  });
  const seam = { dataPlane, dispatcher };
  try {
    listeners.commit(first, seam, report);
  } catch (error) {
    listeners.stop();
    await stop();
    dataPlane.stop();
    throw error;
  }
  logFor('vsock_proxy').info('Proxy is now in listening state');
  await listeners.tellUnusedSockets();

  let draining = false;
  const reloadOnce = async (): Promise<Reloaded> => {
    try {
      const next = await load();
      const change = await listeners.prepare(next.listeners);
      if (draining) {
        listeners.discard(change);
        return { kind: 'failed', error: new VsockProxyError('internal', 'The proxy is stopping') };
      }
      listeners.commit(change, seam, report);
      drainMs = next.drainMs;
      loadedAt = now();
      failure = undefined;
      log.info(`Reloaded: ${describeChange(change)}`);
      await listeners.tellUnusedSockets();
      return { kind: 'done' };
    } catch (error) {
      failure = describeFailure(error);
      log.error(`Reload failed, and everything goes on as before: ${lineOf(error)}`);
      return { kind: 'failed', error };
    }
  };

  let reloading: Promise<Reloaded> | undefined;
  let onceMore = false;
  const reloadAll = async (): Promise<Reloaded> => {
    for (;;) {
      onceMore = false;
      const outcome = await reloadOnce();
      if (!onceMore || draining) return outcome;
    }
  };

  return {
    reload() {
      onceMore = true;
      reloading ??= reloadAll().finally(() => {
        reloading = undefined;
      });
      return reloading;
    },
    drainMs: () => drainMs,
    async drain() {
      draining = true;
      listeners.stop();
      const open = connectionsOf(dataPlane);
      const deadline = seconds(drainMs);
      const drained = dataPlane.drain(drainMs);
      log.info(`No new clients are accepted; ${count(open, 'open connection')} may take ${deadline} to end`);
      (await handlers)?.drain();
      const aborted = await drained;
      await stop();
      dataPlane.stop();
      if (aborted === 0) log.info('All connections have ended');
      else log.warn(`${count(aborted, 'connection')} still open after ${deadline} (timeouts.drain): reset`);
    },
    status() {
      const addresses = listeners.running.reduce((sum, { bound }) => sum + bound.length, 0);
      return failure === undefined
        ? `Listening on ${count(addresses, 'address', 'addresses')}; ${count(connectionsOf(dataPlane), 'connection')}`
        : `${failure}; running with the configuration of ${loadedAt.toISOString().slice(11, 19)}Z`;
    },
    addresses: () => listeners.running.flatMap(({ bound }) => bound.map(({ on }) => on)),
    beat: () => dataPlane.beat(),
  };
}

/** Short, for a status: the log has the hint. */
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
