/**
 * The address guard checks every address before the proxy connects to it, whatever its source.
 *
 * Without it, the owner of a listed name's DNS could point the name at the parent itself: at a service on its loopback
 * interface, or at the metadata service with the instance's credentials. A wide range such as `0.0.0.0/0` would open
 * both to every client. Private ranges are allowed, because VPC endpoints are there.
 */
import { type IpAddress, isLocalhost, type TcpPort } from './address.ts';
import { cidrCovers, constantCidr, embeddedIpv4 } from './cidr.ts';
import { findDenyRule } from './denial.ts';
import { findRule } from './rule-index.ts';
import { appliesTo, type Client, type NameRule, type Policy, type Rule } from './rules.ts';

export interface AdmittedAddress {
  readonly address: IpAddress;
  /** The rule that allows it. */
  readonly rule: Rule;
}

export interface RefusedAddress {
  readonly address: IpAddress;
  /** The cause: a deny rule, the guard, or no rule that lists it. */
  readonly by: 'rule' | 'guard' | 'nothing';
  /** A phrase to follow the address: `is a loopback address`. */
  readonly reason: string;
  /** The deny rule. */
  readonly rule?: Rule;
}

const LOOPBACK = 'is a loopback address';

/** Addresses that are used only if a rule means them. */
const GUARDED = [
  ['0.0.0.0/8', 'is an unspecified address'],
  ['::/128', 'is an unspecified address'],
  ['127.0.0.0/8', LOOPBACK],
  ['::1/128', LOOPBACK],
  ['169.254.0.0/16', 'is a link-local address, where the instance metadata service lives'],
  ['fe80::/10', 'is a link-local address'],
  // These are not link-local by form, but by use: the IPv6 addresses of the services at 169.254.169.x.
  ['fd00:ec2::/32', 'belongs to the services of the instance itself, such as its metadata'],
  ['224.0.0.0/4', 'is a multicast address'],
  ['ff00::/8', 'is a multicast address'],
  ['255.255.255.255/32', 'is the broadcast address'],
].map(([range = '', reason = '']) => ({ cidr: constantCidr(range), reason }));

/**
 * Decides whether the proxy may connect to an address on this port.
 *
 * A deny rule refuses the address in any case. A guarded address is admitted by a rule that means it: a rule for the
 * address itself, or for a range of guarded addresses only, and not `0.0.0.0/0`. The name `localhost`, if it is listed
 * itself, means loopback addresses. Any other address is admitted by `namedBy`, or by a rule that covers it.
 * @param namedBy the rule that lists the name from which the address was resolved, if there is one
 */
export function guardAddress(
  policy: Policy,
  port: TcpPort,
  client: Client,
  namedBy: NameRule | undefined,
  address: IpAddress,
): AdmittedAddress | RefusedAddress {
  const host = { kind: 'ip', ip: address } as const;
  const match = findDenyRule(policy, host, port, client);
  if (match !== undefined) return { address, by: 'rule', ...match };
  const guarded = guardedRange(address);
  if (namedBy !== undefined && (guarded === undefined || means(namedBy, guarded, address)))
    return { address, rule: namedBy };
  const rule = findRule(policy.allow, host, (candidate) => {
    return appliesTo(candidate, port, client) && (guarded === undefined || means(candidate, guarded, address));
  });
  if (rule !== undefined) return { address, rule };
  return guarded === undefined
    ? { address, by: 'nothing', reason: `is not in the allowlist for port ${port}` }
    : { address, by: 'guard', reason: guarded.reason };
}

/** Whether the guard admits the address for a name that this rule lists. */
export function mayLeadTo(rule: NameRule, address: IpAddress): boolean {
  const guarded = guardedRange(address);
  return guarded === undefined || means(rule, guarded, address);
}

interface GuardedRange {
  readonly reason: string;
  readonly prefixLength: number;
}

/** Whether a rule means a guarded address that it covers, or to which its name resolves. */
function means({ address, leadsTo }: Rule, guarded: GuardedRange, ip: IpAddress): boolean {
  if (leadsTo !== undefined) return leadsTo.text === ip.text;
  switch (address.kind) {
    case 'ip':
      return true;
    case 'cidr':
      return address.cidr.prefixLength >= guarded.prefixLength;
    case 'name':
      return guarded.reason === LOOPBACK && isLocalhost(address.name);
    case 'pattern':
      return false;
  }
}

/** Whether the address is guarded: one of this machine, or of the services of the instance. */
export function isGuarded(address: IpAddress): boolean {
  return guardedRange(address) !== undefined;
}

/** The guarded range of the address. An address that embeds a guarded IPv4 address is a range of its own. */
function guardedRange(address: IpAddress): GuardedRange | undefined {
  const range = GUARDED.find(({ cidr }) => cidrCovers(cidr, address));
  if (range !== undefined) return { reason: range.reason, prefixLength: range.cidr.prefixLength };
  const embedded = embeddedIpv4(address);
  const guarded = embedded && guardedRange(embedded);
  return guarded && { reason: `stands for ${embedded.text}, which ${guarded.reason}`, prefixLength: 128 };
}
