/**
 * The one decision: whether a client may reach a target, and at which addresses.
 *
 *   begin ─┬─► denied                                 by a rule, by none, or by the guard
 *          ├─► allowed                                an IP address that is listed
 *          ├─► needs-addresses ── settleAddresses ─┬─► allowed | denied | unresolved
 *          │                                       ▼
 *          └────────────────────────────────► needs-names ── settleNames ──► allowed | denied | unresolved
 *
 * Fixed routes settle again whenever the addresses of their name change. Handlers keep the result. `check` can stop
 * before any look-up. All of them decide by these functions, which read neither a clock nor the network.
 */
import { isDefinitive } from '../dns/failure.ts';
import type { Answer, Family } from '../dns/resolver.ts';
import { searchNames } from '../dns/search.ts';
import { VsockProxyError } from '../platform/errors.ts';
import type { Hostname, IpAddress } from './address.ts';
import {
  type Denial,
  denyAddresses,
  denyByRule,
  denyGuarded,
  denyUnlisted,
  findDenyRule,
  suggestByIp,
} from './denial.ts';
import { type AdmittedAddress, guardAddress, mayLeadTo, type RefusedAddress } from './guard.ts';
import { findRule } from './rule-index.ts';
import {
  appliesTo,
  type Client,
  clientsToldApart,
  type ExactNameRule,
  isExactNameRule,
  isNameRule,
  type NameRule,
  type Policy,
  type Rule,
  type Target,
} from './rules.ts';

/** Everything that a decision depends on, except the addresses of names. */
export interface AccessRequest {
  readonly policy: Policy;
  readonly target: Target;
  /** The client. It has no CID if its kind has none, or if it stands for all clients that no rule names. */
  readonly client: Client;
  /** The addresses that are used. */
  readonly family: Family;
  /**
   * Who named the target. A target that a client names must itself be listed. If an unlisted name were resolved to see
   * whether its address is listed, a client could send data out in the names that it requests, to their DNS servers.
   * For a target that the operator wrote, the addresses of names count, too.
   */
  readonly namedBy: 'client' | 'operator';
}

export type AccessState = AccessOutcome | NeedsAddresses | NeedsNames;
export type AccessOutcome = Allowed | Denial | Unresolved;

export interface Allowed {
  readonly kind: 'allowed';
  /** The rule that lists the target, or the first of its addresses. */
  readonly rule: Rule;
  /** At least one address, in the order of the answer. */
  readonly admitted: readonly AdmittedAddress[];
  /** The other addresses of the name. */
  readonly refused: readonly RefusedAddress[];
  /**
   * The listed name that has an address of the target, which is not listed itself. The result stays valid, because
   * names rotate their addresses: from now on the target, if it is a name, counts as listed by this rule.
   */
  readonly foundBy?: ExactNameRule;
}

/**
 * Nothing denies the target, but there is no address: the name could not be resolved, or the address is of an unused
 * family.
 */
export interface Unresolved {
  readonly kind: 'unresolved';
  readonly error: VsockProxyError;
}

/** The name must be resolved, because its addresses decide. */
export interface NeedsAddresses {
  readonly kind: 'needs-addresses';
  readonly name: Hostname;
  /** The rule that lists the name; absent: only addresses that are listed themselves count. */
  readonly rule?: NameRule;
}

/** The target is allowed if one of these listed names, resolved in this order, has one of its addresses. */
export interface NeedsNames {
  readonly kind: 'needs-names';
  /** The address of the target, or the addresses to which it resolves; none of them is listed. */
  readonly refused: readonly RefusedAddress[];
  readonly rules: readonly ExactNameRule[];
}

/** The addresses of a name, or the reason why it has none. */
export type Found = Pick<Answer, 'addresses'> | VsockProxyError;
/** A promise is never rejected. */
export type NameLookUp = (name: Hostname, family: Family) => Found | Promise<Found>;

/** The errno of a target of a family that is not used. */
export const UNUSED_FAMILY = 'EAFNOSUPPORT';

