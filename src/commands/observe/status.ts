/** `vsock-proxy status`: prints the state of a running proxy as a table or as JSON, once or repeatedly. */
import { askJson } from '../../observe/client.ts';
import { escapeControls } from '../../platform/escape.ts';
import type { ListenerSnapshot, Snapshot } from '../../proxy/snapshot.ts';
import { type ControlOption, controlPath, withControl } from '../line/control.ts';
import { parseNumberOption } from '../line/number.ts';
import { defineCommand, type Parsed, parseArguments } from '../line/parse.ts';
import { formatBytes, formatDuration, formatTable } from './table.ts';

/** `/status` of the control socket. Dates are text there. */
export type Status = Json<Snapshot> & { readonly version: string; readonly pid: number };

/** A value of JSON. */
type Json<Value> = Value extends Date
  ? string
  : Value extends object
    ? { readonly [Key in keyof Value]: Json<Value[Key]> }
    : Value;

export interface StatusArguments {
  readonly control: string;
  readonly json: boolean;
  /** The seconds between two outputs; absent: one output. */
  readonly watchSeconds?: number;
}

/** The most clients that are shown. */
const MOST_CLIENTS = 10;
const WATCH = { min: 1, max: 3600 };

const HELP = `
Examples:

  vsock-proxy status
  vsock-proxy status --watch 2
  vsock-proxy status --json | jq '.listeners[].counters.active'

Exit status: 0, or 1 if no proxy answers, or 2 if the command line is wrong.
`;

interface RawOptions extends ControlOption {
  readonly json?: true;
  readonly watch?: string | true;
}

/**
 * @param argv without the names of the program and the command
 * @throws VsockProxyError `usage`
 */
export function parseStatusCommand(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): { readonly kind: 'run'; readonly arguments: StatusArguments } | { readonly kind: 'text'; readonly text: string } {
  const command = withControl(defineCommand('status'))
    .option('--json', 'print one JSON object')
    .option('--watch [seconds]', 'repeat it, by default every second')
    .addHelpText('after', HELP);
  const parsed: Parsed<RawOptions> = parseArguments(command, argv);
  if (parsed.kind === 'text') return parsed;
  const { json = false, watch } = parsed.options;
  const watchSeconds =
    watch === true ? 1 : watch === undefined ? undefined : parseNumberOption('--watch', watch, WATCH);
  return {
    kind: 'run',
    arguments: { control: controlPath(parsed.options, env), json, ...(watchSeconds !== undefined && { watchSeconds }) },
  };
}

export interface Screen {
  write(text: string): void;
  /** Whether the output is a terminal that can move the cursor. */
  readonly isTerminal: boolean;
  /** Resolves to true after this many seconds, or to false if the user stops the command. */
  wait(seconds: number): Promise<boolean>;
}

/**
 * Prints once, or until the user stops it.
 * @throws VsockProxyError `control` if there is no answer; with `--watch`, only for the first one
 */
export async function runStatus({ control, json, watchSeconds }: StatusArguments, screen: Screen): Promise<void> {
  let before: { readonly status: Status; readonly at: number } | undefined;
  do {
    const status = await askJson<Status>(control, '/status').catch((error: unknown) => {
      if (before === undefined) throw error;
      return error instanceof Error ? error.message : String(error);
    });
    const clear = watchSeconds !== undefined && screen.isTerminal && !json ? '\u001b[H\u001b[2J' : '';
    if (typeof status === 'string') {
      screen.write(`${clear}${escapeControls(status)}\n`);
      continue;
    }
    screen.write(json ? `${JSON.stringify(status)}\n` : `${clear}${formatStatus(status, before?.status)}`);
    before = { status, at: Date.now() };
  } while (watchSeconds !== undefined && (await screen.wait(watchSeconds)));
}

