/** Which servers are reached through the parent's own way out, another HTTP proxy, and which without it. */
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
  /** What is reached without it. */
  readonly except: readonly Rule[];
}

/**
 * Whether the server is reached without the proxy: those that are listed as exceptions, and this machine and its own
 * services (localhost, loopback and link-local addresses), which no other machine can stand in for.
 */
export function isReachedDirectly({ except }: Pick<UpstreamProxy, 'except'>, { host }: Target): boolean {
  const isOwn = host.kind === 'ip' ? isGuarded(host.ip) : isLocalhost(host.name);
  return isOwn || findRule(except, host, () => true) !== undefined;
}