/** Decides as far as possible without a look-up. */
export function begin(request: AccessRequest): AccessState {
  const { policy, target, client, family } = request;
  const { host, port } = target;
  if (host.kind === 'name') return beginWithName(request, host.name);

  const guarded = guardAddress(policy, port, client, undefined, host.ip);
  const state = 'reason' in guarded ? beginWithRefused(request, guarded) : allow(guarded);
  if (state.kind === 'denied' || family === 'any' || family === `ipv${host.ip.family}`) return state;
  const problem = `${host.ip.text} is an IPv${host.ip.family} address, and only IPv${family.slice(-1)} is used here`;
  return { kind: 'unresolved', error: new VsockProxyError('resolve-failed', problem, { errno: UNUSED_FAMILY }) };
}

function beginWithName(request: AccessRequest, name: Hostname): AccessState {
  const { policy, target, client, namedBy } = request;
  const { host, port } = target;
  const match = findDenyRule(policy, host, port, client);
  if (match !== undefined) return denyByRule(match, target);
  const applies = (rule: Rule) => appliesTo(rule, port, client);
  const rule = findRule(policy.allow, host, applies);
  if (rule !== undefined && isNameRule(rule)) {
    const state = { kind: 'needs-addresses', name, rule } as const;
    return rule.leadsTo === undefined ? state : settleAddresses(request, state, { addresses: [rule.leadsTo] });
  }
  if (namedBy === 'client') return denyUnlisted(policy, target, client);
  const mayLeadToListed = policy.allow.some((each) => !isNameRule(each) && applies(each));
  const names = listedNames(request);
  return mayLeadToListed || (policy.matchNamesByIp === true && names.length > 0)
    ? { kind: 'needs-addresses', name }
    : suggestByIp(denyUnlisted(policy, target, client), names);
}

function beginWithRefused(request: AccessRequest, refused: RefusedAddress): Denial | NeedsNames {
  return needsNames(request, [refused]) ?? denyAddress(request, refused);
}

/** Decides by the current addresses of the name. */
export function settleAddresses(
  request: AccessRequest,
  { rule }: NeedsAddresses,
  found: Found,
): AccessOutcome | NeedsNames {
  if (found instanceof VsockProxyError) return { kind: 'unresolved', error: found };
  const { admitted, refused } = guardAll(request, rule, found.addresses);
  const [first] = admitted;
  if (first !== undefined) return { kind: 'allowed', rule: rule ?? first.rule, admitted, refused };
  const { policy, target } = request;
  if (rule !== undefined) return denyAddresses(policy, target, true, refused);
  const denial = denyAddresses(policy, target, false, refused);
  return policy.matchNamesByIp === true
    ? (needsNames(request, refused) ?? denial)
    : suggestByIp(denial, listedNames(request));
}

/** The exact names that are listed for the port and the client of a target that the operator wrote. */
function listedNames({ policy, target, client }: AccessRequest): readonly ExactNameRule[] {
  const { port } = target;
  return policy.allow
    .filter(isExactNameRule)
    .filter((rule) => appliesTo(rule, port, client))
    .filter(({ address }) => findDenyRule(policy, address, port, client) === undefined);
}

/** Undefined if no listed name could change the decision. */
function needsNames(request: AccessRequest, refused: readonly RefusedAddress[]): NeedsNames | undefined {
  if (request.namedBy === 'client') return undefined;
  const open = refused.filter(({ by }) => by !== 'rule');
  if (open.length === 0) return undefined;
  const rules = listedNames(request).filter((rule) => open.some(({ address }) => mayLeadTo(rule, address)));
  return rules.length === 0 ? undefined : { kind: 'needs-names', refused, rules };
}

function guardAll(
  { policy, target, client }: AccessRequest,
  rule: NameRule | undefined,
  addresses: readonly IpAddress[],
): Pick<Allowed, 'admitted' | 'refused'> {
  const admitted: AdmittedAddress[] = [];
  const refused: RefusedAddress[] = [];
  for (const address of addresses) {
    const guarded = guardAddress(policy, target.port, client, rule, address);
    if ('reason' in guarded) refused.push(guarded);
    else admitted.push(guarded);
  }
  return { admitted, refused };
}

