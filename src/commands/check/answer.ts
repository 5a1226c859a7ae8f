/** Decides whether clients reach a target through the listeners of a file. */

import { formatHost } from '../../access/address.ts';
import type { Target } from '../../access/rules.ts';
import type { LoadedFile } from '../../config/load.ts';
import { globalPolicy, type PartialListener } from '../../config/partial-plan.ts';
import type { EgressPlan } from '../../plan.ts';
import { mayHaveCids } from '../../platform/vsock.ts';
import { type Judgement, judgeListener, type ResolveName, type Subject } from './judge.ts';

/** A listener of the file, with its route as far as it is known. */
export interface CheckedListener {
  readonly partial: PartialListener;
  readonly route: PartialListener['route'];
}

export interface TargetQuery {
  readonly target: Target;
  /** The CID of the only client to check. */
  readonly cid?: number;
  /** Absent: no name may be resolved. */
  readonly resolveName?: ResolveName;
}

export interface TargetAnswer {
  readonly target: Target;
  /** Allowed if at least one listener lets at least one client through; `denied` holds for all of them. */
  readonly kind: Judgement['kind'];
  readonly judgements: readonly ListenerJudgement[];
  /**
   * Whether applications in the enclave also reach the target without a proxy setting; absent if `egress` does not
   * allow it.
   */
  readonly byName?: Judgement;
}

/** A verdict without a listener is that of the drop-in form. */
export type ListenerJudgement = Judgement & { readonly listener?: CheckedListener };

/** Judges each listener that clients can use for the target. */
export async function answerByListeners(
  listeners: readonly CheckedListener[],
  egress: EgressPlan | undefined,
  query: TargetQuery,
): Promise<TargetAnswer> {
  const judgements: ListenerJudgement[] = [];
  for (const listener of listeners) {
    for (const judgement of await judgeByListener(listener, query)) judgements.push({ ...judgement, listener });
  }
  const byName = egress && (await judgeByName(egress, query.target));
  return { ...answer(query, judgements), ...(byName && { byName }) };
}

/** Judges by the rules of the file, as the drop-in form does. */
export async function answerByRules(
  file: LoadedFile,
  { target, cid, resolveName }: TargetQuery,
): Promise<TargetAnswer> {
  const subject = { policy: globalPolicy(file), family: 'any', namedBy: 'operator', mayHaveCids: true } as const;
  return answer({ target }, await judgeListener(subject, target, cid, resolveName));
}

function answer({ target }: TargetQuery, judgements: readonly ListenerJudgement[]): TargetAnswer {
  const kinds = judgements.map(({ kind }) => kind);
  const kind = (['allowed', 'undecided'] as const).find((candidate) => kinds.includes(candidate)) ?? 'denied';
  return { target, kind, judgements };
}

/** In the enclave, neither its CID nor the addresses of names are known. */
async function judgeByName(
  { policy, addresses, transparentPorts: ports }: EgressPlan,
  target: Target,
): Promise<Judgement | undefined> {
  const subject = { policy, family: 'any', namedBy: 'client', mayHaveCids: false } as const;
  const [judgement] = await judgeListener(subject, target, undefined, undefined);
  if (judgement?.kind !== 'allowed') return undefined;
  const hint = 'let the application use the proxy that http_proxy names';
  const { host } = target;
  if (host.kind === 'ip' && !addresses.some(({ text }) => text === host.ip.text)) {
    const reason = 'only names are reached so, and addresses of other machines that egress.allow lists one by one';
    return { kind: 'denied', reason, hint };
  }
  if (ports.includes(target.port)) return judgement;
  const listed = ports.length === 0 ? 'which is empty' : `which has ${ports.join(', ')}`;
  const reason = `port ${target.port} is not in egress.transparent_ports, ${listed}`;
  return { kind: 'denied', reason, hint: `add it there, or ${hint}` };
}

/** There is no judgement if no client reaches the target, whatever the rules say. */
async function judgeByListener({ partial, route }: CheckedListener, query: TargetQuery): Promise<readonly Judgement[]> {
  const { target, cid, resolveName } = query;
  const { policy, family, cids, on } = partial;
  const judge = (namedBy: Subject['namedBy']) =>
    judgeListener(
      { policy, family, namedBy, mayHaveCids: mayHaveCids(on), ...(cids && { cids }) },
      target,
      cid,
      resolveName,
    );
  switch (route.kind) {
    case 'http':
      return await judge('client');
    case 'sni':
      return route.port === target.port && target.host.kind === 'name' ? await judge('client') : [];
    case 'target':
      return isSameTarget(route.target, target) ? await judge('operator') : [];
    case 'template': {
      const reason = `it connects to ${route.host}, which may be this`;
      return mayBecome(route, target) ? [{ kind: 'undecided', reason, hint: '--resolve tells more' }] : [];
    }
    case 'address':
    case 'enclave':
    case 'log':
    case 'ingress':
      return [];
  }
}

function isSameTarget(one: Target, other: Target): boolean {
  return one.port === other.port && formatHost(one.host) === formatHost(other.host);
}

/** Whether some region and domain turn the template into this host. */
export function mayBecome(template: { readonly host: string; readonly port: number }, { host, port }: Target): boolean {
  const literals = template.host.toLowerCase().split(/\$\{[^}]*\}/);
  const pattern = literals.map((literal) => literal.replaceAll('.', '\\.')).join('[a-z0-9.-]+');
  return template.port === port && new RegExp(`^${pattern}$`).test(formatHost(host));
}
