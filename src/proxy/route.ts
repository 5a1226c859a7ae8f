/** What serves the clients of a listener: addresses that the data plane is told, or a handler of its requests. */

import { coversPort } from '../access/ports.ts';
import { type Client, type Policy, type Target, usesCids } from '../access/rules.ts';
import { isReachedDirectly } from '../access/upstream-proxy.ts';
import type { DataPlane, ListenerId, ListenSpec, SocketAddress } from '../dataplane/contract.ts';
import type { Remembered } from '../dns/lifetime.ts';
import type { ListenerPlan, RoutePlan } from '../plan.ts';
import { mayHaveCids } from '../platform/vsock.ts';
import type { Dispatcher, Handler } from './handlers/dispatcher.ts';
import { formatAddress, formatEnclave, formatTarget } from './report/format.ts';
import { openUpstream } from './upstream/open.ts';
import type { UpstreamOptions } from './upstream/types.ts';

export interface Route {
  readonly kind: ListenSpec['kind'];
  /** Where all clients go, as `host:port`; absent where each says it. */
  readonly target?: string;
  /** What decides about the connections; of a fixed one, nothing does. */
  readonly handler?: Handler;
  /** Why there is no address, while there is none. */
  absence(): string;
  /** The last good answer of the name that all clients go to. */
  last(): Remembered | undefined;
  /** The addresses that all clients go to; absent where there is no such list. */
  current?(): readonly SocketAddress[];
  /** A client has come, and whoever reads of each one shall read where it is connected to. */
  client(): void;
  /** Serves this listener from now on. Before its first client can be told of. */
  attach(listener: ListenerId, seam: Seam): void;
  stop(): void;
}

/** The data plane, and who takes its requests for decisions to the handlers. */
export interface Seam {
  readonly dataPlane: DataPlane;
  readonly dispatcher: Dispatcher;
}

export interface RouteContext extends Pick<UpstreamOptions, 'resolver' | 'clock' | 'log'> {
  /** Makes the handler of a route that is not fixed; not loaded before there is one. */
  readonly handlerFor: (plan: ListenerPlan) => Promise<Handler>;
}

/**
 * Decides whether the listener may be, as far as that can be known before there are clients.
 * @param predecessor serves the same address until now
 * @throws VsockProxyError `denied` when the policy forbids the route for everyone
 */
export async function openRoute(
  plan: ListenerPlan,
  context: RouteContext,
  predecessor?: { readonly plan: ListenerPlan; readonly route: Route },
): Promise<Route> {
  const { route, upstreamProxy: proxy } = plan;
  const goesDirectly = route.kind !== 'target' || proxy === undefined || isReachedDirectly(proxy, route.target);
  if (route.kind === 'target' && !route.proxyHeader && goesDirectly) {
    const client = oneClient(plan, route.target);
    if (client !== undefined) return openTarget(plan, route, client, context, predecessor);
  }
  if (route.kind === 'address' && !route.proxyHeader) return openAddress(route.address);
  return openHandled(plan, await context.handlerFor(plan));
}

/** The client who stands for all; undefined where the policy may treat them differently. */
function oneClient({ on, cids, policy }: ListenerPlan, { port }: Target): Client | undefined {
  const [cid, ...others] = cids ?? [];
  if (cid !== undefined && others.length === 0) return { cid };
  const onPort = (rules: Policy['allow']) => rules.filter(({ ports }) => coversPort(ports, port));
  return mayHaveCids(on) && usesCids({ allow: onPort(policy.allow), deny: onPort(policy.deny) }) ? undefined : {};
}

async function openTarget(
  { policy, family }: ListenerPlan,
  { target, written }: Extract<RoutePlan, { readonly kind: 'target' }>,
  client: Client,
  context: RouteContext,
  predecessor: { readonly plan: ListenerPlan; readonly route: Route } | undefined,
): Promise<Route> {
  const text = formatTarget(target);
  const sameName = predecessor?.route.target === text && predecessor.plan.family === family;
  let addresses: readonly SocketAddress[] | undefined;
  const attached: { readonly dataPlane: DataPlane; readonly listener: ListenerId }[] = [];
  const upstream = openUpstream({
    ...context,
    target,
    family,
    policy,
    client,
    written,
    initial: sameName ? predecessor.route.last() : undefined,
    onChange(changed) {
      addresses = changed;
      for (const { dataPlane, listener } of attached) dataPlane.setUpstream(listener, changed);
    },
  });
  try {
    await upstream.decided;
  } catch (error) {
    upstream.stop();
    throw error;
  }
  return {
    kind: 'fixed',
    target: text,
    absence: () => upstream.absence(),
    last: () => upstream.last(),
    current: () => addresses ?? [],
    client: () => upstream.client(),
    attach(listener, { dataPlane }) {
      attached.push({ dataPlane, listener });
      if (addresses !== undefined) dataPlane.setUpstream(listener, addresses);
    },
    stop: () => upstream.stop(),
  };
}

function openAddress(address: Extract<RoutePlan, { readonly kind: 'address' }>['address']): Route {
  return {
    ...UNRESOLVED,
    kind: 'fixed',
    target: formatAddress(address),
    current: () => [address],
    attach: (listener, { dataPlane }) => dataPlane.setUpstream(listener, [address]),
  };
}

function openHandled({ route }: ListenerPlan, handler: Handler): Route {
  const attach = (listener: ListenerId, { dispatcher }: Seam) => dispatcher.setHandler(listener, handler);
  switch (route.kind) {
    case 'target':
      return { ...UNRESOLVED, kind: 'decide-client', target: formatTarget(route.target), handler, attach };
    case 'address':
      return { ...UNRESOLVED, kind: 'decide-client', target: formatAddress(route.address), handler, attach };
    case 'enclave':
      return { ...UNRESOLVED, kind: 'decide-client', target: formatEnclave(route), handler, attach };
    case 'log':
      return { ...UNRESOLVED, kind: 'decide-client', target: 'the log', handler, attach };
    case 'names':
      return { ...UNRESOLVED, kind: 'decide-client', handler, attach };
    case 'http':
    case 'sni':
      return { ...UNRESOLVED, kind: 'decide-head', handler, attach };
  }
}

/** Nothing is kept resolved for it. */
const UNRESOLVED = {
  absence: () => 'no address is known',
  last: () => undefined,
  client: () => undefined,
  stop: () => undefined,
};
