/** Prints the results of `vsock-proxy check`, as text or as JSON. */

import type { Found } from '../../access/authorize.ts';
import type { Rule } from '../../access/rules.ts';
import type { LenientFile } from '../../config/lenient.ts';
import type { PartialListener } from '../../config/partial-plan.ts';
import { formatListen } from '../../config/schema/addresses.ts';
import type { ListenerPlan } from '../../plan.ts';
import { VsockProxyError } from '../../platform/errors.ts';
import { escapeControls } from '../../platform/escape.ts';
import { formatTarget } from '../../proxy/report/format.ts';
import type { CheckedListener, TargetAnswer } from './answer.ts';
import type { Judgement, Trace } from './judge.ts';

export interface CheckReport {
  /** The name of the file, as given. */
  readonly config: string;
  /** In the order of their lines. */
  readonly problems: readonly VsockProxyError[];
  /** How many more there are. */
  readonly more: number;
  /** Empty if there are problems. */
  readonly listeners: readonly CheckedListener[];
  /** The listeners of `vsock-proxy enclave` with the same file. */
  readonly enclave: readonly ListenerPlan[];
  /** Absent if there is no target, or if the file has problems. */
  readonly answer?: TargetAnswer;
  /** Present if there are problems: the drop-in form ignores some of them. */
  readonly dropIn?: DropInView;
}

/** The file as the drop-in form reads it. */
export type DropInView =
  | { readonly kind: 'refused' }
  | (Pick<LenientFile, 'ignored' | 'more'> & {
      readonly kind: 'read';
      /** Absent if there is no target. */
      readonly answer?: TargetAnswer;
    });

/** 0: valid, and allowed if there is a target. */
export function exitStatusOf({ problems, answer }: CheckReport): 0 | 1 {
  return problems.length === 0 && (answer === undefined || answer.kind === 'allowed') ? 0 : 1;
}

export function formatText(report: CheckReport): string {
  const { config, problems, more, listeners, enclave, answer, dropIn } = report;
  if (problems.length > 0) {
    const told = problems.map(({ place, message, hint }) => `${place ?? config}: ${withHint(message, hint)}`);
    const count = problems.length + more;
    const sum = `${count} ${count === 1 ? 'problem' : 'problems'}${more > 0 ? `, ${more} of them not shown` : ''}`;
    return `${lines([...told, sum])}${dropIn === undefined ? '' : formatDropIn(dropIn)}`;
  }
  if (answer !== undefined) return formatAnswer(answer);
  const running = listeners.map(({ partial, route }) => `  ${formatListen(partial.on)} → ${describeRoute(route)}`);
  const inside = enclave.map(({ on, route }) => {
    const what = route.kind === 'http' ? ', what clients ask for by HTTP' : route.kind === 'names' ? ', by name' : '';
    return `  ${formatListen(on)} → ${describeNext(route)}${what}`;
  });
  return lines([`${config}: valid`, ...running, ...(inside.length > 0 ? ['in the enclave:', ...inside] : [])]);
}

function formatDropIn(view: DropInView): string {
  const head = 'as the drop-in form reads it:';
  if (view.kind === 'refused') return lines([`${head} refused`]);
  const { ignored, more, answer } = view;
  const counts = [
    { kind: 'entry', one: 'entry', several: 'entries' },
    { kind: 'key', one: 'key', several: 'keys' },
    { kind: 'syntax', one: 'fault of YAML', several: 'faults of YAML' },
  ].flatMap(({ kind, one, several }) => {
    const number = ignored.filter((each) => each.kind === kind).length;
    return number === 0 ? [] : [`${number} ${number === 1 ? one : several}`];
  });
  const all = more === 0 ? counts : [...counts, `${more} more`];
  return `${lines([`${head} ${all.join(', ')} ignored`])}${answer === undefined ? '' : formatAnswer(answer)}`;
}

function formatAnswer(answer: TargetAnswer): string {
  const told = answer.judgements.flatMap(({ listener, cid, kind, reason, hint, trace }) => {
    const where = listener === undefined ? 'the rules of the file' : formatListen(listener.partial.on);
    const who = cid === undefined ? where : `${where}, CID ${cid}`;
    // If a listener allows the target, the denials of others are left out.
    const told = answer.kind === 'allowed' || hint === undefined ? { kind, reason } : { kind, reason, hint };
    return [`  ${who}: ${describe(told)}`, ...(trace === undefined ? [] : formatTrace(trace))];
  });
  const nobody = '  no listener that such a client can use leads there';
  const inside =
    answer.byName === undefined
      ? []
      : [
          `  in the enclave, by ${answer.target.host.kind === 'ip' ? 'address' : 'name'} alone: ${describe(answer.byName)}`,
        ];
  return lines([`${formatTarget(answer.target)}: ${answer.kind}`, ...(told.length > 0 ? told : [nobody]), ...inside]);
}

