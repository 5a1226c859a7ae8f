/** `vsock-proxy status`: what a proxy that runs does, in a table, as JSON, or again and again. */
import { askJson } from '../../observe/client.ts';
import { escapeControls } from '../../platform/escape.ts';
import type { ListenerSnapshot, Snapshot } from '../../proxy/snapshot.ts';
import { type ControlOption, controlPath, withControl } from '../line/control.ts';
import { parseNumberOption } from '../line/number.ts';
import { defineCommand, type Parsed, parseArguments } from '../line/parse.ts';
import { formatBytes, formatDuration, formatTable } from './table.ts';

/** `/status` of the control socket; dates are texts there. */
export type Status = Json<Snapshot> & { readonly version: string; readonly pid: number };

/** A value as it comes out of JSON. */
type Json<Value> = Value extends Date
  ? string
  : Value extends object
    ? { readonly [Key in keyof Value]: Json<Value[Key]> }
    : Value;

export interface StatusArguments {
  readonly control: string;
  readonly json: boolean;
  /** Seconds between two looks; absent: one look. */
  readonly watchSeconds?: number;
}

/** So many clients are shown. */
const MOST_CLIENTS = 10;
const WATCH = { min: 1, max: 3600 };

const HELP = `
Examples:

  vsock-proxy status
  vsock-proxy status --watch 2
  vsock-proxy status --json | jq '.listeners[] | {address, open: .counters.active}'

Exit status: 0, or 1 if no proxy answers, or 2 if the command line cannot be
understood.
`;

interface RawOptions extends ControlOption {
  readonly json?: true;
  readonly watch?: string | true;
}

/**
 * @param argv without the program's and the command's name
 * @throws VsockProxyError `usage`
 */
export function parseStatusCommand(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): { readonly kind: 'run'; readonly arguments: StatusArguments } | { readonly kind: 'text'; readonly text: string } {
  const command = withControl(defineCommand('status'))
    .option('--json', 'print one JSON object')
    .option('--watch [seconds]', 'look again and again, every second unless told otherwise')
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
  /** Whether the cursor can be moved. */
  readonly isTerminal: boolean;
  /** Resolves after so many seconds, or to false when somebody wants to stop. */
  wait(seconds: number): Promise<boolean>;
}

/**
 * Prints once, or until somebody stops it.
 * @throws VsockProxyError `control` where the proxy cannot be asked; with `--watch`, only at the first look
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

/** @param before an earlier look at the same proxy, for rates */
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
      sumOf(listener, REFUSED),
      sumOf(listener, undefined),
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

const REFUSED = ['not-admitted', 'client-limit', 'client-rate'] as const;
/** Ends that are nobody's failure. */
const FINE: readonly string[] = ['finished', 'drained', ...REFUSED];

/** Of these reasons; without, of all that are failures. */
function sumOf({ counters }: Json<ListenerSnapshot>, reasons: readonly string[] | undefined): number {
  return Object.entries(counters.closed)
    .filter(([reason]) => (reasons === undefined ? !FINE.includes(reason) : reasons.includes(reason)))
    .reduce((sum, [, times]) => sum + times, 0);
}
