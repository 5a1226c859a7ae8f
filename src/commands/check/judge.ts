/** Decides whether a client reaches a target through a listener, and by which rule. */

import type { Hostname, IpAddress } from '../../access/address.ts';
import {
  type AccessRequest,
  type AccessState,
  type Allowed,
  authorize,
  begin,
  type Found,
  type NameLookUp,
  UNUSED_FAMILY,
} from '../../access/authorize.ts';
import { NOT_ALLOWED } from '../../access/denial.ts';
import { type Client, clientsToldApart, describeCids, type Rule, type Target } from '../../access/rules.ts';
import type { PartialListener } from '../../config/partial-plan.ts';
import type { Family } from '../../dns/resolver.ts';
import { VsockProxyError } from '../../platform/errors.ts';

/** A listener, or the drop-in form with the rules of the file. */
export type Subject = Pick<PartialListener, 'policy' | 'family' | 'cids'> &
  Pick<AccessRequest, 'namedBy'> & {
    /** Whether its clients may have CIDs. */
    readonly mayHaveCids: boolean;
  };

export interface Judgement {
  /** The client of the judgement; absent: every client without a judgement of its own on this listener. */
  readonly cid?: number;
  /** `undecided`: names would have to be resolved, or could not be. */
  readonly kind: 'allowed' | 'denied' | 'undecided';
  /** A phrase to follow the target. */
  readonly reason: string;
  readonly hint?: string;
  /** The rule that decided. */
  readonly rule?: Rule;
  /** The resolved names, and what the guard says of each address. Absent if nothing was resolved. */
  readonly trace?: Trace;
}

export interface Trace {
  /** In the order of the answers. */
  readonly lookUps: readonly { readonly name: Hostname; readonly found: Found }[];
  readonly admitted: Allowed['admitted'];
  readonly refused: Allowed['refused'];
}

/** @throws VsockProxyError `resolve-failed` */
export type ResolveName = (name: Hostname, family: Family) => Promise<readonly IpAddress[]>;

/**
 * One judgement for each client that the rules name, and one for the others; none if the client cannot connect to this
 * listener.
 * @param cid of the only client to check
 * @param resolveName absent if no name may be resolved
 */
export async function judgeListener(
  subject: Subject,
  target: Target,
  cid: number | undefined,
  resolveName: ResolveName | undefined,
): Promise<readonly Judgement[]> {
  const judgements: Judgement[] = [];
  for (const client of clientsOf(subject, cid)) {
    judgements.push({ ...(await judge(subject, target, client, resolveName)), ...client });
  }
  const [first, ...others] = judgements;
  if (first === undefined || cid !== undefined) return judgements;
  const different = others.filter(({ kind, rule }) => kind !== first.kind || rule !== first.rule);
  if (different.length > 0 && first.cid !== undefined) return judgements;
  const { cid: _, ...forOthers } = first;
  return [forOthers, ...different];
}

function clientsOf(subject: Subject, cid: number | undefined): readonly Client[] {
  if (cid === undefined) return clientsToldApart(subject.policy, subject);
  return subject.mayHaveCids ? [{ cid }] : [];
}

async function judge(
  { policy, cids, family, namedBy }: Subject,
  target: Target,
  client: Client,
  resolveName: ResolveName | undefined,
): Promise<Judgement> {
  if (cids !== undefined && client.cid !== undefined && !cids.includes(client.cid)) {
    return { kind: 'denied', reason: `only ${describeCids(cids)} may connect`, hint: 'see the cids of the listener' };
  }
  const request = { policy, target, client, family, namedBy };
  if (resolveName === undefined) return judgementOf(begin(request), request);
  const lookUps: Trace['lookUps'][number][] = [];
  const lookUp: NameLookUp = async (name, wanted) => {
    const found = await resolveName(name, wanted).then((addresses) => ({ addresses }), resolveFailure);
    lookUps.push({ name, found });
    return found;
  };
  const outcome = await authorize(request, lookUp);
  const judgement = judgementOf(outcome, request);
  if (lookUps.length === 0) return judgement;
  const { admitted, refused } = { admitted: [], refused: [], ...outcome };
  return { ...judgement, trace: { lookUps, admitted, refused } };
}

function judgementOf(state: AccessState, { target, policy }: AccessRequest): Judgement {
  const { port } = target;
  switch (state.kind) {
    case 'allowed':
      return allowedBy(state.rule, state.foundBy && target.host.kind === 'name' ? ', which has the same address' : '');
    case 'denied': {
      const { reason, hint, rule } = state;
      return { kind: 'denied', reason: reason.slice(`${NOT_ALLOWED}: `.length), hint, ...(rule && { rule }) };
    }
    case 'unresolved': {
      const { message, errno, hint } = state.error;
      if (errno === UNUSED_FAMILY) return { kind: 'denied', reason: message, hint: 'see ip_family of the listener' };
      return undecided(message, hint);
    }
    case 'needs-addresses':
      return state.rule === undefined
        ? undecided(
            `no entry lists the name, but addresses ${policy.matchNamesByIp === true ? 'or names ' : ''}are listed for port ${port}`,
          )
        : allowedBy(state.rule);
    case 'needs-names':
      return undecided(`no entry lists the address, but names are listed for port ${port}`);
  }
}

function allowedBy(rule: Rule, how = ''): Judgement {
  return { kind: 'allowed', reason: `by ${rule.text} (${rule.place})${how}`, rule };
}

function undecided(reason: string, hint = '--resolve tells more'): Judgement {
  return { kind: 'undecided', reason, hint };
}

function resolveFailure(error: unknown): VsockProxyError {
  if (error instanceof VsockProxyError && error.code === 'resolve-failed') return error;
  throw error;
}
