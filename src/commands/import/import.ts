/** `vsock-proxy import`: writes one file for `serve` that replaces proxies started as AWS's proxy is started. */
import { findDenial } from '../../access/authorize.ts';
import type { PortSet } from '../../access/ports.ts';
import type { Target } from '../../access/rules.ts';
import { loadLeniently } from '../../config/lenient.ts';
import { inspectText } from '../../config/load.ts';
import { complete, partialListeners } from '../../config/partial-plan.ts';
import { type FileHints, readText } from '../../config/read/text.ts';
import { formatListen } from '../../config/schema/addresses.ts';
import { type FileSettings, fileSchema } from '../../config/schema/file.ts';
import { readValue } from '../../config/schema/reader.ts';
import { VsockProxyError } from '../../platform/errors.ts';
import { escapeControls } from '../../platform/escape.ts';
import { defineCommand, type Parsed, parseArguments } from '../line/parse.ts';
import { type Understood, understand } from './invocation.ts';
import { findStarts } from './unit.ts';

type Proxy = Extract<Understood, { readonly kind: 'proxy' }> & { readonly place: string };
type Entry = NonNullable<FileSettings['allowlist']>[number];

interface Listener extends Proxy {
  /** In the form of `listen`. */
  readonly listen: string;
  readonly allowlist: readonly Entry[];
  /** `match_names_by_ip` of its file. Absent: its server is listed by name or is an address, so the key has no effect. */
  readonly matchNamesByIp?: boolean;
}

interface Left {
  readonly place: string;
  readonly problem: string;
}

/** Keys of a file that are taken over. */
const TAKEN_KEYS = ['allowlist', 'match_names_by_ip'];

const HELP = `
Reads systemd units, the output of "systemctl cat", scripts with one command a
line, or the output of "ps -eo args"; - is standard input. Each proxy becomes a
listener with its allowlist. A limit of connections is taken over only if
--num_workers sets it; the default of 4 is not. Comments at the end list what
could not be taken over, with the reasons.

Examples:

  systemctl cat 'vsock-proxy-*' | vsock-proxy import - >serve.yaml
  vsock-proxy import /etc/systemd/system/vsock-proxy-*.service >serve.yaml
  vsock-proxy check --config serve.yaml

Exit status: 0 if every proxy was taken over, 1 if one was not, or none was
found, 2 if the command line is wrong.
`;

const HINTS: FileHints = {
  ENOENT: 'name a unit, a script or a list of processes; - is standard input',
  EACCES: 'make it readable for this user, or run it by sudo',
  EISDIR: 'name the files in it, such as /etc/systemd/system/vsock-proxy-*.service',
};

export interface ImportResult {
  readonly text: string;
  readonly exitStatus: number;
}

/**
 * @param argv without the names of the program and the command
 * @throws VsockProxyError `usage`; `config` if a named file cannot be read
 */
export function runImport(argv: readonly string[]): ImportResult {
  const command = defineCommand('import')
    .argument('<file...>', 'units, scripts or lists of processes; - is standard input')
    .addHelpText('after', HELP);
  const parsed: Parsed<unknown> = parseArguments(command, argv);
  if (parsed.kind === 'text') return { text: parsed.text, exitStatus: 0 };
  const texts = parsed.args.map((path) => ({ path, text: readText(path === '-' ? '/dev/stdin' : path, HINTS) }));
  return importProxies(texts, readText);
}

/** @param read returns the text of an EnvironmentFile. @throws VsockProxyError `config` if it cannot */
export function importProxies(
  texts: readonly { readonly path: string; readonly text: string }[],
  read: (path: string) => string,
): ImportResult {
  const listeners: Listener[] = [];
  const left: Left[] = [];
  for (const start of texts.flatMap(({ path, text }) => findStarts(text, path))) {
    const found = understand(start, read);
    if (found.kind === 'problem') left.push({ place: start.place, problem: found.problem });
    if (found.kind !== 'proxy') continue;
    const taken = takeOver({ ...found, place: start.place }, listeners);
    if ('problem' in taken) left.push(taken);
    else listeners.push(taken);
  }
  const text = format(listeners, left);
  return { text, exitStatus: listeners.length > 0 && left.length === 0 ? 0 : 1 };
}

function takeOver(proxy: Proxy, others: readonly Listener[]): Listener | Left {
  const { place, arguments: given } = proxy;
  const listen = formatListen(given.listenOn);
  const same = others.find((other) => other.listen === listen);
  if (same !== undefined) return { place, problem: `${same.place} listens on ${listen}, too` };
  try {
    const { settings, source } = loadLeniently(given.configPath);
    const own = ownKeys(settings);
    if (own.length > 0) return { place, problem: `${source.path} has ${own.join(', ')}, to be taken over by hand` };
    const matchNamesByIp = settings.match_names_by_ip;
    const listener = { ...proxy, listen, allowlist: settings.allowlist ?? [] };
    const judged = judge({ ...listener, matchNamesByIp });
    if ('problem' in judged) return { place, problem: `it could not start: ${judged.problem}` };
    if (judged.isListed) return listener;
    const unlike = others.find((other) => other.matchNamesByIp === !matchNamesByIp);
    if (unlike === undefined) return { ...listener, matchNamesByIp };
    const problem = `${source.path} ${matchNamesByIp ? 'has' : 'does not have'} match_names_by_ip: true, unlike that of ${unlike.place}`;
    return { place, problem: `${problem}, to be taken over by hand` };
  } catch (error) {
    if (!(error instanceof VsockProxyError)) throw error;
    return { place, problem: `its allowlist cannot be read: ${error.place ?? given.configPath}: ${error.message}` };
  }
}

