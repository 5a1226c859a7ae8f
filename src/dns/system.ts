/** Names through /etc/hosts and the servers of /etc/resolv.conf. */
import { VsockProxyError } from '../errors.ts';
import type { Resolver } from './resolver.ts';

/** For tests; the defaults are those of the system. */
export interface SystemResolverOptions {
  readonly hostsPath?: string;
  readonly resolvConfPath?: string;
  /** `ip:port` of the servers to ask in place of those of the system. */
  readonly servers?: readonly string[];
  /** How long one look-up may take in all. */
  readonly deadlineMs?: number;
}

export function createSystemResolver(_options: SystemResolverOptions = {}): Resolver {
  throw new VsockProxyError('internal', 'not yet written');
}