/** @param before an earlier state of the same proxy, for rates */
export function formatStatus(status: Status, before?: Status): string {
  const { version, pid, at, startedAt, config, listeners, clients, drains } = status;
  const now = Date.parse(at);
  const ago = (date: string) => formatDuration((now - Date.parse(date)) / 1000);
  const file = config.path === undefined ? 'no file' : escapeControls(config.path);
  const head = [
    `vsock-proxy ${version}, process ${pid}, for ${ago(startedAt)}${drains ? ', stopping' : ''}`,
    `configuration  ${file}, read ${ago(config.loadedAt)} ago${config.failure === undefined ? '' : `; then: ${escapeControls(config.failure)}`}`,
  ];
  const span = before === undefined ? 0 : (now - Date.parse(before.at)) / 1000;
  const rateOf = (listener: Json<ListenerSnapshot>) => {
    const earlier = before?.listeners.find(({ address }) => address === listener.address)?.counters.accepted;
    return earlier === undefined || span <= 0 ? '' : ((listener.counters.accepted - earlier) / span).toFixed(1);
  };
  const table = formatTable(
    ['LISTENER', 'ROUTE', 'OPEN', 'LIMIT', 'ACCEPTED', 'REFUSED', 'FAILED', ...(span > 0 ? ['/s'] : []), 'UP', 'DOWN'],
    listeners.map((listener) => [
      listener.address,
      listener.target ?? listener.route,
      listener.counters.active,
      listener.limits.connections,
      listener.counters.accepted,
      sumOf(listener, 'refused'),
      sumOf(listener, 'failed'),
      ...(span > 0 ? [rateOf(listener)] : []),
      formatBytes(listener.counters.bytesUp),
      formatBytes(listener.counters.bytesDown),
    ]),
  );
  const upstreams = listeners.flatMap(({ address, target, upstream }) => {
    if (upstream === undefined || target === undefined) return [];
    const { addresses, absence, ageSeconds, ttlSeconds, stale } = upstream;
    if (addresses.length === 0) return [`${address} → ${target}: ${escapeControls(absence ?? 'no address is known')}`];
    const age =
      ageSeconds === undefined
        ? ''
        : ` (${stale ? 'stale, ' : ''}${Math.round(ageSeconds)} s of ${Math.round(ttlSeconds ?? 0)} s old)`;
    return [`${address} → ${target}: ${addresses.join(', ')}${age}`];
  });
  const failures = listeners.flatMap(({ address, lastFailure }) =>
    lastFailure === undefined ? [] : [`${address}: ${ago(lastFailure.at)} ago: ${escapeControls(lastFailure.problem)}`],
  );
  const top = clients.slice(0, MOST_CLIENTS);
  return [
    ...head,
    '',
    table.trimEnd(),
    ...section('ADDRESSES', upstreams),
    ...section('LAST FAILURES', failures),
    ...(top.length === 0
      ? []
      : [
          '',
          formatTable(
            ['CLIENT', 'OPEN', 'ACCEPTED', 'REFUSED', 'UP', 'DOWN'],
            top.map(({ name, active, accepted, refused, bytesUp, bytesDown }) => [
              name,
              active,
              accepted,
              refused,
              formatBytes(bytesUp),
              formatBytes(bytesDown),
            ]),
          ).trimEnd(),
        ]),
    '',
  ].join('\n');
}

function section(title: string, lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? [] : ['', title, ...lines];
}

type Closed = ListenerSnapshot['counters']['closed'];
type Column = 'refused' | 'failed';

/** Where each close reason is counted. */
const COLUMN_OF: Readonly<Record<keyof Closed, Column | undefined>> = {
  finished: undefined,
  drained: undefined,
  'not-admitted': 'refused',
  'client-limit': 'refused',
  'client-rate': 'refused',
  reset: 'failed',
  'connect-failed': 'failed',
  'no-upstream': 'failed',
  'connect-timeout': 'failed',
  'idle-timeout': 'failed',
  internal: 'failed',
  'head-timeout': 'failed',
  denied: 'failed',
  malformed: 'failed',
  'decision-timeout': 'failed',
};

/** The number of connections that are counted there. */
function sumOf({ counters }: Json<ListenerSnapshot>, column: Column): number {
  return (Object.keys(COLUMN_OF) as (keyof Closed)[])
    .filter((reason) => COLUMN_OF[reason] === column)
    .reduce((sum, reason) => sum + counters.closed[reason], 0);
}
