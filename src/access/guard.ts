/**
 * The address guard: what a name resolved to is checked again before anyone connects to it.
 *
 * Whoever controls a listed name's DNS could otherwise point it at the parent itself: at a service on its loopback
 * interface, or at the metadata service with the instance's credentials. Private ranges are fine: VPC endpoints
 * live there.
 */
import { formatHost, type IpAddress, isLocalhost, type TcpPort } from './address.ts';
import { cidrCovers, constantCidr, embeddedIpv4 } from './cidr.ts';
import { DENY_HINT, type Denial, findRefusal, NOT_ALLOWED, suggestRule } from './decide.ts';
import { appliesTo, type Client, findRule, type NameRule, type Policy, type Rule, type Target } from './rules.ts';

export interface Admission {
  /** In the order given, each with the rule that lets it through. */
  readonly admitted: readonly { readonly address: IpAddress; readonly rule: Rule }[];
  /** `reason` is a phrase for after the address: `is a loopback address`; `rule` is the deny rule, if one decided. */
  readonly refused: readonly { readonly address: IpAddress; readonly reason: string; readonly rule?: Rule }[];
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
 * guarded address through if it means it: the address itself, or a range of guarded addresses alone, and not
 * `0.0.0.0/0`. The name `localhost`, listed as such, stands for loopback addresses. What an IP or CIDR deny rule covers
 * is refused in any case.
 */
export function guardAddresses(
  policy: Policy,
  port: TcpPort,
  client: Client,
  namedBy: NameRule | undefined,
  addresses: readonly IpAddress[],
): Admission {
  const admitted: Admission['admitted'][number][] = [];
  const refused: Admission['refused'][number][] = [];
  for (const address of addresses) {
    const refusal = findRefusal(policy, { kind: 'ip', ip: address }, port, client);
    const verdict = refusal ?? judge(policy, port, client, namedBy, address);
    if ('reason' in verdict) refused.push({ address, ...verdict });
    else admitted.push({ address, rule: verdict });
  }
  return { admitted, refused };
}

/** The denial of a name of whose addresses none was admitted. */
export function denyAddresses(
  { host, port }: Target,
  namedBy: NameRule | undefined,
  refused: Admission['refused'],
): Denial {
  const reason = `${NOT_ALLOWED}: none of the addresses of ${formatHost(host)} may be used: ${describeRefused(refused)}`;
  const rule = refused.find((refusal) => refusal.rule !== undefined)?.rule;
  if (rule !== undefined) return { kind: 'denied', reason, hint: DENY_HINT, rule };
  const hint = namedBy === undefined ? suggestRule(host, port) : 'list an address itself if it is meant to be used';
  return { kind: 'denied', reason, hint };
}

export function describeRefused(refused: Admission['refused']): string {
  return refused.map(({ address, reason }) => `${address.text} ${reason}`).join(', ');
}

/** The rule that admits the address, or why none does. */
function judge(
  policy: Policy,
  port: TcpPort,
  client: Client,
  namedBy: NameRule | undefined,
  address: IpAddress,
): Rule | { readonly reason: string } {
  const guarded = guardOf(address);
  if (namedBy !== undefined) {
    if (guarded === undefined || (guarded.reason === LOOPBACK && listsLocalhost(namedBy))) return namedBy;
  }
  const express = findRule(policy.allow, { kind: 'ip', ip: address }, (candidate) => {
    return appliesTo(candidate, port, client) && (guarded === undefined || isWithin(candidate, guarded.prefixLength));
  });
  return express ?? { reason: guarded?.reason ?? `is not in the allowlist for port ${port}` };
}

/** Whether a rule that covers an address lists it alone, or in a range with at least so long a prefix. */
function isWithin({ address }: Rule, prefixLength: number): boolean {
  return address.kind === 'ip' || (address.kind === 'cidr' && address.cidr.prefixLength >= prefixLength);
}

function listsLocalhost({ address }: NameRule): boolean {
  return address.kind === 'name' && isLocalhost(address.name);
}

/** Why the address is guarded, and how long the prefix of the range is that is. */
function guardOf(address: IpAddress): { readonly reason: string; readonly prefixLength: number } | undefined {
  const range = GUARDED.find(({ cidr }) => cidrCovers(cidr, address));
  if (range !== undefined) return { reason: range.reason, prefixLength: range.cidr.prefixLength };
  const embedded = embeddedIpv4(address);
  const guarded = embedded && guardOf(embedded);
  return guarded && { reason: `stands for ${embedded.text}, which ${guarded.reason}`, prefixLength: 128 };
}
