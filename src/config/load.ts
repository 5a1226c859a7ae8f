/** Reads, parses and checks the configuration file. Every problem has its place. */
import { sha256 } from '../dataplane/process.ts';
import type { ConfigSource, PlanNote } from '../plan.ts';
import { VsockProxyError } from '../platform/errors.ts';
import { escapeControls } from '../platform/escape.ts';
import { type FilePurpose, findContradictions } from './checks/exclusive-keys.ts';
import { findUnused } from './checks/unused-keys.ts';
import { explain, type Finding } from './problems.ts';
import { readText } from './read/text.ts';
import { parseYaml, type YamlValue } from './read/yaml.ts';
import { type FileSettings, fileSchema } from './schema/file.ts';
import { readValue } from './schema/reader.ts';

export interface LoadedFile {
  readonly settings: FileSettings;
  readonly notes: readonly PlanNote[];
  readonly source: ConfigSource;
  /** The `file:line` of the value at this path. */
  placeOf(path: readonly PropertyKey[]): string;
  lineOf(path: readonly PropertyKey[]): number;
}

export interface Refused {
  /** In the order of their lines; at least one. Each has its place. */
  readonly problems: readonly VsockProxyError[];
  /** How many more there are. */
  readonly more: number;
}

/** The most problems that are reported for one file. */
export const MOST_PROBLEMS = 100;

/** @param purpose the command that uses the file, which decides what the file must have */
export function inspectFile(path: string, purpose: FilePurpose): LoadedFile | Refused {
  try {
    return inspectText(readText(path), path, purpose);
  } catch (error) {
    if (error instanceof VsockProxyError && error.code === 'config') return { problems: [error], more: 0 };
    throw error;
  }
}

/**
 * The same for a text that is already read; `path` is for messages.
 * @throws VsockProxyError `config` if the text is not YAML
 */
export function inspectText(text: string, path: string, purpose: FilePurpose): LoadedFile | Refused {
  const yaml = parseYaml(text, path);
  const judged = judgeFile(yaml, path, purpose);
  return 'settings' in judged ? judged : refuseFile(judged.findings, yaml, path);
}

/** The settings, or the findings in the order of lines. */
export function judgeFile(
  { text, value, lineAt }: YamlValue,
  path: string,
  purpose: FilePurpose,
): LoadedFile | { readonly findings: readonly Finding[] } {
  const placeOf = placesIn(path, lineAt);
  const result = readValue(fileSchema, value);
  const contradictions = findContradictions(value, purpose, placeOf);
  if ('settings' in result && contradictions.length === 0) {
    return {
      settings: result.settings,
      source: sourceOf(path, text),
      notes: findUnused(value, placeOf),
      placeOf,
      lineOf: lineAt,
    };
  }
  const inOrder = [...contradictions, ...('findings' in result ? result.findings : [])]
    .map((finding) => ({ finding, line: lineAt(finding.path) }))
    .sort((one, other) => one.line - other.line)
    .map(({ finding }) => finding);
  return { findings: inOrder };
}

/** @param findings at least one */
export function refuseFile(findings: readonly Finding[], { lineAt }: YamlValue, path: string): Refused {
  const told = findings.slice(0, MOST_PROBLEMS);
  return { problems: explain(told, placesIn(path, lineAt)), more: findings.length - told.length };
}

/** Returns a function from a path in the file to its `file:line`. */
export function placesIn(path: string, lineAt: YamlValue['lineAt']): LoadedFile['placeOf'] {
  const shown = escapeControls(path);
  return (at) => `${shown}:${lineAt(at)}`;
}

/** Keeps the text until the digest is requested. Most processes never request it. */
function sourceOf(path: string, text: string): ConfigSource {
  let left: string | undefined = text;
  let digest = '';
  return {
    path,
    sha256() {
      if (left !== undefined) digest = sha256(Buffer.from(left));
      left = undefined;
      return digest;
    },
  };
}

/** @throws VsockProxyError `config`: the first problem, and the number of further ones */
export function loadFile(path: string, purpose: FilePurpose): LoadedFile {
  const loaded = inspectFile(path, purpose);
  if (!('problems' in loaded)) return loaded;
  throw firstOf(loaded, path);
}

/** The first problem as an error. Its hint says which command lists the others. */
export function firstOf({ problems, more }: Refused, path: string): VsockProxyError {
  const [first, ...others] = problems;
  if (first === undefined) return new VsockProxyError('internal', 'a file was refused without a reason');
  const count = others.length + more;
  if (count === 0) return first;
  const listed = `${count === 1 ? 'one more problem is' : `${count} more problems are`} told by: vsock-proxy check --config ${escapeControls(path)}`;
  const hint = first.hint === undefined ? listed : `${first.hint}; ${listed}`;
  return new VsockProxyError(first.code, first.message, { hint, ...(first.place && { place: first.place }) });
}
