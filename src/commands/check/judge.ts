/** Whether a client reaches a target through a listener, and which rule says so. */

import type { Hostname, IpAddress } from '../../access/address.ts';
import { type Denial, decideRoute, decideTarget, denyRoute, NOT_ALLOWED } from '../../access/decide.ts';
import { type Admission, denyAddresses, guardAddresses } from '../../access/guard.ts';
import {
  type Client,
  describeCids,
  type ExactNameRule,
  isNameRule,
  type NameRule,
  type Rule,
  type Target,
} from '../../access/rules.ts';
import type { PartialListener } from '../../config/partial-plan.ts';
import { isDefinitive } from '../../dns/failure.ts';
import type { Family } from '../../dns/resolver.ts';
import { searchNames } from '../../dns/search.ts';
import { VsockProxyError } from '../../platform/errors.ts';

/** A listener; or the form of the AWS proxy, with the rules of the file. */
export type Subject = Pick<PartialListener, 'policy' | 'family' | 'cids'> & {
  /** Whether the operator wrote the target down; else clients ask for it. */
  readonly isFixed: boolean;
  /** Whether its clients have CIDs. */
  readonly hasCids: boolean;
};

export interface Verdict {
  /** The client that it is for; absent: every one that no other verdict of the same listener is for. */
  readonly cid?: number;
  /** `undecided`: names would have to be resolved, or could not be. */
  readonly kind: 'allowed' | 'denied' | 'undecided';
  /** A phrase for after it. */
  readonly reason: string;
  readonly hint?: string;
  /** The rule that decided. */
  readonly rule?: Rule;
  /** What the guard says of each address, where the name was resolved. */
  readonly addresses?: Admission;
}

/** @throws VsockProxyError `resolve-failed` */
export type LookUp = (name: Hostname, family: Family) => Promise<readonly IpAddress[]>;

/** Everything that a verdict depends on. `lookUp` is absent where nothing may be resolved. */
interface Question {
  readonly subject: Subject;
  readonly target: Target;
  readonly client: Client;
  readonly lookUp: LookUp | undefined;
}

/**
 * One verdict for each kind of client that the rules tell apart; none where the client cannot connect there.
 * @param cid of the only client that is asked about
 */
export async function judgeListener(
  subject: Subject,
  target: Target,
  cid: number | undefined,
  lookUp: LookUp | undefined,
): Promise<readonly Verdict[]> {
  const verdicts: Verdict[] = [];
  for (const client of clientsOf(subject, cid)) {
    verdicts.push({ ...(await judge({ subject, target, client, lookUp })), ...client });
  }
  const [first, ...others] = verdicts;
  if (first === undefined || cid !== undefined) return verdicts;
  const different = others.filter(({ kind, rule }) => kind !== first.kind || rule !== first.rule);
  if (different.length > 0 && first.cid !== undefined) return verdicts;
  const { cid: _, ...forOthers } = first;
  return [forOthers, ...different];
}

/** The clients whose verdicts may differ; in front the one without a CID, for all that no rule names. */
function clientsOf({ policy, cids, hasCids }: Subject, cid: number | undefined): readonly Client[] {
  if (!hasCids) return cid === undefined ? [{}] : [];
  if (cid !== undefined) return [{ cid }];
  if (cids !== undefined) return cids.map((each) => ({ cid: each }));
  const named = [...policy.allow, ...policy.deny].flatMap((rule) => rule.cids ?? []);
  return [{}, ...[...new Set(named)].map((each) => ({ cid: each }))];
}

async function judge(question: Question): Promise<Verdict> {
  const { subject, target, client, lookUp } = question;
  const { policy, cids, isFixed } = subject;
  if (cids !== undefined && client.cid !== undefined && !cids.includes(client.cid)) {
    return { kind: 'denied', reason: `only ${describeCids(cids)} may connect`, hint: 'see the cids of the listener' };
  }
  const decision = (isFixed ? decideRoute : decideTarget)(policy, target, client);
  switch (decision.kind) {
    case 'denied':
      return deny(decision);
    case 'allowed':
      if (target.host.kind === 'ip' || lookUp === undefined) return allow(decision.rule);
      return await resolve(question, lookUp, isNameRule(decision.rule) ? decision.rule : undefined, target.host.name);
    case 'needs-address':
      if (target.host.kind === 'ip' || lookUp === undefined) {
        return undecided(`no entry lists the name, but addresses are listed for port ${target.port}`);
      }
      return await resolve(question, lookUp, undefined, target.host.name);
    case 'needs-names':
      if (target.host.kind === 'name' || lookUp === undefined) {
        return undecided(`no entry lists the address, but names are listed for port ${target.port}`);
      }
      return await findName(question, lookUp, decision.rules, target.host.ip);
  }
}

/** Asks what the name leads to, and which of that may be used. */
async function resolve(
  { subject, target, client }: Question,
  lookUp: LookUp,
  namedBy: NameRule | undefined,
  name: Hostname,
): Promise<Verdict> {
  const found = await lookUp(name, subject.family).catch(resolveFailure);
  if (found instanceof VsockProxyError) return undecided(found.message, found.hint);
  const addresses = guardAddresses(subject.policy, target.port, client, namedBy, found);
  const [first] = addresses.admitted;
  if (first === undefined) return { ...deny(denyAddresses(target, namedBy, addresses.refused)), addresses };
  return { ...allow(namedBy ?? first.rule), addresses };
}

/** Looks for a listed name that leads to the address. */
async function findName(
  { subject: { policy }, target, client }: Question,
  lookUp: LookUp,
  rules: readonly ExactNameRule[],
  ip: IpAddress,
): Promise<Verdict> {
  const guard = (rule: ExactNameRule) => guardAddresses(policy, target.port, client, rule, [ip]);
  const failures: VsockProxyError[] = [];
  const rule = await searchNames(rules, async (candidate) => {
    const found = await lookUp(candidate.address.name, `ipv${ip.family}`).catch(resolveFailure);
    if (found instanceof VsockProxyError) {
      if (!isDefinitive(found.errno ?? '')) failures.push(found);
      return false;
    }
    return found.some(({ text }) => text === ip.text) && guard(candidate).admitted.length > 0;
  });
  if (rule !== undefined) return { ...allow(rule), addresses: guard(rule) };
  const [failure] = failures;
  return failure === undefined ? deny(denyRoute(policy, target, client)) : undecided(failure.message, failure.hint);
}

function resolveFailure(error: unknown): VsockProxyError {
  if (error instanceof VsockProxyError && error.code === 'resolve-failed') return error;
  throw error;
}

function allow(rule: Rule): Verdict {
  return { kind: 'allowed', reason: `by ${rule.text} (${rule.place})`, rule };
}

function deny({ reason, hint, rule }: Denial): Verdict {
  const why = reason.startsWith(`${NOT_ALLOWED}: `) ? reason.slice(NOT_ALLOWED.length + 2) : reason;
  return { kind: 'denied', reason: why, hint, ...(rule && { rule }) };
}

function undecided(reason: string, hint = '--resolve tells more'): Verdict {
  return { kind: 'undecided', reason, hint };
}
