/** What `vsock-proxy check` has found, for people and for programs. */
import type { Draft } from '../config/draft.ts';
import { formatListen } from '../config/endpoint.ts';
import type { VsockProxyError } from '../errors.ts';
import { escapeControls } from '../escape.ts';
import { formatHost } from '../policy/address.ts';
import type { Rule, Target } from '../policy/rules.ts';
import type { Answer, CheckedListener } from './answer.ts';

export interface CheckReport {
  /** The file, as it was named. */
  readonly config: string;
  /** In the order of their lines. */
  readonly problems: readonly VsockProxyError[];
  /** How many more there are. */
  readonly more: number;
  /** Empty where there are problems. */
  readonly listeners: readonly CheckedListener[];
  /** Absent where no target was asked about, or the file has problems. */
  readonly answer?: Answer;
}

/** 0: valid, and allowed if a target was asked about. */
export function exitStatusOf({ problems, answer }: CheckReport): 0 | 1 {
  return problems.length === 0 && (answer === undefined || answer.kind === 'allowed') ? 0 : 1;
}

export function formatText(report: CheckReport): string {
  const { config, problems, more, listeners, answer } = report;
  if (problems.length > 0) {
    const told = problems.map(({ place, message, hint }) => `${place ?? config}: ${withHint(message, hint)}`);
    const count = problems.length + more;
    const sum = `${count} ${count === 1 ? 'problem' : 'problems'}${more > 0 ? `, ${more} of them not shown` : ''}`;
    return lines([...told, sum]);
  }
  if (answer !== undefined) return formatAnswer(answer);
  const running = listeners.map(({ draft, route }) => `  ${formatListen(draft.on)} → ${describeRoute(route)}`);
  return lines([`${config}: valid`, ...running]);
}

function formatAnswer(answer: Answer): string {
  const told = answer.verdicts.flatMap(({ listener, cid, kind, reason, hint, addresses }) => {
    const where = listener === undefined ? 'the rules of the file' : formatListen(listener.draft.on);
    const who = cid === undefined ? where : `${where}, CID ${cid}`;
    // Where some listener lets it through, nobody needs to be told how others would.
    const because = answer.kind === 'allowed' ? reason : withHint(reason, hint);
    const verdict = kind === 'allowed' ? `allowed ${reason}` : `${kind}: ${because}`;
    return [
      `  ${who}: ${verdict}`,
      ...(addresses?.admitted ?? []).map(({ address, rule }) => `    ${address.text}: admitted by ${named(rule)}`),
      ...(addresses?.refused ?? []).map((refused) => `    ${refused.address.text}: refused, as it ${refused.reason}`),
    ];
  });
  const nobody = '  no listener that such a client can use leads there';
  return lines([`${formatTarget(answer.target)}: ${answer.kind}`, ...(told.length > 0 ? told : [nobody])]);
}

/** One object, on one line; docs/command.md describes it. */
export function formatJson(report: CheckReport): string {
  const { config, problems, more, listeners, answer } = report;
  const value = {
    config,
    valid: problems.length === 0,
    problems: problems.map(({ place, message, hint }) => ({ place: place ?? config, message, hint: hint ?? null })),
    more,
    listeners: listeners.map(({ draft, route }) => ({
      listen: formatListen(draft.on),
      place: draft.place,
      route: isRoute(route) ? route.kind : 'connect',
      connect: isRoute(route) ? null : describeRoute(route),
    })),
    ...(answer && {
      target: formatTarget(answer.target),
      verdict: answer.kind,
      verdicts: answer.verdicts.map(({ listener, cid, kind, reason, hint, rule, addresses }) => ({
        listen: listener === undefined ? null : formatListen(listener.draft.on),
        cid: cid ?? null,
        verdict: kind,
        reason,
        hint: hint ?? null,
        rule: ruleValue(rule),
        addresses:
          addresses === undefined
            ? null
            : [
                ...addresses.admitted.map((admitted) => ({
                  address: admitted.address.text,
                  admitted: true,
                  reason: null,
                  rule: ruleValue(admitted.rule),
                })),
                ...addresses.refused.map((refused) => ({
                  address: refused.address.text,
                  admitted: false,
                  reason: refused.reason,
                  rule: ruleValue(refused.rule),
                })),
              ],
      })),
    }),
  };
  return `${JSON.stringify(value)}\n`;
}

/** Whether it stands at `route`, and not at `connect`. */
function isRoute(route: Draft['route']): boolean {
  return route.kind === 'http' || route.kind === 'sni' || route.kind === 'log';
}

function describeRoute(route: Draft['route']): string {
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

function formatTarget({ host, port }: Target): string {
  const text = formatHost(host);
  return text.includes(':') ? `[${text}]:${port}` : `${text}:${port}`;
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
