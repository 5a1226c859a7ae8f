/** The address guard: what a name resolved to is checked again before anyone connects to it. */
import { VsockProxyError } from '../errors.ts';
import type { IpAddress, TcpPort } from './address.ts';
import type { NameRule, Rule } from './rules.ts';

export interface Admission {
  /** In the order given, each with the rule that lets it through. */
  readonly admitted: readonly { readonly address: IpAddress; readonly rule: Rule }[];
  /** `reason` is a phrase for after the address: `is a loopback address`. */
  readonly refused: readonly { readonly address: IpAddress; readonly reason: string }[];
}

/**
 * Sorts resolved addresses into those that may be connected to on this port and those that may not.
 *
 * `namedBy` is the rule of the name that was resolved, where there is one (`allowed` by a name, or the rule of
 * `needs-names`); without it only addresses that an IP or CIDR rule covers are admitted.
 */
export function guardAddresses(
  _rules: readonly Rule[],
  _port: TcpPort,
  _namedBy: NameRule | undefined,
  _addresses: readonly IpAddress[],
): Admission {
  throw new VsockProxyError('internal', 'not yet written');
}
