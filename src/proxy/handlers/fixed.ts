/** Handles clients before their first byte, for routes to one server. */

import type { Client } from '../../access/rules.ts';
import type { Decision, SocketAddress } from '../../dataplane/contract.ts';
import { type IpEndpoint, proxyHeader } from '../../protocol/proxy-header.ts';
import type { Authorization } from './authorizer.ts';
import type { FirstRequest, Handled, Handler } from './dispatcher.ts';
import { type ProxyHop, settleSilently, tunnelTo } from './parent-tunnel.ts';
import { refuseUnauthorized } from './refusal.ts';
import type { TargetIds } from './target-ids.ts';

export interface ClientHandlerOptions {
  readonly targets: TargetIds;
  /** The authorization of this client. */
  readonly find: (client: Client) => Authorization | Promise<Authorization>;
  /** Whether the server first receives the client's address. */
  readonly proxyHeader: boolean;
  /** The proxy on the way to some or all servers. */
  readonly hop?: ProxyHop;
}

export function handleClients({ targets, find, hop, ...options }: ClientHandlerOptions): Handler {
  return {
    first(request) {
      if (request.kind !== 'client') throw new Error('a route to one server reads nothing of its clients');
      const toServer = options.proxyHeader ? proxyHeader(ipOf(request.client), ipOf(request.local)) : undefined;
      const decide = (authorization: Authorization): Handled => {
        if (authorization.kind !== 'allowed') return refuseUnauthorized(authorization, targets);
        if (authorization.through && hop !== undefined) {
          return { decision: { ...tunnelTo(authorization, targets, hop), consume: 0 } };
        }
        const { text, addresses } = authorization;
        const decision = {
          action: 'connect',
          target: targets.idOf(text),
          addresses,
          consume: 0,
          explain: false,
        } as const;
        return { decision: toServer === undefined ? decision : { ...decision, toServer } };
      };
      const authorization = find(clientOf(request.client));
      return authorization instanceof Promise ? authorization.then(decide) : decide(authorization);
    },
    later(request) {
      if (hop === undefined) throw new Error('a connection that relays has no decision requests');
      return settleSilently(request, targets, hop);
    },
  };
}

/** The same decision for all clients, except for what it says about the client. */
export function handleAlike(decisionOn: (request: FirstRequest) => Decision): Handler {
  return {
    first: (request) => ({ decision: decisionOn(request) }),
    later() {
      throw new Error('a connection that relays has no decision requests');
    },
  };
}

/** A client in the form of the policy. */
export function clientOf(address: SocketAddress): Client {
  return address.family === 'vsock' ? { cid: address.cid } : NOBODY;
}

const NOBODY: Client = {};

function ipOf(address: SocketAddress): IpEndpoint | undefined {
  return address.family === 'tcp' ? address : undefined;
}
