/**
 * The one decision: whether a client may reach a target, and at which addresses.
 *
 *   begin ─┬─► denied                                 by a rule, by none, or by the guard
 *          ├─► allowed                                an IP address that is listed
 *          ├─► needs-addresses ── settleAddresses ─┬─► allowed | denied | unresolved
 *          │                                       ▼
 *          └────────────────────────────────► needs-names ── settleNames ──► allowed | denied | unresolved
 *
 * Fixed routes settle again whenever the addresses of their name change, handlers keep what they were told, `check` may do
 * without looking anything up; they all decide by these functions. Nothing here reads a clock or the network.
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

/** Everything that a decision depends on, beside what names resolve to. */
export interface AccessQuestion {
  readonly policy: Policy;
  readonly target: Target;
  /** Without a CID where it has none, or stands for all that no rule names. */
  readonly client: Client;
  /** Which addresses are used. */
  readonly family: Family;
  /**
   * Who named the target. What a client asks for must be listed in the form in which it asks: were an unlisted name
   * resolved to see whether its address is listed, a client could send data out in the names that it asks for, to whoever
   * runs their DNS servers. For what the operator wrote, what names resolve to counts, too.
   */
  readonly askedBy: 'client' | 'operator';
}

export type AccessState = AccessOutcome | NeedsAddresses | NeedsNames;
export type AccessOutcome = Allowed | Denial | Unresolved;

export interface Allowed {
  readonly kind: 'allowed';
  /** The rule that lists the target, or the first of its addresses. */
  readonly rule: Rule;
  /** At least one, in the order in which they were resolved. */
  readonly admitted: readonly AdmittedAddress[];
  /** Further addresses of the name. */
  readonly refused: readonly RefusedAddress[];
  /**
   * The listed name that has an address of the target, which is not listed itself. It holds for good, as names rotate their
   * addresses: from now on the target, if it is a name, counts as one that this rule lists.
   */
  readonly foundBy?: ExactNameRule;
}

/** Nothing forbids it, and there is no address: the name could not be resolved, or the address is of an unused family. */
export interface Unresolved {
  readonly kind: 'unresolved';
  readonly error: VsockProxyError;
}

/** The name is to be resolved: its addresses decide. */
export interface NeedsAddresses {
  readonly kind: 'needs-addresses';
  readonly name: Hostname;
  /** What lists the name; absent: only addresses that are listed themselves count. */
  readonly rule?: NameRule;
}

/** The target is allowed if one of these listed names, asked in this order, has one of its addresses. */
export interface NeedsNames {
  readonly kind: 'needs-names';
  /** The address that is the target, or those that it resolves to; none of them is listed. */
  readonly refused: readonly RefusedAddress[];
  readonly rules: readonly ExactNameRule[];
}

/** What a name resolves to; that it does not is a value, too. */
export type Found = Pick<Answer, 'addresses'> | VsockProxyError;
/** A promise is never rejected. */
export type NameLookUp = (name: Hostname, family: Family) => Found | Promise<Found>;

/** The errno of a target of a family that is not used. */
export const UNUSED_FAMILY = 'EAFNOSUPPORT';

/** Decides as far as that can be done without looking anything up. */
export function begin(question: AccessQuestion): AccessState {
  const { policy, target, client, family } = question;
  const { host, port } = target;
  if (host.kind === 'name') return beginWithName(question, host.name);

  const guarded = guardAddress(policy, port, client, undefined, host.ip);
  const state = 'reason' in guarded ? beginWithRefused(question, guarded) : allow(guarded);
  if (state.kind === 'denied' || family === 'any' || family === `ipv${host.ip.family}`) return state;
  const problem = `${host.ip.text} is an IPv${host.ip.family} address, and only IPv${family.slice(-1)} is used here`;
  return { kind: 'unresolved', error: new VsockProxyError('resolve-failed', problem, { errno: UNUSED_FAMILY }) };
}

function beginWithName(question: AccessQuestion, name: Hostname): AccessState {
  const { policy, target, client, askedBy } = question;
  const { host, port } = target;
  const match = findDenyRule(policy, host, port, client);
  if (match !== undefined) return denyByRule(match, target);
  const applies = (rule: Rule) => appliesTo(rule, port, client);
  const rule = findRule(policy.allow, host, applies);
  if (rule !== undefined && isNameRule(rule)) {
    const state = { kind: 'needs-addresses', name, rule } as const;
    return rule.leadsTo === undefined ? state : settleAddresses(question, state, { addresses: [rule.leadsTo] });
  }
  if (askedBy === 'client') return denyUnlisted(policy, target, client);
  const mayLeadToListed = policy.allow.some((each) => !isNameRule(each) && applies(each));
  const names = listedNames(question);
  return mayLeadToListed || (policy.matchNamesByIp === true && names.length > 0)
    ? { kind: 'needs-addresses', name }
    : suggestByIp(denyUnlisted(policy, target, client), names);
}

function beginWithRefused(question: AccessQuestion, refused: RefusedAddress): Denial | NeedsNames {
  return needsNames(question, [refused]) ?? denyAddress(question, refused);
}