/**
 * Resolves the names, a few at the same time, until one has an address of the target. If none has, the target is
 * denied.
 */
export async function settleNames(
  request: AccessRequest,
  { refused, rules }: NeedsNames,
  lookUp: NameLookUp,
): Promise<AccessOutcome> {
  const { policy, target } = request;
  const addresses = refused.map(({ address }) => address);
  let failure: VsockProxyError | undefined;
  const foundBy = await searchNames(rules, async (rule) => {
    const found = await lookUp(rule.address.name, familyOf(addresses));
    if (!(found instanceof VsockProxyError)) {
      const shared = addresses.filter(({ text }) => found.addresses.some((each) => each.text === text));
      return guardAll(request, rule, shared).admitted.length > 0;
    }
    // The answer that a name does not exist is not a failure.
    if (!isDefinitive(found.errno ?? '')) failure ??= found;
    return false;
  });
  if (foundBy !== undefined) {
    return { kind: 'allowed', rule: foundBy, foundBy, ...guardAll(request, foundBy, addresses) };
  }
  if (failure !== undefined) return { kind: 'unresolved', error: failure };
  const [first] = refused;
  return target.host.kind === 'ip' && first !== undefined
    ? denyAddress(request, first)
    : denyAddresses(policy, target, false, refused);
}

function familyOf([first, ...others]: readonly IpAddress[]): Family {
  if (first === undefined || others.some(({ family }) => family !== first.family)) return 'any';
  return first.family === 4 ? 'ipv4' : 'ipv6';
}

/** Decides, with all look-ups that this takes. The result is immediate if there is nothing to wait for. */
export function authorize(request: AccessRequest, lookUp: NameLookUp): AccessOutcome | Promise<AccessOutcome> {
  const goOn = (state: AccessState): AccessOutcome | Promise<AccessOutcome> => {
    switch (state.kind) {
      case 'needs-addresses': {
        const found = lookUp(state.name, request.family);
        return found instanceof Promise
          ? found.then((settled) => goOn(settleAddresses(request, state, settled)))
          : goOn(settleAddresses(request, state, found));
      }
      case 'needs-names':
        return settleNames(request, state, lookUp);
      default:
        return state;
    }
  };
  return goOn(begin(request));
}

/** The reason why the target is denied, whatever its names resolve to; undefined if it may be allowed. */
export function findDenial(request: AccessRequest): Denial | undefined {
  const state = begin(request);
  return state.kind === 'denied' ? state : undefined;
}

/**
 * The reason why no client at all may reach the target of a fixed route, which is probably a mistake; undefined if one
 * may.
 * @param clients whether clients may have CIDs, and the only CIDs that may connect, if not all
 */
export function denyAll(
  request: Omit<AccessRequest, 'client' | 'namedBy'>,
  clients: Parameters<typeof clientsToldApart>[1],
): Denial | undefined {
  const denials = clientsToldApart(request.policy, clients).map((client) =>
    findDenial({ ...request, client, namedBy: 'operator' }),
  );
  return denials.includes(undefined) ? undefined : denials[0];
}

function denyAddress({ policy, target, client }: AccessRequest, refused: RefusedAddress): Denial {
  const { host, port } = target;
  if (refused.rule !== undefined) return denyByRule({ rule: refused.rule, reason: refused.reason }, target);
  const wide =
    refused.by === 'guard' ? findRule(policy.allow, host, (rule) => appliesTo(rule, port, client)) : undefined;
  return wide === undefined ? denyUnlisted(policy, target, client) : denyGuarded(policy, refused, wide, target);
}

function allow(admitted: AdmittedAddress): Allowed {
  return { kind: 'allowed', rule: admitted.rule, admitted: [admitted], refused: [] };
}
