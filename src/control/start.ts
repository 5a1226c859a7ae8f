/** One route from its settings to a listening proxy, and to its end. */
import type { DataPlane, DataPlaneEvents, ListenerId, SocketAddress } from '../dataplane/contract.ts';
import type { Clock } from '../dns/clock.ts';
import type { Family, Resolver } from '../dns/resolver.ts';
import type { LogFor } from '../log.ts';
import type { Policy, Target } from '../policy/rules.ts';
import { formatAddress, formatTarget } from './address.ts';
import { bind } from './bind.ts';
import { openReport } from './report.ts';
import { openUpstream } from './route.ts';
import { count, seconds } from './words.ts';

/** What is to run, every value checked. */
export interface ProxyPlan {
  readonly listenOn: SocketAddress;
  readonly target: Target;
  readonly family: Family;
  readonly policy: Policy;
  readonly maxConnections: number;
  readonly timeouts: { readonly connectMs: number; readonly idleMs: number; readonly drainMs: number };
}

export interface ProxyDependencies {
  readonly logFor: LogFor;
  readonly clock: Clock;
  readonly resolver: Resolver;
  readonly openDataPlane: (events: DataPlaneEvents) => DataPlane;
}

export interface RunningProxy {
  /** Stops accepting, gives open connections time to end (`timeouts.drainMs`), and releases everything. Call it once. */
  drain(): Promise<void>;
}

/**
 * Listens once the route is known to be allowed, or while that cannot be known; in the time until its name is resolved,
 * the data plane keeps clients waiting.
 * @throws VsockProxyError `denied` or `listen-failed`
 */
export async function startProxy(plan: ProxyPlan, dependencies: ProxyDependencies): Promise<RunningProxy> {
  const { listenOn, target, maxConnections, timeouts } = plan;
  const { logFor, clock, resolver, openDataPlane } = dependencies;
  const log = logFor('vsock_proxy::proxy');

  let addresses: readonly SocketAddress[] | undefined;
  let listening: { readonly dataPlane: DataPlane; readonly listener: ListenerId } | undefined;
  const upstream = openUpstream({
    target,
    family: plan.family,
    policy: plan.policy,
    client: {},
    resolver,
    clock,
    log,
    onChange(changed) {
      addresses = changed;
      listening?.dataPlane.setUpstream(listening.listener, changed);
    },
  });
  try {
    await upstream.decided;
  } catch (error) {
    upstream.stop();
    throw error;
  }

  const report = openReport({ log, clock, counters: () => dataPlane.counters() });
  const dataPlane = openDataPlane({ ...report.events, onAsk: () => undefined }); // nobody asks on a fixed listener
  try {
    const { id: listener } = bind(dataPlane, {
      kind: 'fixed',
      on: listenOn,
      maxConnections,
      maxConnectionsPerClient: 0,
      ratePerClient: 0,
      admission: {},
      timeouts: { connectMs: timeouts.connectMs, idleMs: timeouts.idleMs, headMs: timeouts.connectMs },
      // Without anyone who reads them, thousands of lines a second would be composed for nothing.
      report: log.enables('info') ? 'lifecycle' : 'failures',
    });
    report.addRoute(listener, {
      on: listenOn,
      target: formatTarget(target),
      maxConnections,
      connectTimeoutMs: timeouts.connectMs,
      idleTimeoutMs: timeouts.idleMs,
      absence: () => upstream.absence(),
    });
    if (addresses !== undefined) dataPlane.setUpstream(listener, addresses);
    listening = { dataPlane, listener };
  } catch (error) {
    upstream.stop();
    dataPlane.stop();
    throw error;
  }
  log.info(`Bound to ${formatAddress(listenOn)}`);
  logFor('vsock_proxy').info('Proxy is now in listening state');

  return {
    async drain() {
      upstream.stop();
      const open = dataPlane.counters().reduce((sum, { active }) => sum + active, 0);
      const deadline = seconds(timeouts.drainMs);
      const drained = dataPlane.drain(timeouts.drainMs);
      log.info(`No new clients are accepted; ${count(open, 'open connection')} may take ${deadline} to end`);
      const aborted = await drained;
      report.stop();
      dataPlane.stop();
      if (aborted === 0) log.info('All connections have ended');
      else log.warn(`${count(aborted, 'connection')} still open after ${deadline} (timeouts.drain): reset`);
    },
  };
}
