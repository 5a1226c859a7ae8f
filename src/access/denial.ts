/** The texts of denials. Reasons and hints name rules and files, so they are for the log, not for clients. */
import { formatHost, type TargetHost, type TcpPort } from './address.ts';
import { embeddedIpv4 } from './cidr.ts';
import type { RefusedAddress } from './guard.ts';
import { coversPort, describePorts } from './ports.ts';
import { findRule } from './rule-index.ts';
import {
  appliesTo,
  type Client,
  describeCids,
  isFor,
  nameAllowlist,
  type Policy,
  type Rule,
  type Target,
} from './rules.ts';

export interface Denial {
  readonly kind: 'denied';
  /** `addresses`: the target is listed, but none of its addresses is allowed. */
  readonly of: 'target' | 'addresses';
  /** Begins with {@link NOT_ALLOWED}. */
  readonly reason: string;
  readonly hint: string;
  /** The deny rule that decided; absent: no rule allows the target. */
  readonly rule?: Rule;
  /** The addresses that were checked. */
  readonly refused: readonly RefusedAddress[];
}

export const NOT_ALLOWED = 'The given address and port are not allowed';
const DENY_HINT = 'deny goes before allow: if it is to be reached, narrow or remove the rule that denies it';

/** A deny rule, and a phrase to follow the host that it matches: `is denied by 10.0.0.0/8 (…)`. */
export interface DenyMatch {
  readonly rule: Rule;
  readonly reason: string;
}

/** The deny rule for the host itself, or for the IPv4 address that an IPv6 address embeds. */
export function findDenyRule(policy: Policy, host: TargetHost, port: TcpPort, client: Client): DenyMatch | undefined {
  if (policy.deny.length === 0) return undefined;
  const rule = findRule(policy.deny, host, (candidate) => appliesTo(candidate, port, client));
  if (rule !== undefined) {
    const whom = rule.cids === undefined ? '' : ` to ${describeCids(rule.cids)}`;
    return { rule, reason: `is denied${whom} by ${rule.text} (${rule.place})` };
  }
  const embedded = host.kind === 'ip' ? embeddedIpv4(host.ip) : undefined;
  const match = embedded && findDenyRule(policy, { kind: 'ip', ip: embedded }, port, client);
  return match && { ...match, reason: `stands for ${embedded.text}, which ${match.reason}` };
}

/** The denial of a target that a deny rule matches. */
export function denyByRule({ rule, reason }: DenyMatch, { host, port }: Target): Denial {
  return { ...deny('target', `${formatHost(host)} on port ${port} ${reason}`, DENY_HINT), rule };
}

/** The denial of a target that no rule allows. It names the rule that came closest. */
export function denyUnlisted(policy: Policy, { host, port }: Target, client: Client): Denial {
  const { allow } = policy;
  const list = nameAllowlist(policy);
  if (allow.length === 0) return deny('target', `${list} is empty`, suggestRule(policy, host, port));
  const forOthers = findRule(allow, host, (rule) => coversPort(rule.ports, port));
  if (forOthers?.cids !== undefined) {
    const listed = `${forOthers.text} is listed for ${describeCids(forOthers.cids)} (${forOthers.place})`;
    return client.cid === undefined
      ? deny(
          'target',
          `${listed}, and the client has no CID`,
          'clients over TCP or a unix socket need a rule without cids',
        )
      : deny(
          'target',
          `${listed}, not for CID ${client.cid}`,
          `if it may be reached from there, add ${client.cid} to its cids`,
        );
  }
  const otherPort = findRule(allow, host, (rule) => isFor(rule, client));
  const why =
    otherPort === undefined
      ? `no entry of ${list} matches ${formatHost(host)} on port ${port}`
      : `${otherPort.text} is listed for ${describePorts(otherPort.ports)} (${otherPort.place}), not for port ${port}`;
  return deny('target', why, suggestRule(policy, host, port));
}

/** The denial of a guarded IP address that `wide` covers together with unguarded addresses. */
export function denyGuarded(policy: Policy, refused: RefusedAddress, wide: Rule, { host, port }: Target): Denial {
  const why = `${refused.address.text} ${refused.reason}, and ${wide.text} (${wide.place}) covers it without meaning it`;
  return { ...deny('addresses', why, suggestRule(policy, host, port)), refused: [refused] };
}

/**
 * The denial of a name without any allowed address.
 * @param isListed whether a rule lists the name
 */
export function denyAddresses(
  policy: Policy,
  { host, port }: Target,
  isListed: boolean,
  refused: readonly RefusedAddress[],
): Denial {
  const why = `none of the addresses of ${formatHost(host)} may be used: ${describeRefusedAddresses(refused)}`;
  const rule = refused.find((each) => each.rule !== undefined)?.rule;
  if (rule !== undefined) return { ...deny('addresses', why, DENY_HINT), refused, rule };
  const hint = isListed ? 'list an address itself if it is meant to be used' : suggestRule(policy, host, port);
  return { ...deny('addresses', why, hint), refused };
}

/**
 * The denial of a name that the operator wrote, with a hint that the file could allow it by the address of one of these
 * names.
 */
export function suggestByIp(denial: Denial, names: readonly Rule[]): Denial {
  if (names.length === 0) return denial;
  return {
    ...denial,
    hint: `${denial.hint}; or, if a listed name has the same address, write match_names_by_ip: true`,
  };
}

export function describeRefusedAddresses(refused: readonly RefusedAddress[]): string {
  return refused.map(({ address, reason }) => `${address.text} ${reason}`).join(', ');
}

/** A hint with the line to add to the list of the allow rules. Those of `egress` have no port. */
function suggestRule(policy: Policy, host: TargetHost, port: TcpPort): string {
  const text = formatHost(host);
  const address = text.includes(':') ? `"${text}"` : text;
  const entry = policy.allowKey === 'egress.allow' ? address : `{address: ${address}, port: ${port}}`;
  return `if it is to be reached, add this line to ${nameAllowlist(policy)}: - ${entry}`;
}

function deny(of: Denial['of'], why: string, hint: string): Denial {
  return { kind: 'denied', of, reason: `${NOT_ALLOWED}: ${why}`, hint, refused: [] };
}
