/** What serves the clients of a listener, by its route: addresses that the data plane is told, or answers to its questions. */

import { coversPort } from '../../access/ports.ts';
import { type Client, type Policy, type Target, usesCids } from '../../access/rules.ts';
import type { DataPlane, ListenerId, ListenSpec, SocketAddress } from '../../dataplane/contract.ts';
import type { Remembered } from '../../dns/lifetime.ts';
import type { ListenerPlan, RoutePlan } from '../../plan.ts';
import { mayHaveCids } from '../../platform/vsock.ts';
import { formatAddress, formatEnclave, formatTarget } from '../report/format.ts';
import { openUpstream } from '../upstream/open.ts';
import type { UpstreamOptions } from '../upstream/types.ts';
import type { Answerer, Asking } from './dispatcher.ts';

export interface Service {
  readonly kind: ListenSpec['kind'];
  /** Where all clients go, as `host:port`; absent where each says it. */
  readonly target?: string;
  /** Of the kinds that ask. */
  readonly answerer?: Answerer;
  /** Why there is no address, while there is none. */
  absence(): string;
  /** The last good answer of the name that all clients go to. */
  last(): Remembered | undefined;
  /** Serves this listener from now on. Before its first client can be told of. */
  attach(listener: ListenerId, seam: Seam): void;
  stop(): void;
}

/** The data plane, and who answers its questions. */
export interface Seam {
  readonly dataPlane: DataPlane;
  readonly asking: Asking;
}

export interface ServiceContext extends Pick<UpstreamOptions, 'resolver' | 'clock' | 'log'> {
  /** Makes what answers for a route that asks; not loaded before there is one. */
  readonly answererFor: (plan: ListenerPlan) => Promise<Answerer>;
}

/**
 * Decides whether the listener may be, as far as that can be known before there are clients.
 * @param former serves the same address until now
 * @throws VsockProxyError `denied` when the policy forbids the route for everyone
 */
export async function openService(
  plan: ListenerPlan,
  context: ServiceContext,
  former?: { readonly plan: ListenerPlan; readonly service: Service },
): Promise<Service> {
  const { route } = plan;
  if (route.kind === 'target' && !route.proxyHeader) {
    const client = oneClient(plan, route.target);
    if (client !== undefined) return openTarget(plan, route.target, client, context, former);
  }
  if (route.kind === 'address' && !route.proxyHeader) return openAddress(route.address);
  return openAnswers(plan, await context.answererFor(plan));
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
  target: Target,
  client: Client,
  context: ServiceContext,
  former: { readonly plan: ListenerPlan; readonly service: Service } | undefined,
): Promise<Service> {
  const text = formatTarget(target);
  const sameName = former?.service.target === text && former.plan.family === family;
  let addresses: readonly SocketAddress[] | undefined;
  const attached: { readonly dataPlane: DataPlane; readonly listener: ListenerId }[] = [];
  const upstream = openUpstream({
    ...context,
    target,
    family,
    policy,
    client,
    initial: sameName ? former.service.last() : undefined,
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
    attach(listener, { dataPlane }) {
      attached.push({ dataPlane, listener });
      if (addresses !== undefined) dataPlane.setUpstream(listener, addresses);
    },
    stop: () => upstream.stop(),
  };
}

function openAddress(address: Extract<RoutePlan, { readonly kind: 'address' }>['address']): Service {
  return {
    ...UNRESOLVED,
    kind: 'fixed',
    target: formatAddress(address),
    attach: (listener, { dataPlane }) => dataPlane.setUpstream(listener, [address]),
  };
}

function openAnswers({ route }: ListenerPlan, answerer: Answerer): Service {
  const attach = (listener: ListenerId, { asking }: Seam) => asking.setAnswerer(listener, answerer);
  switch (route.kind) {
    case 'target':
      return { ...UNRESOLVED, kind: 'decide-client', target: formatTarget(route.target), answerer, attach };
    case 'address':
      return { ...UNRESOLVED, kind: 'decide-client', target: formatAddress(route.address), answerer, attach };
    case 'enclave':
      return { ...UNRESOLVED, kind: 'decide-client', target: formatEnclave(route), answerer, attach };
    case 'log':
      return { ...UNRESOLVED, kind: 'decide-client', target: 'the log', answerer, attach };
    case 'names':
      return { ...UNRESOLVED, kind: 'decide-client', answerer, attach };
    case 'http':
    case 'sni':
      return { ...UNRESOLVED, kind: 'decide-head', answerer, attach };
  }
}

/** Nothing is kept resolved for it. */
const UNRESOLVED = {
  absence: () => 'no address is known',
  last: () => undefined,
  stop: () => undefined,
};
