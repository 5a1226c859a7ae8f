/** Serves the clients of a listener: by addresses for the data plane, or by a handler for its requests. */

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
  /** The target of all clients, as `host:port`; absent if each client names its own. */
  readonly target?: string;
  /** The handler that decides about connections; absent for a fixed route. */
  readonly handler?: Handler;
  /** The reason why there is no address, while there is none. */
  absence(): string;
  /** The last good answer for the name of all clients. */
  last(): Remembered | undefined;
  /** The addresses of the server for all clients; absent if there is no such list. */
  current?(): readonly SocketAddress[];
  /** Called when a client comes, so that the log can say to which address it is connected. */
  client(): void;
  /** Serves this listener from now on. Call it before the first event of a client can come. */
  attach(listener: ListenerId, seam: Seam): void;
  stop(): void;
}

/** The data plane, and the dispatcher of its decision requests. */
export interface Seam {
  readonly dataPlane: DataPlane;
  readonly dispatcher: Dispatcher;
}

export interface RouteContext extends Pick<UpstreamOptions, 'resolver' | 'clock' | 'log'> {
  /** Makes the handler of a route that is not fixed. The code is loaded with the first one. */
  readonly handlerFor: (plan: ListenerPlan) => Promise<Handler>;
}

/**
 * Decides whether the route is allowed, as far as that is known without clients.
 * @param predecessor the route that has served the same address
 * @throws VsockProxyError `denied` if the policy denies the route to every client
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

/** The client that stands for all clients; undefined if the policy may treat them differently. */
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

/** A route without a name to keep resolved. */
const UNRESOLVED = {
  absence: () => 'no address is known',
  last: () => undefined,
  client: () => undefined,
  stop: () => undefined,
};
