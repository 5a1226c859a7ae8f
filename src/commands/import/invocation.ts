/** Turns a started command into the arguments of a proxy, or says why that is not possible. */

import type { ProxyRoute } from '../../config/proxy-plan.ts';
import { VsockProxyError } from '../../platform/errors.ts';
import { quoteBriefly } from '../../platform/escape.ts';
import { findCommand } from '../list.ts';
import { parseProxyCommand } from '../proxy.ts';
import type { Start, UnitSettings } from './unit.ts';
import { isOperator, splitWords, UNKNOWN, type Word } from './words.ts';

export type Understood =
  /** `connect`: host and port in the form of `serve`, with `${region}` if the command gets the region at its start. */
  | {
      readonly kind: 'proxy';
      readonly arguments: ProxyRoute;
      readonly connect: string;
      readonly notes: readonly string[];
    }
  | { readonly kind: 'problem'; readonly problem: string }
  /** The command starts another program. */
  | { readonly kind: 'other' };

/** A name of letters and digits only, so that the end of it can be found within a host name. */
const REGION = 'region0placeholder';
const PROGRAM = 'vsock-proxy';
/** Programs that run the following command unchanged. */
const WRAPPERS = ['exec', 'nohup', 'sudo', 'env', 'nice', 'setsid', 'command'];
const SHELLS = ['sh', 'bash', 'dash'];

/**
 * @param readEnvironment returns the lines of an EnvironmentFile. @throws VsockProxyError `config` if it cannot be read
 */
export function understand(start: Start, readEnvironment: (path: string) => string): Understood {
  const { unit } = start;
  const { values, missing } = unit === undefined ? NO_ENVIRONMENT : environmentOf(unit, readEnvironment);
  const lookUp = (name: string): string | undefined => values.get(name);
  const text = unit === undefined ? start.text : withSpecifiers(start.text, unit);
  const all = splitWords(text, { shell: unit === undefined, lookUp });
  const words = unit === undefined ? commandOf(all) : withoutPrefix(all);
  return words === undefined ? { kind: 'other' } : read(words, { lookUp, missing });
}

/** The variables of a unit. */
interface Environment {
  readonly lookUp: (name: string) => string | undefined;
  /** The files of variables that could not be read. */
  readonly missing: readonly MissingFile[];
}

interface MissingFile {
  readonly problem: string;
  /** Whether the unit says that the file may be absent. */
  readonly mayBeAbsent: boolean;
}

const NO_ENVIRONMENT = { values: new Map<string, string>(), missing: [] };

function read(words: readonly Word[], environment: Environment): Understood {
  const rest = withoutWrappers(words);
  const [program, ...argv] = rest;
  if (program === undefined) return { kind: 'other' };
  if (SHELLS.includes(baseOf(program.text))) {
    const option = argv.findIndex(({ text }) => /^-[a-z]*c[a-z]*$/.test(text));
    const script = argv[option + 1];
    if (option < 0 || script === undefined) return { kind: 'other' };
    if (script.unknown.length > 0 && !script.text.includes(PROGRAM)) return { kind: 'other' };
    // A part that is unknown outside is unknown inside, too.
    const inner = commandOf(splitWords(restore(script), { shell: true, lookUp: environment.lookUp }));
    return inner === undefined ? { kind: 'other' } : read(inner, environment);
  }
  if (baseOf(program.text) !== PROGRAM) return { kind: 'other' };
  return interpret(argv, environment);
}

function interpret(argv: readonly Word[], { missing }: Environment): Understood {
  const [first] = argv;
  if (first !== undefined && findCommand(first.text) !== undefined) {
    return { kind: 'problem', problem: `it is ${PROGRAM} ${first.text}, which has its own file` };
  }
  const known: string[] = [];
  let connectHost: string | undefined;
  for (const word of argv) {
    const [part, ...more] = word.unknown;
    if (part === undefined) {
      known.push(word.text);
      continue;
    }
    if (more.length > 0 || !isRegion(part) || !/^[\w.-]*$/.test(word.text.replace(UNKNOWN, ''))) {
      const shown = quoteBriefly(restore(word));
      const problem =
        missing.length === 0
          ? `what ${shown} is, only a running shell knows`
          : `${shown} has no value: ${missing.map((file) => file.problem).join('; ')}`;
      return { kind: 'problem', problem };
    }
    connectHost = word.text.replace(UNKNOWN, '${region}');
    known.push(word.text.replace(UNKNOWN, REGION));
  }
  try {
    const parsed = parseProxyCommand(known, '');
    if (parsed.kind === 'text') return { kind: 'other' };
    const { target } = parsed.arguments;
    const text = target.host.kind === 'ip' ? target.host.ip.text : target.host.name;
    if (connectHost !== undefined && !text.includes(REGION)) {
      return { kind: 'problem', problem: 'the region can be asked for in the name of the server only' };
    }
    const host = connectHost?.toLowerCase() ?? (text.includes(':') ? `[${text}]` : text);
    const notes = missing.filter(({ mayBeAbsent }) => !mayBeAbsent).map(({ problem }) => problem);
    return { kind: 'proxy', arguments: parsed.arguments, connect: `${host}:${target.port}`, notes };
  } catch (error) {
    if (error instanceof VsockProxyError) return { kind: 'problem', problem: error.message };
    throw error;
  }
}

