/** What every upstream has in common, however it comes by its addresses. */

import { formatHost, type IpAddress } from '../../access/address.ts';
import type { AccessQuestion, Allowed } from '../../access/authorize.ts';
import type { Denial } from '../../access/denial.ts';
import type { Target } from '../../access/rules.ts';
import type { SocketAddress } from '../../dataplane/contract.ts';
import type { Remembered } from '../../dns/lifetime.ts';
import type { Resolver } from '../../dns/resolver.ts';
import type { Clock } from '../../platform/clock.ts';
import { VsockProxyError } from '../../platform/errors.ts';
import type { Log } from '../../platform/log.ts';

/** Its target is one that the operator wrote. */
export interface UpstreamOptions extends Omit<AccessQuestion, 'askedBy'> {
  readonly resolver: Resolver;
  readonly clock: Clock;
  readonly log: Log;
  /** The host of the target as the operator wrote it; absent: in its one spelling. */
  readonly written?: string | undefined;
  /** What an earlier upstream of this target and family knew last. */
  readonly initial?: Remembered | undefined;
  /**
   * Called with every change of the addresses, and with none when the first attempt to find any has failed; but not
   * before the function that these options go to has returned.
   */
  readonly onChange: (addresses: readonly SocketAddress[]) => void;
}

export interface Upstream {
  /**
   * Fulfilled once the route is known to be allowed, or once it is clear that this cannot be known yet.
   * Rejected with a VsockProxyError `denied` when it turns out that the allowlist forbids it.
   */
  readonly decided: Promise<void>;
  /** Why there is no address, while there is none. */
  absence(): string;
  /** The last good answer for its name, if it has one. */
  last(): Remembered | undefined;
  /** A client has come: the log says where it is connected to. */
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

/** The host of the target in the words of the log. */
export function writtenHost({ target: { host }, written }: Pick<UpstreamOptions, 'target' | 'written'>): string {
  return written ?? formatHost(host);
}

export function logMatchedName(log: Log, name: string, { port }: Target): void {
  log.info(`Matched with host name "${name}" and port "${port}"`);
}

export function logMatchedIp(log: Log, ip: IpAddress, { port }: Target): void {
  log.info(`Matched with host IP "${ip.text}" and port "${port}"`);
}