function formatTrace({ lookUps, admitted, refused }: Trace): readonly string[] {
  return [
    ...lookUps.map(({ name, found }) => `    ${name}: ${describeFound(found)}`),
    ...admitted.map(({ address, rule }) => `    ${address.text}: admitted by ${named(rule)}`),
    ...refused.map(({ address, reason }) => `    ${address.text}: refused, as it ${reason}`),
  ];
}

function describeFound(found: Found): string {
  if (found instanceof VsockProxyError) return found.message;
  return `resolves to ${found.addresses.map(({ text }) => text).join(', ')}`;
}

function describe({ kind, reason, hint }: Judgement): string {
  return kind === 'allowed' ? `allowed ${reason}` : `${kind}: ${withHint(reason, hint)}`;
}

/** Prints one object on one line; docs/command.md describes it. */
export function formatJson(report: CheckReport): string {
  const { config, problems, more, listeners, enclave, answer, dropIn } = report;
  const value = {
    config,
    valid: problems.length === 0,
    problems: problems.map((problem) => problemValue(problem, config)),
    more,
    listeners: listeners.map(({ partial, route }) => ({
      listen: formatListen(partial.on),
      place: partial.place,
      route: isRoute(route) ? route.kind : 'connect',
      connect: isRoute(route) ? null : describeRoute(route),
    })),
    enclave: enclave.map(({ on, place, route }) => ({
      listen: formatListen(on),
      place,
      route: route.kind === 'address' ? 'connect' : route.kind,
      connect: describeNext(route) ?? null,
    })),
    ...(answer && answerValue(answer)),
    ...(dropIn && { drop_in: dropInValue(dropIn, config) }),
  };
  return `${JSON.stringify(value)}\n`;
}

function problemValue({ place, message, hint }: VsockProxyError, config: string) {
  return { place: place ?? config, message, hint: hint ?? null };
}

function answerValue({ target, kind, judgements, byName }: TargetAnswer) {
  return {
    target: formatTarget(target),
    verdict: kind,
    verdicts: judgements.map(({ listener, cid, trace, ...judgement }) => ({
      listen: listener === undefined ? null : formatListen(listener.partial.on),
      cid: cid ?? null,
      ...judgementValue(judgement),
      lookups: trace === undefined ? null : trace.lookUps.map(lookUpValue),
      addresses: trace === undefined ? null : addressValues(trace),
    })),
    by_name: byName === undefined ? null : judgementValue(byName),
  };
}

function dropInValue(view: DropInView, config: string) {
  if (view.kind === 'refused') return null;
  const { ignored, more, answer } = view;
  return {
    ignored: ignored.map(({ kind, problem }) => ({ kind, ...problemValue(problem, config) })),
    more,
    ...(answer && answerValue(answer)),
  };
}

function judgementValue({ kind, reason, hint, rule }: Judgement) {
  return { verdict: kind, reason, hint: hint ?? null, rule: ruleValue(rule) };
}

function lookUpValue({ name, found }: Trace['lookUps'][number]) {
  return found instanceof VsockProxyError
    ? { name, addresses: null, error: found.message }
    : { name, addresses: found.addresses.map(({ text }) => text), error: null };
}

function addressValues({ admitted, refused }: Trace) {
  if (admitted.length + refused.length === 0) return null;
  return [
    ...admitted.map(({ address, rule }) => ({
      address: address.text,
      admitted: true,
      reason: null,
      rule: ruleValue(rule),
    })),
    ...refused.map(({ address, reason, rule }) => ({
      address: address.text,
      admitted: false,
      reason,
      rule: ruleValue(rule),
    })),
  ];
}

/** Whether the server is set by `route`, not by `connect`. */
function isRoute(route: PartialListener['route']): boolean {
  return route.kind === 'http' || route.kind === 'sni' || route.kind === 'log';
}

function describeRoute(route: PartialListener['route']): string {
  switch (route.kind) {
    case 'target':
      return formatTarget(route.target);
    case 'template':
      return `${route.host}:${route.port}`;
    case 'address':
      return formatListen(route.address);
    case 'enclave':
    case 'ingress':
      return `vsock:<enclave CID>:${route.port}`;
    case 'log':
      return 'the log';
    case 'http':
      return 'what clients ask for by HTTP';
    case 'sni':
      return `what clients name in TLS, at port ${route.port}`;
  }
}

/** The server of a listener inside the enclave. */
function describeNext(route: ListenerPlan['route']): string | undefined {
  if (route.kind === 'address') return formatListen(route.address);
  return 'via' in route && route.via !== undefined ? formatListen(route.via) : undefined;
}

function ruleValue(rule: Rule | undefined): { readonly address: string; readonly place: string } | null {
  return rule === undefined ? null : { address: rule.text, place: rule.place };
}

function named({ text, place }: Rule): string {
  return `${text} (${place})`;
}

function withHint(text: string, hint: string | undefined): string {
  return hint === undefined ? text : `${text}. Hint: ${hint}`;
}

function lines(texts: readonly string[]): string {
  return texts.map((text) => `${escapeControls(text)}\n`).join('');
}