/** Requests for the region, as in AWS's own unit, and variables of that name. */
function isRegion(part: string): boolean {
  return /^\$(\(|\{?\w*region\w*\}?$)|^`/i.test(part) && /169\.254\.169\.254|region|ec2-metadata/i.test(part);
}

function restore({ text, unknown }: Word): string {
  const parts = [...unknown];
  return text.replaceAll(UNKNOWN, () => parts.shift() ?? '');
}

/** The one simple command in a line of shell that runs the proxy. */
function commandOf(words: readonly Word[]): readonly Word[] | undefined {
  const commands: Word[][] = [[]];
  for (const word of words) {
    if (isOperator(word)) commands.push([]);
    else commands.at(-1)?.push(word);
  }
  return commands.find((command) =>
    command.some(({ text }) => baseOf(text) === PROGRAM || text.includes(`${PROGRAM} `)),
  );
}

/** systemd.service(5): the prefixes of a program, `-`, `@` (a name of its own follows), `:`, `+`, `!`, `|`. */
function withoutPrefix([program, ...argv]: readonly Word[]): readonly Word[] {
  if (program === undefined) return [];
  const [, prefix = '', text = ''] = /^([-@:+!|]*)(.*)$/s.exec(program.text) ?? [];
  return [{ ...program, text }, ...(prefix.includes('@') ? argv.slice(1) : argv)];
}

function withoutWrappers(words: readonly Word[]): readonly Word[] {
  const index = words.findIndex(({ text }) => !WRAPPERS.includes(baseOf(text)) && !/^\w+=/.test(text));
  return index < 0 ? [] : words.slice(index);
}

function baseOf(path: string): string {
  return path.split('/').at(-1) ?? path;
}

/** systemd.unit(5): the specifiers that name the unit. Others are kept, and most likely cause an error later. */
function withSpecifiers(text: string, { name }: UnitSettings): string {
  const [prefix = name, instance = ''] = name.split('@');
  const values: Readonly<Record<string, string>> = {
    '%': '%',
    n: `${name}.service`,
    N: name,
    p: prefix,
    i: instance,
    I: instance.replaceAll('-', '/'),
  };
  return text.replaceAll(/%(.)/g, (whole, letter) => values[letter] ?? whole);
}

/** systemd.exec(5): the files come after `Environment=`. The specifiers are filled in; those in the files are not. */
function environmentOf(
  unit: UnitSettings,
  readEnvironment: (path: string) => string,
): { readonly values: ReadonlyMap<string, string>; readonly missing: readonly MissingFile[] } {
  const values = new Map<string, string>();
  const missing: MissingFile[] = [];
  const plain = { shell: false, lookUp: (name: string) => `\${${name}}` };
  const set = (assignment: string) => {
    const [, name, value = ''] = /^(\w+)=(.*)$/s.exec(assignment) ?? [];
    if (name !== undefined) values.set(name, value);
  };
  for (const line of unit.environment) {
    for (const { text } of splitWords(withSpecifiers(line, unit), plain)) set(text);
  }
  for (const entry of unit.environmentFiles) {
    const mayBeAbsent = entry.startsWith('-');
    const path = withSpecifiers(mayBeAbsent ? entry.slice(1) : entry, unit);
    try {
      for (const line of readEnvironment(path).split('\n')) {
        if (/^\s*[#;]/.test(line)) continue;
        const words = splitWords(line, plain);
        set(words.map(({ text }) => text).join(' '));
      }
    } catch (error) {
      if (!(error instanceof VsockProxyError)) throw error;
      missing.push({ problem: `EnvironmentFile=${path} cannot be read: ${error.message}`, mayBeAbsent });
    }
  }
  return { values, missing };
}
