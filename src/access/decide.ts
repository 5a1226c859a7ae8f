/** Decisions about targets, before anything is resolved. Deny beats allow; nothing listed, nothing allowed. */
import { formatHost, type TargetHost, type TcpPort } from './address.ts';
import { embeddedIpv4 } from './cidr.ts';
import { coversPort, describePorts } from './ports.ts';
import {
  appliesTo,
  type Client,
  describeCids,
  type ExactNameRule,
  findRule,
  isExactNameRule,
  isFor,
  isNameRule,
  type Policy,
  type Rule,
  type Target,
} from './rules.ts';

export interface Allowed {
  readonly kind: 'allowed';
  readonly rule: Rule;
}

/** `reason` begins with `The given address and port are not allowed`. Both texts name files: not for clients to see. */
export interface Denial {
  readonly kind: 'denied';
  readonly reason: string;
  readonly hint: string;
  /** The deny rule that decided; absent: no rule allows it. */
  readonly rule?: Rule;
}

/**
 * - `allowed`: by this rule. The addresses of a name still pass through `guardAddresses`.
 * - `needs-address`: no rule has the name, but rules for addresses on this port exist; `guardAddresses` picks
 *   those of the resolved addresses that they cover. If it picks none: `denyAddresses`.
 * - `needs-names`: the IP address is not listed, but names on this port are, in this order; allowed, with a warning,
 *   if one of them resolves to it and `guardAddresses` with that rule admits it. If none does: `denyRoute`.
 */
export type RouteDecision =
  | Allowed
  | { readonly kind: 'needs-address' }
  | { readonly kind: 'needs-names'; readonly rules: readonly ExactNameRule[] }
  | Denial;

/**
 * Decides about a target that a client asks for. A name is allowed by rules for names only, and an IP address by rules
 * for addresses only: were a name resolved to see whether its address is listed, a client could send data out in the
 * names that it asks for, to whoever runs their DNS servers, without a single connection being allowed.
 */
export function decideTarget(policy: Policy, target: Target, client: Client): Allowed | Denial {
  const { host, port } = target;
  const refusal = findRefusal(policy, host, port, client);
  if (refusal !== undefined) return denyBy(refusal, target);
  const rule = findRule(policy.allow, host, (candidate) => appliesTo(candidate, port, client));
  return rule === undefined ? denyRoute(policy, target, client) : { kind: 'allowed', rule };
}

/**
 * Decides about the target of a fixed route, which the operator wrote: what names resolve to may count, too.
 * @param client without a CID only for clients that have none; where `usesCids`, decide for each client
 */
export function decideRoute(policy: Policy, target: Target, client: Client): RouteDecision {
  const decision = decideTarget(policy, target, client);
  if (decision.kind === 'allowed' || decision.rule !== undefined) return decision;
  const { host, port } = target;
  const onPort = policy.allow.filter((rule) => appliesTo(rule, port, client));
  if (host.kind === 'name') return onPort.every(isNameRule) ? decision : { kind: 'needs-address' };
  const rules = onPort
    .filter(isExactNameRule)
    .filter(({ address }) => findRefusal(policy, address, port, client) === undefined);
  return rules.length === 0 ? decision : { kind: 'needs-names', rules };
}

/**
 * Why no client at all may reach the target of a fixed route, which is not what its writer meant; undefined if one may.
 * @param clients whether they may have CIDs, and the only ones that may connect, if not all
 */
export function denyAll(
  policy: Policy,
  { mayHaveCids, cids }: { readonly mayHaveCids: boolean; readonly cids: readonly number[] | undefined },
  target: Target,
): Denial | undefined {
  const named = mayHaveCids ? [...policy.allow, ...policy.deny].flatMap((rule) => rule.cids ?? []) : [];
  // Whom no rule names is treated like a client without a CID.
  const clients: readonly Client[] = cids?.map((cid) => ({ cid })) ?? [{}, ...named.map((cid) => ({ cid }))];
  const decisions = clients.map((client) => decideRoute(policy, target, client));
  const denials = decisions.filter((decision) => decision.kind === 'denied');
  return denials.length === decisions.length ? denials[0] : undefined;
}

/** The denial of what no rule allows, naming the rule that came closest. */
export function denyRoute({ allow }: Policy, { host, port }: Target, client: Client): Denial {
  const denied = (why: string, hint: string): Denial => ({ kind: 'denied', reason: `${NOT_ALLOWED}: ${why}`, hint });
  if (allow.length === 0) return denied('the allowlist is empty', suggestRule(host, port));

  const forOthers = findRule(allow, host, (rule) => coversPort(rule.ports, port));
  if (forOthers?.cids !== undefined) {
    const listed = `${forOthers.text} is listed for ${describeCids(forOthers.cids)} (${forOthers.place})`;
    return client.cid === undefined
      ? denied(`${listed}, and the client has no CID`, 'clients over TCP or a unix socket need a rule without cids')
      : denied(
          `${listed}, not for CID ${client.cid}`,
          `if it may be reached from there, add ${client.cid} to its cids`,
        );
  }
  const otherPort = findRule(allow, host, (rule) => isFor(rule, client));
  const why =
    otherPort === undefined
      ? `no entry of the allowlist matches ${formatHost(host)} on port ${port}`
      : `${otherPort.text} is listed for ${describePorts(otherPort.ports)} (${otherPort.place}), not for port ${port}`;
  return denied(why, suggestRule(host, port));
}

export const NOT_ALLOWED = 'The given address and port are not allowed';
export const DENY_HINT = 'deny goes before allow: if it is to be reached, narrow or remove the rule that denies it';

/** What to add to the allowlist, as a hint. */
export function suggestRule(host: TargetHost, port: TcpPort): string {
  const text = formatHost(host);
  const address = text.includes(':') ? `"${text}"` : text;
  return `if it is to be reached, add this line to the allowlist: - {address: ${address}, port: ${port}}`;
}

/** A deny rule, and how it concerns a host: a phrase for after the host, such as `is denied by 10.0.0.0/8 (…)`. */
export interface Refusal {
  readonly rule: Rule;
  readonly reason: string;
}

/** What denies the host itself, or the IPv4 address that an IPv6 address stands for. */
export function findRefusal(policy: Policy, host: TargetHost, port: TcpPort, client: Client): Refusal | undefined {
  if (policy.deny.length === 0) return undefined;
  const rule = findRule(policy.deny, host, (candidate) => appliesTo(candidate, port, client));
  if (rule !== undefined) {
    const whom = rule.cids === undefined ? '' : ` to ${describeCids(rule.cids)}`;
    return { rule, reason: `is denied${whom} by ${rule.text} (${rule.place})` };
  }
  const embedded = host.kind === 'ip' ? embeddedIpv4(host.ip) : undefined;
  const refusal = embedded && findRefusal(policy, { kind: 'ip', ip: embedded }, port, client);
  return refusal && { ...refusal, reason: `stands for ${embedded.text}, which ${refusal.reason}` };
}

function denyBy({ rule, reason }: Refusal, { host, port }: Target): Denial {
  return {
    kind: 'denied',
    reason: `${NOT_ALLOWED}: ${formatHost(host)} on port ${port} ${reason}`,
    hint: DENY_HINT,
    rule,
  };
}