/** Decides by the addresses that the name resolves to now. */
export function settleAddresses(
  question: AccessQuestion,
  { rule }: NeedsAddresses,
  found: Found,
): AccessOutcome | NeedsNames {
  if (found instanceof VsockProxyError) return { kind: 'unresolved', error: found };
  const { admitted, refused } = guardAll(question, rule, found.addresses);
  const [first] = admitted;
  if (first !== undefined) return { kind: 'allowed', rule: rule ?? first.rule, admitted, refused };
  const { policy, target } = question;
  if (rule !== undefined) return denyAddresses(target, true, refused);
  const denial = denyAddresses(target, false, refused);
  return policy.matchNamesByIp === true
    ? (needsNames(question, refused) ?? denial)
    : suggestByIp(denial, listedNames(question));
}

/** The exact names that are listed for the port and the client of a target that the operator wrote. */
function listedNames({ policy, target, client }: AccessQuestion): readonly ExactNameRule[] {
  const { port } = target;
  return policy.allow
    .filter(isExactNameRule)
    .filter((rule) => appliesTo(rule, port, client))
    .filter(({ address }) => findDenyRule(policy, address, port, client) === undefined);
}

/** Undefined where no listed name could make a difference. */
function needsNames(question: AccessQuestion, refused: readonly RefusedAddress[]): NeedsNames | undefined {
  if (question.askedBy === 'client') return undefined;
  const open = refused.filter(({ by }) => by !== 'rule');
  if (open.length === 0) return undefined;
  const rules = listedNames(question).filter((rule) => open.some(({ address }) => mayLeadTo(rule, address)));
  return rules.length === 0 ? undefined : { kind: 'needs-names', refused, rules };
}

function guardAll(
  { policy, target, client }: AccessQuestion,
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

/** Resolves the names, a few at the same time, until one of them leads there. The target is denied when all are resolved. */
export async function settleNames(
  question: AccessQuestion,
  { refused, rules }: NeedsNames,
  lookUp: NameLookUp,
): Promise<AccessOutcome> {
  const { target } = question;
  const addresses = refused.map(({ address }) => address);
  let failure: VsockProxyError | undefined;
  const foundBy = await searchNames(rules, async (rule) => {
    const found = await lookUp(rule.address.name, familyOf(addresses));
    if (!(found instanceof VsockProxyError)) {
      const shared = addresses.filter(({ text }) => found.addresses.some((each) => each.text === text));
      return guardAll(question, rule, shared).admitted.length > 0;
    }
    // That there is no such name is an answer, too.
    if (!isDefinitive(found.errno ?? '')) failure ??= found;
    return false;
  });
  if (foundBy !== undefined) {
    return { kind: 'allowed', rule: foundBy, foundBy, ...guardAll(question, foundBy, addresses) };
  }
  if (failure !== undefined) return { kind: 'unresolved', error: failure };
  const [first] = refused;
  return target.host.kind === 'ip' && first !== undefined
    ? denyAddress(question, first)
    : denyAddresses(target, false, refused);
}

function familyOf([first, ...others]: readonly IpAddress[]): Family {
  if (first === undefined || others.some(({ family }) => family !== first.family)) return 'any';
  return first.family === 4 ? 'ipv4' : 'ipv6';
}

/** Decides, and looks up whatever that takes; at once where nothing has to be waited for. */
export function authorize(question: AccessQuestion, lookUp: NameLookUp): AccessOutcome | Promise<AccessOutcome> {
  const goOn = (state: AccessState): AccessOutcome | Promise<AccessOutcome> => {
    switch (state.kind) {
      case 'needs-addresses': {
        const found = lookUp(state.name, question.family);
        return found instanceof Promise
          ? found.then((settled) => goOn(settleAddresses(question, state, settled)))
          : goOn(settleAddresses(question, state, found));
      }
      case 'needs-names':
        return settleNames(question, state, lookUp);
      default:
        return state;
    }
  };
  return goOn(begin(question));
}

/** Why the target is denied whatever names resolve to; undefined: that depends on them, or it is allowed. */
export function findDenial(question: AccessQuestion): Denial | undefined {
  const state = begin(question);
  return state.kind === 'denied' ? state : undefined;
}

/**
 * Why no client at all may reach the target of a fixed route, which is not what its writer meant; undefined if one may.
 * @param clients whether they may have CIDs, and the only ones that may connect, if not all
 */
export function denyAll(
  question: Omit<AccessQuestion, 'client' | 'askedBy'>,
  clients: Parameters<typeof clientsToldApart>[1],
): Denial | undefined {
  const denials = clientsToldApart(question.policy, clients).map((client) =>
    findDenial({ ...question, client, askedBy: 'operator' }),
  );
  return denials.includes(undefined) ? undefined : denials[0];
}

function denyAddress({ policy, target, client }: AccessQuestion, refused: RefusedAddress): Denial {
  const { host, port } = target;
  if (refused.rule !== undefined) return denyByRule({ rule: refused.rule, reason: refused.reason }, target);
  const wide =
    refused.by === 'guard' ? findRule(policy.allow, host, (rule) => appliesTo(rule, port, client)) : undefined;
  return wide === undefined ? denyUnlisted(policy, target, client) : denyGuarded(refused, wide, target);
}

function allow(admitted: AdmittedAddress): Allowed {
  return { kind: 'allowed', rule: admitted.rule, admitted: [admitted], refused: [] };
}
