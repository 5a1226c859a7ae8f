/**
 * The file as the drop-in form reads it. AWS's proxy reads only the key `allowlist`, and stops at the first entry that
 * matches, so files with mistakes elsewhere are in use. Here such mistakes cause warnings, and a wrong entry allows
 * nothing.
 *
 * Only mistakes that cannot open anything are ignored. A mistake in a key that only this proxy has (denylist, limits,
 * cids, …) is an error, and so is a key that may be meant for one of these: it may have been written to forbid
 * something.
 */
import type { VsockProxyError } from '../platform/errors.ts';
import { firstOf, judgeFile, type LoadedFile, MOST_PROBLEMS, placesIn, type Refused, refuseFile } from './load.ts';
import { explain, type Finding, isUnknownKey } from './problems.ts';
import { isNearly } from './read/did-you-mean.ts';
import { readText } from './read/text.ts';
import { asList, asMap, type KeyPath, type Raw } from './read/untyped.ts';
import { parseYaml, type YamlValue } from './read/yaml.ts';
import { keysOf, schemaAt } from './schema/file.ts';

/** What was ignored: an entry of the allowlist, a key, or text that is not YAML. */
export interface Ignored {
  readonly kind: 'entry' | 'key' | 'syntax';
  readonly problem: VsockProxyError;
}

export interface LenientFile extends LoadedFile {
  /** In the order of their lines, at most the first hundred. */
  readonly ignored: readonly Ignored[];
  /** How many more there are. */
  readonly more: number;
}

/** The keys that AWS's proxy also has. */
const SHARED = ['allowlist', 'address', 'port'];
const OWN = keysOf().filter((key) => !SHARED.includes(key));

/** @throws VsockProxyError `config`: the first problem that cannot be ignored, and the number of further ones */
export function loadLeniently(path: string): LenientFile {
  const file = inspectLeniently(readText(path), path);
  if ('problems' in file) throw firstOf(file, path);
  return file;
}

/**
 * The same for a text that is already read; `path` is for messages. Among the problems of a refused file, those that
 * cannot be ignored come first.
 * @throws VsockProxyError `config` if the text is not YAML
 */
export function inspectLeniently(text: string, path: string): LenientFile | Refused {
  const syntax: Ignored[] = [];
  const yaml = parseYaml(text, path, (problem, keys) => {
    if (keys.some((key) => key !== 'allowlist' && isOurs(key, []))) throw problem;
    syntax.push({ kind: 'syntax', problem });
  });
  const strict = judgeFile(yaml, path, 'proxy');
  if ('settings' in strict) return { ...strict, ...told(syntax) };

  const groups = Map.groupBy(strict.findings, ({ path: at }) => JSON.stringify(entryAt(at) ?? at));
  const harmless = [...groups.values()].filter((group) => group.every(isHarmless));
  const others = [...groups.values()].filter((group) => !harmless.includes(group));
  if (others.length > 0) return refuseFile([...others, ...harmless].flat(), yaml, path);

  const ignored = harmless.flatMap((group) => describe(group, placesIn(path, yaml.lineAt)));
  const lenient = judgeFile(without(yaml, strict.findings), path, 'proxy');
  if ('settings' in lenient) return { ...lenient, ...told([...syntax, ...ignored]) };
  return refuseFile(lenient.findings, yaml, path);
}

function told(ignored: readonly Ignored[]): Pick<LenientFile, 'ignored' | 'more'> {
  return { ignored: ignored.slice(0, MOST_PROBLEMS), more: Math.max(0, ignored.length - MOST_PROBLEMS) };
}

/** The path of the allowlist entry that a path leads to or into. */
function entryAt([list, index]: KeyPath): KeyPath | undefined {
  return list === 'allowlist' && typeof index === 'number' ? [list, index] : undefined;
}

/** Whether ignoring the finding opens nothing: a wrong entry allows nothing, and an unknown key has no effect. */
function isHarmless(finding: Finding): boolean {
  const { path } = finding;
  const key = path.at(-1);
  if (isUnknownKey(finding)) {
    return (path.length === 1 || entryAt(path)?.length === path.length - 1) && !isOurs(String(key), path.slice(0, -1));
  }
  return entryAt(path) !== undefined && path[2] !== 'cids';
}

/** Whether a key may be meant for one that belongs here, or for one of this proxy's own keys at another place. */
function isOurs(key: string, parent: KeyPath): boolean {
  return isNearly(key, keysOf(schemaAt(parent))) || OWN.includes(key.toLowerCase());
}

/** @param group the findings about one entry, or about one key */
function describe(group: readonly Finding[], placeOf: (path: KeyPath) => string): readonly Ignored[] {
  const broken = group.find((finding) => !isUnknownKey(finding));
  if (broken !== undefined) return explain([broken], placeOf).map((problem) => ({ kind: 'entry', problem }));
  return explain(group, placeOf).map((problem) => ({ kind: 'key', problem }));
}

/** The same value without unknown keys and wrong entries; the other entries keep their places. */
function without({ text, value, lineAt }: YamlValue, findings: readonly Finding[]): YamlValue {
  const broken = new Set(findings.filter((finding) => !isUnknownKey(finding)).map(({ path }) => path[1]));
  const unknown = new Map<PropertyKey | undefined, Set<string>>();
  for (const { path } of findings.filter(isUnknownKey)) {
    const entry = entryAt(path)?.[1];
    unknown.set(entry, (unknown.get(entry) ?? new Set()).add(String(path.at(-1))));
  }
  const { allowlist, ...others } = omit(asMap(value) ?? {}, unknown.get(undefined));
  const kept = asList(allowlist).flatMap((entry, index) => (broken.has(index) ? [] : [{ entry, index }]));
  const entries = kept.map(({ entry, index }) => {
    const keys = unknown.get(index);
    return keys === undefined ? entry : omit(asMap(entry) ?? {}, keys);
  });
  return {
    text,
    value: { ...others, allowlist: entries },
    lineAt: (path) => {
      const [, index] = entryAt(path) ?? [];
      return lineAt(index === undefined ? path : ['allowlist', kept[Number(index)]?.index ?? index, ...path.slice(2)]);
    },
  };
}

function omit(map: Raw, keys: ReadonlySet<string> | undefined): Raw {
  return keys === undefined ? map : Object.fromEntries(Object.entries(map).filter(([key]) => !keys.has(key)));
}
