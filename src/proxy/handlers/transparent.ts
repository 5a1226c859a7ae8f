/**
 * Handles clients inside an enclave that connect to the address of a name, or to an address that is listed itself. Each
 * gets a tunnel to that host, at the port to which it connected, through the HTTP proxy of the parent.
 */
import { type TargetHost, toTcpPort } from '../../access/address.ts';
import { formatIpPort } from '../report/format.ts';
import type { Handler } from './dispatcher.ts';
import { clientOf } from './fixed.ts';
import type { ParentProxy } from './parent-proxy.ts';
import { PARENT, settleSilently, tunnelTo } from './parent-tunnel.ts';
import { refuseUnauthorized } from './refusal.ts';
import type { TargetIds } from './target-ids.ts';

export interface NamesHandlerOptions {
  readonly targets: TargetIds;
  readonly parentProxy: ParentProxy;
  /** The host that an address stands for. */
  readonly hostOf: (ip: string) => TargetHost | undefined;
}

export function handleNames({ targets, parentProxy, hostOf }: NamesHandlerOptions): Handler {
  return {
    first(request) {
      if (request.kind !== 'client' || request.local.family !== 'tcp')
        throw new Error('an address stands for a host, over TCP');
      const host = hostOf(request.local.ip);
      const port = toTcpPort(request.local.port);
      if (host === undefined || port === undefined) return refuseAddress(request.local);
      const authorization = parentProxy.findTarget({ host, port }, clientOf(request.client));
      if (authorization.kind !== 'allowed') return refuseUnauthorized(authorization, targets);
      return { decision: { ...tunnelTo(authorization, targets, PARENT), consume: 0 } };
    },
    later: (request) => settleSilently(request, targets, PARENT),
  };
}

function refuseAddress(local: { readonly ip: string; readonly port: number }) {
  return {
    decision: { action: 'reject', reason: 'denied' },
    refusal: {
      problem: `no name is known for ${formatIpPort(local)}, which it has connected to`,
      hint: 'look the name up again; what listens inside the enclave needs a port outside of egress.transparent_ports',
      subject: formatIpPort(local),
    },
  } as const;
}
