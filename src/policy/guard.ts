/**
 * The address guard: what a name resolved to is checked again before anyone connects to it.
 *
 * Whoever controls a listed name's DNS could otherwise point it at the parent itself: at a service on its loopback
 * interface, or at the metadata service with the instance's credentials. Private ranges are fine: VPC endpoints
 * live there.
 */
import { type IpAddress, isLocalhost, type TcpPort } from './address.ts';
import { cidrCovers, constantCidr, embeddedIpv4 } from './cidr.ts';
import { findCovering, type NameRule, type Rule } from './rules.ts';

export interface Admission {
  /** In the order given, each with the rule that lets it through. */
  readonly admitted: readonly { readonly address: IpAddress; readonly rule: Rule }[];
  /** `reason` is a phrase for after the address: `is a loopback address`. */
  readonly refused: readonly { readonly address: IpAddress; readonly reason: string }[];
}

const LOOPBACK = 'is a loopback address';

/** Addresses that no name may lead to. */
const GUARDED = [
  ['0.0.0.0/8', 'is an unspecified address'],
  ['::/128', 'is an unspecified address'],
  ['127.0.0.0/8', LOOPBACK],
  ['::1/128', LOOPBACK],
  ['169.254.0.0/16', 'is a link-local address, where the instance metadata service lives'],
  ['fe80::/10', 'is a link-local address'],
  // Not link-local by its form, but by its use: the IPv6 ends of the services at 169.254.169.x.
  ['fd00:ec2::/32', 'belongs to the services of the instance itself, such as its metadata'],
  ['224.0.0.0/4', 'is a multicast address'],
  ['ff00::/8', 'is a multicast address'],
  ['255.255.255.255/32', 'is the broadcast address'],
].map(([range = '', reason = '']) => ({ cidr: constantCidr(range), reason }));

/**
 * Sorts resolved addresses into those that may be connected to on this port and those that may not.
 *
 * `namedBy` is the rule of the name that was resolved, where there is one (`allowed` by a name, or the rule of
 * `needs-names`); without it only addresses that an IP or CIDR rule covers are admitted. Such a rule lets even a
 * guarded address through, and the name `localhost` stands for loopback addresses.
 */
export function guardAddresses(
  rules: readonly Rule[],
  port: TcpPort,
  namedBy: NameRule | undefined,
  addresses: readonly IpAddress[],
): Admission {
  const admitted: Admission['admitted'][number][] = [];
  const refused: Admission['refused'][number][] = [];
  for (const address of addresses) {
    const verdict = judge(rules, port, namedBy, address);
    if (typeof verdict === 'string') refused.push({ address, reason: verdict });
    else admitted.push({ address, rule: verdict });
  }
  return { admitted, refused };
}

/** The rule that admits the address, or why none does. */
function judge(
  rules: readonly Rule[],
  port: TcpPort,
  namedBy: NameRule | undefined,
  address: IpAddress,
): Rule | string {
  const express = () => findCovering(rules, port, address);
  if (namedBy === undefined) return express() ?? `is not in the allowlist for port ${port}`;
  const reason = guardedReason(address);
  if (reason === undefined || (reason === LOOPBACK && isLocalhost(namedBy.address.name))) return namedBy;
  return express() ?? reason;
}

function guardedReason(address: IpAddress): string | undefined {
  const reason = GUARDED.find(({ cidr }) => cidrCovers(cidr, address))?.reason;
  const embedded = reason === undefined ? embeddedIpv4(address) : undefined;
  const embeddedReason = embedded && guardedReason(embedded);
  return embeddedReason === undefined ? reason : `stands for ${embedded?.text}, which ${embeddedReason}`;
}
