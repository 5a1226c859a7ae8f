/** Makes the handlers of routes that request decisions, with the resources that all of them share. */

import type { TargetHost } from '../../access/address.ts';
import { denyAll } from '../../access/authorize.ts';
import type { Client } from '../../access/rules.ts';
import type { SocketAddress } from '../../dataplane/contract.ts';
import { NameCache, type NameCacheOptions } from '../../dns/cache.ts';
import type { RecordLookUp } from '../../dns/records.ts';
import type { ListenerPlan, RoutePlan } from '../../plan.ts';
import { VsockProxyError } from '../../platform/errors.ts';
import { mayHaveCids } from '../../platform/vsock.ts';
import { formatAddress, formatEnclave, nameClient } from '../report/format.ts';
import { denialError } from '../upstream/types.ts';
import { type Authorization, Authorizer } from './authorizer.ts';
import type { Handler } from './dispatcher.ts';
import { handleAlike, handleClients } from './fixed.ts';
import { ParentProxy } from './parent-proxy.ts';
import { PARENT } from './parent-tunnel.ts';
import type { TargetIds } from './target-ids.ts';
import { hopOf, UpstreamAuthorizer } from './upstream-proxy.ts';

/** Resources that some routes need, and that most proxies do not have. */
export interface RouteSupport {
  /** Inside an enclave: the host that an address stands for. */
  readonly hostOf?: (ip: string) => TargetHost | undefined;
  /** The present CID of the enclave with this name. */
  readonly cidOf?: CidOf;
  readonly openLogReceiver?: () => Promise<LogReceiver>;
  /** For DNS records that enclaves request from the HTTP proxy; absent: such requests are malformed. */
  readonly lookUpRecords?: RecordLookUp;
}

export interface HandlerOptions extends NameCacheOptions, RouteSupport {
  readonly targets: TargetIds;
}

/** Receives log lines. */
export interface LogReceiver {
  readonly address: SocketAddress;
  /** The first bytes on each connection, which name the client of the lines. */
  readonly introduce: (client: string) => Uint8Array;
  /** Ends all connections in order; lines that were sent before are still accepted. */
  close(): void;
}

/** A failure is a value, not an exception. A promise is never rejected. */
export type CidOf = (name: string) => number | VsockProxyError | Promise<number | VsockProxyError>;

export interface Handlers {
  /** @throws VsockProxyError `denied` if the policy denies the route to every client */
  handlerFor(plan: ListenerPlan): Promise<Handler>;
  /** The number of names in the cache. */
  readonly remembered: number;
  /** Ends resources that would not end by themselves. */
  drain(): void;
  /** Ends all queries, too. */
  stop(): void;
}

export function openHandlers({
  targets,
  hostOf,
  cidOf,
  openLogReceiver,
  lookUpRecords,
  ...options
}: HandlerOptions): Handlers {
  const names = new NameCache(options);
  const authorizerFor = (
    { policy, family, upstreamProxy: proxy }: ListenerPlan,
    namedBy: 'client' | 'operator',
  ): Pick<Authorizer, 'find' | 'findTarget'> => {
    const common = { policy, family, names, namedBy };
    const direct = new Authorizer(common);
    return proxy === undefined ? direct : new UpstreamAuthorizer({ ...common, proxy, direct });
  };
  let receiver: Promise<LogReceiver> | undefined;
  const drain = (): void => {
    // The caller that failed to open it has the error.
    receiver?.then((opened) => opened.close()).catch(() => undefined);
  };
  return {
    get remembered() {
      return names.size;
    },
    drain,
    async handlerFor(plan) {
      const { route, policy, family, upstreamProxy, timeouts } = plan;
      const reuse = timeouts.reuseMs > 0;
      const hop = upstreamProxy && { hop: hopOf(upstreamProxy) };
      switch (route.kind) {
        case 'http': {
          const { handleHttp } = await import('./http.ts');
          if (route.via !== undefined) {
            return handleHttp({ targets, authorizer: new ParentProxy(route.via, policy), hop: PARENT, reuse });
          }
          const handler = handleHttp({ targets, authorizer: authorizerFor(plan, 'client'), ...hop, reuse });
          if (lookUpRecords === undefined) return handler;
          const { withRecords } = await import('./records.ts');
          return withRecords(handler, { policy, lookUp: lookUpRecords });
        }
        case 'names': {
          if (hostOf === undefined) throw new VsockProxyError('internal', 'no table of addresses for a route by them');
          const { handleNames } = await import('./transparent.ts');
          return handleNames({ targets, parentProxy: new ParentProxy(route.via, policy), hostOf });
        }
        case 'sni': {
          const { handleSni } = await import('./sni.ts');
          const { port, starttls } = route;
          return handleSni({ targets, authorizer: authorizerFor(plan, 'client'), port, starttls, ...hop });
        }
        case 'target': {
          const { target, proxyHeader } = route;
          const denial = denyAll({ policy, target, family }, { mayHaveCids: mayHaveCids(plan.on), cids: plan.cids });
          if (denial !== undefined) throw denialError(denial);
          const authorizer = authorizerFor(plan, 'operator');
          const find = (client: Client) => authorizer.findTarget(target, client);
          return handleClients({ targets, proxyHeader, find, ...hop });
        }
        case 'enclave': {
          if (cidOf === undefined) throw new VsockProxyError('internal', 'nobody knows the CIDs of enclaves');
          return handleClients({ targets, proxyHeader: false, find: () => findEnclave(route, cidOf) });
        }
        case 'log': {
          receiver ??= openLogReceiver?.().catch((error: unknown) => {
            receiver = undefined; // the next reload tries it again
            throw error;
          });
          if (receiver === undefined) throw new VsockProxyError('internal', 'nobody receives lines for the log');
          const { address, introduce } = await receiver;
          return handleAlike(({ client }) => ({
            action: 'connect',
            target: targets.idOf('the log'),
            addresses: [address],
            consume: 0,
            toServer: introduce(nameClient(client)),
            explain: false,
          }));
        }
        case 'address': {
          const { address, proxyHeader } = route;
          const authorization = { kind: 'allowed', text: formatAddress(address), addresses: [address] } as const;
          return handleClients({ targets, proxyHeader, find: () => authorization });
        }
      }
    },
    stop() {
      names.stop();
      drain();
    },
  };
}

function findEnclave(
  route: Extract<RoutePlan, { readonly kind: 'enclave' }>,
  cidOf: CidOf,
): Authorization | Promise<Authorization> {
  const text = formatEnclave(route);
  const settle = (cid: number | VsockProxyError): Authorization =>
    cid instanceof VsockProxyError
      ? { text, kind: 'unresolved', error: cid }
      : { text, kind: 'allowed', addresses: [{ family: 'vsock', cid, port: route.port }] };
  const cid = cidOf(route.name);
  return cid instanceof Promise ? cid.then(settle) : settle(cid);
}
