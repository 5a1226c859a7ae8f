/** Whether clients reach a target through the listeners of a file. */

import { formatHost } from '../../access/address.ts';
import type { Target } from '../../access/rules.ts';
import type { LoadedFile } from '../../config/load.ts';
import { globalPolicy, type PartialListener } from '../../config/partial-plan.ts';
import type { EgressPlan } from '../../plan.ts';
import { mayHaveCids } from '../../platform/vsock.ts';
import { judgeListener, type LookUp, type Verdict } from './judge.ts';

/** A listener of the file, with its route as far as it is known. */
export interface CheckedListener {
  readonly partial: PartialListener;
  readonly route: PartialListener['route'];
}

export interface Question {
  readonly target: Target;
  /** Of the only client that is asked about. */
  readonly cid?: number;
  /** Absent: nothing may be resolved. */
  readonly lookUp?: LookUp;
}

export interface Answer {
  readonly target: Target;
  /** Allowed if one listener lets one client through, so that `denied` holds for all of them. */
  readonly kind: Verdict['kind'];
  readonly verdicts: readonly ListenerVerdict[];
  /** Whether applications in the enclave that know of no proxy get there, too; absent where `egress` does not allow it. */
  readonly byName?: Verdict;
}

/** Without a listener it is that of the form of the AWS proxy. */
export type ListenerVerdict = Verdict & { readonly listener?: CheckedListener };

/** Asks each of these listeners that clients can use for the target. */
export async function askListeners(
  listeners: readonly CheckedListener[],
  egress: EgressPlan | undefined,
  question: Question,
): Promise<Answer> {
  const verdicts: ListenerVerdict[] = [];
  for (const listener of listeners) {
    for (const verdict of await askListener(listener, question)) verdicts.push({ ...verdict, listener });
  }
  const byName = egress && (await askByName(egress, question.target));
  return { ...answer(question, verdicts), ...(byName && { byName }) };
}

/** Asks the rules of the file, as the form of the AWS proxy does. */
export async function askRules(file: LoadedFile, { target, cid, lookUp }: Question): Promise<Answer> {
  const subject = { policy: globalPolicy(file), family: 'any', isFixed: true, hasCids: true } as const;
  return answer({ target }, await judgeListener(subject, target, cid, lookUp));
}

function answer({ target }: Question, verdicts: readonly ListenerVerdict[]): Answer {
  const kinds = verdicts.map(({ kind }) => kind);
  const kind = (['allowed', 'undecided'] as const).find((candidate) => kinds.includes(candidate)) ?? 'denied';
  return { target, kind, verdicts };
}

/** An enclave knows neither its CID nor what a name leads to. */
async function askByName(
  { policy, transparentPorts: ports }: EgressPlan,
  target: Target,
): Promise<Verdict | undefined> {
  const subject = { policy, family: 'any', isFixed: false, hasCids: false } as const;
  const [verdict] = await judgeListener(subject, target, undefined, undefined);
  if (verdict?.kind !== 'allowed') return undefined;
  const hint = 'let the application use the proxy that http_proxy names';
  if (target.host.kind === 'ip') return { kind: 'denied', reason: 'only names are reached so', hint };
  if (ports.includes(target.port)) return verdict;
  const listed = ports.length === 0 ? 'which is empty' : `which has ${ports.join(', ')}`;
  const reason = `port ${target.port} is not in egress.transparent_ports, ${listed}`;
  return { kind: 'denied', reason, hint: `add it there, or ${hint}` };
}

/** No verdict where no client gets there whatever the rules say. */
async function askListener({ partial, route }: CheckedListener, question: Question): Promise<readonly Verdict[]> {
  const { target, cid, lookUp } = question;
  const { policy, family, cids, on } = partial;
  const hasCids = mayHaveCids(on);
  const ask = (isFixed: boolean) =>
    judgeListener({ policy, family, isFixed, hasCids, ...(cids && { cids }) }, target, cid, lookUp);
  switch (route.kind) {
    case 'http':
      return await ask(false);
    case 'sni':
      return route.port === target.port && target.host.kind === 'name' ? await ask(false) : [];
    case 'target':
      return isSameTarget(route.target, target) ? await ask(true) : [];
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

/** Whether some region and domain make this host of the template. */
export function mayBecome(template: { readonly host: string; readonly port: number }, { host, port }: Target): boolean {
  const literals = template.host.toLowerCase().split(/\$\{[^}]*\}/);
  const pattern = literals.map((literal) => literal.replaceAll('.', '\\.')).join('[a-z0-9.-]+');
  return template.port === port && new RegExp(`^${pattern}$`).test(formatHost(host));
}
