/**
 * Authorizes servers behind the upstream proxy. The policy decides first. A target that is allowed by name is resolved
 * by the upstream proxy. A target that is allowed by its address alone is resolved here, and requested by that address.
 */

import type { AccessRequest } from '../../access/authorize.ts';
import { begin } from '../../access/authorize.ts';
import { type Client, parseTarget, type Target } from '../../access/rules.ts';
import { isReachedDirectly, type UpstreamProxy } from '../../access/upstream-proxy.ts';
import type { SocketAddress } from '../../dataplane/contract.ts';
import type { NameCache } from '../../dns/cache.ts';
import type { Answer } from '../../dns/resolver.ts';
import { VsockProxyError } from '../../platform/errors.ts';
import { formatIpPort, formatTarget } from '../report/format.ts';
import type { Authorization, Authorizer } from './authorizer.ts';
import type { ProxyHop } from './parent-tunnel.ts';

export interface UpstreamAuthorizerOptions extends Omit<AccessRequest, 'target' | 'client'> {
  readonly proxy: UpstreamProxy;
  /** Decides about servers that are reached directly. */
  readonly direct: Pick<Authorizer, 'findTarget'>;
  readonly names: Pick<NameCache, 'lookUp'>;
}

/** The address of the proxy for the data plane, and its name for the log. */
export function hopOf({ authorization }: UpstreamProxy): ProxyHop {
  const fields = authorization === undefined ? '' : `Proxy-Authorization: ${authorization}\r\n`;
  return { name: 'the upstream proxy', fields, isOurs: false };
}

export class UpstreamAuthorizer implements Pick<Authorizer, 'find' | 'findTarget'> {
  readonly #options: UpstreamAuthorizerOptions;

  constructor(options: UpstreamAuthorizerOptions) {
    this.#options = options;
  }

  find(host: string, port: number, client: Client): ReturnType<Authorizer['find']> {
    const target = parseTarget(host, port);
    return 'problem' in target ? target : this.findTarget(target, client);
  }

  findTarget(target: Target, client: Client): Authorization | Promise<Authorization> {
    const { proxy, direct, policy, family, namedBy } = this.#options;
    if (isReachedDirectly(proxy, target)) return direct.findTarget(target, client);
    const text = formatTarget(target);
    const state = begin({ policy, target, client, family, namedBy });
    if (state.kind === 'denied') return { text, kind: 'denied', denial: state };
    const isByName = state.kind === 'needs-addresses' && state.rule !== undefined;
    if (isByName || (state.kind === 'allowed' && target.host.kind === 'ip')) return this.#goThrough(text, client);
    const found = direct.findTarget(target, client);
    // An exact name that resolves to an address of this machine.
    if (state.kind === 'allowed') return found;
    return found instanceof Promise
      ? found.then((settled) => this.#goThroughTo(settled, client))
      : this.#goThroughTo(found, client);
  }

  #goThroughTo(found: Authorization, client: Client): Authorization | Promise<Authorization> {
    const [address] = found.kind === 'allowed' ? found.addresses : [];
    return address?.family === 'tcp' ? this.#goThrough(formatIpPort(address), client) : found;
  }

  /** @param text the target in the request to the proxy */
  #goThrough(text: string, { cid }: Client): Authorization | Promise<Authorization> {
    const { host, port } = this.#options.proxy;
    const through = (ips: readonly { readonly text: string }[]): Authorization => {
      const addresses = ips.map((ip): SocketAddress => ({ family: 'tcp', ip: ip.text, port }));
      return { text, kind: 'allowed', addresses, through: true };
    };
    if (host.kind === 'ip') return through([host.ip]);
    const settle = (found: Answer | VsockProxyError): Authorization =>
      found instanceof VsockProxyError ? { text, kind: 'unresolved', error: found } : through(found.addresses);
    const found = this.#options.names.lookUp(host.name, 'any', cid === undefined ? '' : String(cid));
    return found instanceof Promise ? found.then(settle) : settle(found);
  }
}