/** Keys that only this proxy has. They would be lost, and they may be there to forbid something. */
function ownKeys(settings: FileSettings): readonly string[] {
  const empty = readValue(fileSchema, {});
  const unset = 'settings' in empty ? empty.settings : undefined;
  return (Object.keys(settings) as (keyof FileSettings)[]).filter(
    (key) => !TAKEN_KEYS.includes(key) && JSON.stringify(settings[key]) !== JSON.stringify(unset?.[key]),
  );
}

/**
 * The problem that `check` would find, such as that its allowlist does not have its server; otherwise whether the server
 * is certainly listed by name, or is an address.
 */
function judge(listener: Listener): { readonly problem: string } | { readonly isListed: boolean } {
  const file = inspectText(format([listener], []), listener.place, 'any');
  if ('problems' in file) return { problem: file.problems[0]?.message ?? '' };
  let isListed = true;
  for (const partial of partialListeners(file)) {
    const { route, policy, family } = partial;
    const completion = complete(partial, {});
    if (completion.kind === 'problem') {
      const { message, hint } = completion.problem;
      const problem = message.replace(/^listeners\[0\]\.connect: /, '');
      return { problem: hint === undefined ? problem : `${problem}. Hint: ${hint}` };
    }
    // Of the names that clients request, only listed ones are allowed.
    const isUnlisted = (target: Target) =>
      target.host.kind === 'name' &&
      findDenial({ policy, target, client: {}, family, namedBy: 'client' }) !== undefined;
    if (route.kind !== 'target' || isUnlisted(route.target)) isListed = false;
  }
  return { isListed };
}

function format(listeners: readonly Listener[], left: readonly Left[]): string {
  const lines = [
    '# Made by vsock-proxy import. To be looked at with "vsock-proxy check", and run by "vsock-proxy serve".',
  ];
  const [first, ...others] = listeners;
  const shared = first !== undefined && others.every((other) => formatList(other) === formatList(first));
  const byIp = listeners.find(({ matchNamesByIp }) => matchNamesByIp);
  if (byIp !== undefined) {
    lines.push('', `# As in ${escapeControls(byIp.arguments.configPath)}`, 'match_names_by_ip: true');
  }
  if (first !== undefined && shared) {
    lines.push('', `# ${escapeControls(first.arguments.configPath)}`, 'allowlist:', ...formatEntries(first, '  '));
  }
  if (first !== undefined) lines.push('', 'listeners:');
  for (const listener of listeners) {
    const { place, listen, connect, arguments: given, notes } = listener;
    lines.push(`  # ${escapeControls(place)}`, ...notes.map((note) => `  # ${escapeControls(note)}`));
    if (listener.matchNamesByIp) lines.push('  # Its server may be allowed only by match_names_by_ip.');
    lines.push(`  - listen: ${JSON.stringify(listen)}`, `    connect: ${JSON.stringify(connect)}`);
    if (given.family !== 'any') lines.push(`    ip_family: ${given.family}`);
    if (given.connections !== undefined) lines.push(`    limits: {connections: ${given.connections}}`);
    if (!shared) {
      lines.push(`    allowlist: # ${escapeControls(given.configPath)}`, ...formatEntries(listener, '      '));
    }
  }
  if (left.length > 0) lines.push('', '# Not taken over:');
  for (const { place, problem } of left) lines.push(`#   ${escapeControls(place)}: ${escapeControls(problem)}`);
  if (first === undefined && left.length === 0) lines.push('# No proxy was found.');
  return `${lines.join('\n')}\n`;
}

function formatList(listener: Listener): string {
  return formatEntries(listener, '').join('\n');
}

function formatEntries({ allowlist }: Listener, indent: string): readonly string[] {
  return allowlist.map(({ address, port, cids }) => {
    const clients = cids === undefined ? '' : `, cids: [${cids.join(', ')}]`;
    return `${indent}- {address: ${JSON.stringify(address.text)}, port: ${formatPorts(port)}${clients}}`;
  });
}

function formatPorts(ports: PortSet): string {
  if (ports === 'any') return '1-65535';
  const ranges = ports.map(({ from, to }) => (from === to ? `${from}` : `${from}-${to}`));
  return ranges.length === 1 ? (ranges[0] ?? '') : `[${ranges.join(', ')}]`;
}
