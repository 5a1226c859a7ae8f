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
  const notes: string[] = [];
  const values = start.unit === undefined ? new Map() : environmentOf(start.unit, readEnvironment, notes);
  const lookUp = (name: string): string | undefined => values.get(name);
  const text = start.unit === undefined ? start.text : withSpecifiers(start.text, start.unit);
  const all = splitWords(text, { shell: start.unit === undefined, lookUp });
  const words = start.unit === undefined ? commandOf(all) : withoutPrefix(all);
  return words === undefined ? { kind: 'other' } : read(words, lookUp, notes);
}

function read(
  words: readonly Word[],
  lookUp: (name: string) => string | undefined,
  notes: readonly string[],
): Understood {
  const rest = withoutWrappers(words);
  const [program, ...argv] = rest;
  if (program === undefined) return { kind: 'other' };
  if (SHELLS.includes(baseOf(program.text))) {
    const option = argv.findIndex(({ text }) => /^-[a-z]*c[a-z]*$/.test(text));
    const script = argv[option + 1];
    if (option < 0 || script === undefined) return { kind: 'other' };
    if (script.unknown.length > 0 && !script.text.includes(PROGRAM)) return { kind: 'other' };
    // A part that is unknown outside is unknown inside, too.
    const inner = commandOf(splitWords(restore(script), { shell: true, lookUp }));
    return inner === undefined ? { kind: 'other' } : read(inner, lookUp, notes);
  }
  if (baseOf(program.text) !== PROGRAM) return { kind: 'other' };
  return interpret(argv, notes);
}

function interpret(argv: readonly Word[], notes: readonly string[]): Understood {
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
      return { kind: 'problem', problem: `what ${quoteBriefly(restore(word))} is, only a running shell knows` };
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

function environmentOf(
  unit: UnitSettings,
  readEnvironment: (path: string) => string,
  notes: string[],
): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  const plain = { shell: false, lookUp: (name: string) => `\${${name}}` };
  const set = (assignment: string) => {
    const [, name, value = ''] = /^(\w+)=(.*)$/s.exec(assignment) ?? [];
    if (name !== undefined) values.set(name, value);
  };
  for (const line of unit.environment) for (const { text } of splitWords(line, plain)) set(text);
  for (const entry of unit.environmentFiles) {
    const [path, mayBeAbsent] = entry.startsWith('-') ? [entry.slice(1), true] : [entry, false];
    try {
      for (const line of readEnvironment(path).split('\n')) {
        if (!/^\s*[#;]/.test(line))
          set(
            splitWords(line, plain)
              .map(({ text }) => text)
              .join(' '),
          );
      }
    } catch (error) {
      if (!(error instanceof VsockProxyError)) throw error;
      if (!mayBeAbsent) notes.push(`EnvironmentFile=${path} cannot be read: ${error.message}`);
    }
  }
  return values;
}
