/** Decides which servers are reached through the upstream proxy, and which directly. */
import { isLocalhost, type TargetHost, type TcpPort } from './address.ts';
import { isGuarded } from './guard.ts';
import { findRule } from './rule-index.ts';
import type { Rule, Target } from './rules.ts';

/** An HTTP proxy that resolves names and connects. */
export interface UpstreamProxy {
  readonly host: TargetHost;
  readonly port: TcpPort;
  /** Value of Proxy-Authorization: a secret. */
  readonly authorization?: string;
  /** The servers that are reached directly. */
  readonly except: readonly Rule[];
}

/**
 * Whether the server is reached directly: the listed exceptions, and this machine with its own services (localhost,
 * loopback and link-local addresses), which another machine cannot reach.
 */
export function isReachedDirectly({ except }: Pick<UpstreamProxy, 'except'>, { host }: Target): boolean {
  const isOwn = host.kind === 'ip' ? isGuarded(host.ip) : isLocalhost(host.name);
  return isOwn || findRule(except, host, () => true) !== undefined;
}
