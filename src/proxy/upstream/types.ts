/** The common parts of all upstreams. */

import { formatHost, type IpAddress } from '../../access/address.ts';
import type { AccessRequest, Allowed } from '../../access/authorize.ts';
import type { Denial } from '../../access/denial.ts';
import type { Target } from '../../access/rules.ts';
import type { SocketAddress } from '../../dataplane/contract.ts';
import type { Remembered } from '../../dns/lifetime.ts';
import type { Resolver } from '../../dns/resolver.ts';
import type { Clock } from '../../platform/clock.ts';
import { VsockProxyError } from '../../platform/errors.ts';
import type { Log } from '../../platform/log.ts';

/** The target is one that the operator wrote. */
export interface UpstreamOptions extends Omit<AccessRequest, 'namedBy'> {
  readonly resolver: Resolver;
  readonly clock: Clock;
  readonly log: Log;
  /** The host of the target as the operator wrote it; absent: it was written in normalised form. */
  readonly written?: string | undefined;
  /** The last answer of an earlier upstream of this target and family. */
  readonly initial?: Remembered | undefined;
  /**
   * Called with every change of the addresses, and with no addresses if the first attempt to find any has failed. It is
   * not called before the function that receives these options has returned.
   */
  readonly onChange: (addresses: readonly SocketAddress[]) => void;
}

export interface Upstream {
  /**
   * Fulfilled when the route is known to be allowed, or when this cannot be known yet. Rejected with a VsockProxyError
   * `denied` if the allowlist turns out to deny it.
   */
  readonly decided: Promise<void>;
  /** The reason why there is no address, while there is none. */
  absence(): string;
  /** The last good answer for its name, if it has one. */
  last(): Remembered | undefined;
  /** Called when a client comes: the log says to which address it is connected. */
  client(): void;
  /** Stops resolving. */
  stop(): void;
}

export function denialError({ reason, hint }: Denial): VsockProxyError {
  return new VsockProxyError('denied', reason, { hint });
}

export function addressesOf({ admitted }: Allowed, { port }: Target): readonly SocketAddress[] {
  return admitted.map(({ address }) => ({ family: 'tcp', ip: address.text, port }));
}

/** The host of the target, as the log shows it. */
export function writtenHost({ target: { host }, written }: Pick<UpstreamOptions, 'target' | 'written'>): string {
  return written ?? formatHost(host);
}

export function logMatchedName(log: Log, name: string, { port }: Target): void {
  log.info(`Matched with host name "${name}" and port "${port}"`);
}

export function logMatchedIp(log: Log, ip: IpAddress, { port }: Target): void {
  log.info(`Matched with host IP "${ip.text}" and port "${port}"`);
}
