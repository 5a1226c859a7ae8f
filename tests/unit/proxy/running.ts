/** A whole proxy in memory: plans, clients, servers, names. */

import type { SocketAddress } from '../../../src/dataplane/contract.ts';
import type { ListenerPlan, Plan } from '../../../src/plan.ts';
import { type RunningProxy, type ServeDependencies, serve } from '../../../src/proxy/server.ts';
import { FakeDataPlane } from '../../dataplane/fake.ts';
import { FakeNetwork, type FakeNetworkOptions } from '../../dataplane/network.ts';
import { policy } from '../access/fixture.ts';
import { ManualClock, type Names, recordLog, resolverOf, settle } from './fixture.ts';

export const NAME = 'api.example.com';
export const ON: SocketAddress = { family: 'vsock', cid: 3, port: 8000 };
export const CLIENT: SocketAddress = { family: 'vsock', cid: 16, port: 5005 };
export const SERVER = { family: 'tcp', ip: '10.0.0.7', port: 443 } as const;

/** One listener: what is not given is harmless. Rules as in policy-fixture.ts. */
export function listener(
  changes: Partial<ListenerPlan> & { readonly allow?: readonly string[]; readonly deny?: readonly string[] },
): ListenerPlan {
  const { allow = [`${NAME} 443`], deny = [], ...others } = changes;
  return {
    place: 'proxy.yaml:3',
    on: ON,
    route: { kind: 'http' },
    policy: policy(allow, deny),
    family: 'any',
    limits: { connections: 100, connectionsPerClient: 0, ratePerClient: 0 },
    timeouts: { connectMs: 5000, idleMs: 0, headMs: 10_000, reuseMs: 0 },
    ...others,
  };
}

export interface ProxyOptions extends FakeNetworkOptions {
  readonly names?: Names;
  readonly level?: string;
  readonly sockets?: Readonly<Record<string, readonly number[]>>;
  readonly hasOwnVsock?: boolean;
  readonly support?: ServeDependencies['support'];
}

/** Its plan may be changed at any time; an error in its place is what loading it gives. */
export function setUpProxy(first: readonly ListenerPlan[] | Error, options: ProxyOptions = {}) {
  const { names = {}, level = 'info', sockets = {}, hasOwnVsock = false, support = {}, ...network } = options;
  const clock = new ManualClock();
  const net = new FakeNetwork({ ...network, clock });
  const logged = recordLog(level);
  const resolver = resolverOf(names);
  const wanted = { listeners: first };
  const planes: FakeDataPlane[] = [];
  const load = async (): Promise<Plan> => {
    await settle();
    if (wanted.listeners instanceof Error) throw wanted.listeners;
    return { listeners: wanted.listeners, drainMs: 30_000 };
  };
  const start = (): Promise<RunningProxy> =>
    serve(load, {
      logFor: logged.logFor,
      clock,
      now: () => new Date(clock.now()),
      resolver: { resolve: (...query) => settle().then(() => resolver.resolve(...query)) },
      support,
      activatedSockets: () => Promise.resolve(new Map(Object.entries(sockets))),
      hasOwnVsock: () => hasOwnVsock,
      openDataPlane(events) {
        const plane = new FakeDataPlane(net, events);
        planes.push(plane);
        return plane;
      },
    });
  return { clock, net, logged, names, queries: resolver.queries, wanted, planes, start };
}
