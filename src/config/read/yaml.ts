/** Parses YAML text to a value, with the line of every part of it: YAML 1.2, core schema, one document. */
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Pair,
  parseAllDocuments,
  parseDocument,
  visit,
  type YAMLError,
  type YAMLMap,
} from 'yaml';
import { VsockProxyError } from '../../platform/errors.ts';
import { escapeControls, quoteBriefly } from '../../platform/escape.ts';
import { type PlainYaml, readPlain } from './plain.ts';

export interface YamlValue {
  /** The text, as it was read. */
  readonly text: string;
  readonly value: unknown;
  /** The line (from 1) of the value at this path, or of its closest existing parent. */
  lineAt(path: readonly PropertyKey[]): number;
}

/**
 * Called for text that is not YAML 1.2 but can be read: unknown directives and tags, further documents, characters that
 * a file may not have. An exception that it throws ends the parsing.
 * @param keys the keys of the outermost map that are concerned; for further documents, their own keys
 */
export type OnOddity = (problem: VsockProxyError, keys: readonly string[]) => void;

/** The most values, counted with aliases expanded. No sensible file with anchors has more. */
const MAX_VALUES = 200_000;
/** The most entries in all lists together. Nobody can maintain more. */
const MAX_ENTRIES = 200_000;
const TOO_MANY = `its lists have more than ${MAX_ENTRIES} entries`;
const FEWER = 'use patterns and ranges';
/** Characters that YAML 1.2 (section 5.1) forbids in a file. */
const UNPRINTABLE = /[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u;
/** Characters that end a line in YAML 1.2 (section 5.4), but not in the parser. */
const LONE_RETURN = /\r(?!\n)/g;

/**
 * @param path for messages
 * @param onOddity default: throws the problem
 * @throws VsockProxyError `config`: `Bad yaml format: …`
 */
export function parseYaml(text: string, path: string, onOddity: OnOddity = refuse): YamlValue {
  const plain = readPlain(text);
  if (plain === undefined) return parseAll(text, path, onOddity);
  // The parser would say the same, after more than half a minute.
  if (plain.entries > MAX_ENTRIES) throw badYaml(TOO_MANY, `${path}:${lineOfTooMany(plain)}`, FEWER);
  return { text, ...plain };
}

/** The same by the full parser, for text that is not plain. */
export function parseAll(text: string, path: string, onOddity: OnOddity = refuse): YamlValue {
  const lines = new LineCounter();
  const lineOf = (offset: number) => Math.max(1, lines.linePos(offset).line);
  const bad = (problem: string, offset?: number, hint = QUOTES) => {
    const place = offset === undefined ? path : `${path}:${lineOf(offset)}`;
    return badYaml(problem, place, hint);
  };

  const source = text.replace(LONE_RETURN, '\n');
  const unprintable = UNPRINTABLE.exec(source);
  if (unprintable !== null) {
    const line = source.slice(0, unprintable.index).split('\n').length;
    const contained = `it contains ${quoteBriefly(unprintable[0])}`;
    const problem = badYaml(contained, `${path}:${line}`, 'is it really a text file?');
    // AWS's proxy stops reading here. What follows is unknown to its users.
    if (source.includes('\0')) throw problem;
    onOddity(problem, []);
  }
  const document = parse(source, lines, bad, onOddity);
  checkKeysAndAliases(document, bad);
  const offsetAt = findOffsets(document);
  return { text, value: document.toJS({ maxAliasCount: -1 }), lineAt: (at) => lineOf(offsetAt(at)) };
}

function refuse(problem: VsockProxyError): never {
  throw problem;
}

function badYaml(problem: string, place: string, hint: string): VsockProxyError {
  const message = escapeControls(`Bad yaml format: ${problem}`);
  return new VsockProxyError('config', message, { hint, place: escapeControls(place) });
}

/** The line of the list whose entries, with those of the lists before it, are too many. */
function lineOfTooMany({ value, lineAt }: PlainYaml): number {
  let entries = 0;
  const find = (inner: unknown, path: readonly PropertyKey[]): readonly PropertyKey[] | undefined => {
    if (typeof inner !== 'object' || inner === null) return undefined;
    if (Array.isArray(inner)) entries += inner.length;
    if (entries > MAX_ENTRIES) return [...path, 0];
    for (const [step, part] of Object.entries(inner)) {
      const found = find(part, [...path, step]);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  return lineAt(find(value, []) ?? []);
}

const QUOTES =
  'check indentation and brackets near that line; put in quotes what begins with * or [, has ": " in it, or ${…} within {…}';
const STAR = 'put a pattern in quotes, as in "*.example.com": without them, a * in front refers to an anchor of YAML';

const SPACES = 'indent with spaces';
/** YAML 1.2 (section 6.1) forbids tabs in indentation. */
const TAB = /^ *\t[ \t]*/gm;

type Bad = (problem: string, offset?: number, hint?: string) => VsockProxyError;

const OPTIONS = {
  version: '1.2',
  schema: 'core',
  // The parser turns unknown tags into warnings. Here they are oddities.
  resolveKnownTags: false,
  // The parser's own check compares each key with every other one.
  uniqueKeys: false,
  prettyErrors: false,
} as const;

function parse(text: string, lineCounter: LineCounter, bad: Bad, onOddity: OnOddity): Document {
  const document = parseDocument(text, { ...OPTIONS, lineCounter });
  if (document.errors.some(({ code }) => code === 'BAD_INDENT')) {
    const tabs = [...text.matchAll(TAB)].map(({ index }) => index);
    const spaced = parseDocument(
      text.replaceAll(TAB, (indent) => ' '.repeat(indent.length)),
      OPTIONS,
    );
    // The text with spaces parses only if the tabs are between brackets, where indentation has no meaning.
    if (tabs[0] !== undefined && spaced.errors.length === 0 && spaced.warnings.length === 0) {
      onOddity(
        bad('a tab in the indentation', tabs[0], SPACES),
        tabs.flatMap((tab) => keysAround(spaced, tab)),
      );
      return spaced;
    }
  }
  for (const problem of [...document.errors, ...document.warnings].sort((a, b) => a.pos[0] - b.pos[0])) {
    const error = explain(problem, bad);
    if (problem.code === 'MULTIPLE_DOCS') onOddity(error, keysOfOthers(text, bad));
    else if (problem.name === 'YAMLWarning') onOddity(error, keysAround(document, problem.pos[0]));
    else throw error;
  }
  return document;
}

function explain({ code, message, pos: [offset] }: YAMLError, bad: Bad): VsockProxyError {
  switch (code) {
    case 'TAB_AS_INDENT':
      return bad('a tab in the indentation', offset, SPACES);
    case 'BAD_ALIAS':
      return bad('a * without quotes', offset, STAR);
    case 'MULTIPLE_DOCS':
      return bad('a second document begins', offset, 'keep one document, without a line "---" in between');
    case 'RESOURCE_EXHAUSTION':
      return bad('it is nested too deeply', offset);
    case 'TAG_RESOLVE_FAILED':
    case 'BAD_DIRECTIVE':
      return bad(message, offset, 'leave it out: it means nothing here');
    default:
      return bad(message, offset);
  }
}

/** The key of the outermost map whose value contains this offset. */
function keysAround({ contents }: Document, offset: number): readonly string[] {
  const keys = isMap(contents) ? contents.items.map(({ key }) => key).filter(isScalar) : [];
  const around = keys.findLast(({ range }) => range !== null && range !== undefined && range[0] <= offset);
  return around === undefined ? [] : [String(around.value)];
}

/** The values of the documents after the first one. */
function keysOfOthers(text: string, bad: Bad): readonly string[] {
  const documents = parseAllDocuments(text, OPTIONS);
  if (!Array.isArray(documents)) return [];
  return documents.slice(1).flatMap(({ contents, errors: [error] }) => {
    if (error !== undefined) throw explain(error, bad);
    return isMap(contents) ? contents.items.map(({ key }) => (isScalar(key) ? String(key.value) : '')) : [];
  });
}

function checkKeysAndAliases(document: Document, bad: Bad): void {
  const anchors = new Set<string>();
  let entries = 0;
  let hasAliases = false;
  visit(document, (_, node) => {
    if (isMap(node)) checkKeys(node, bad);
    if (isSeq(node)) entries += node.items.length;
    if (isSeq(node) && entries > MAX_ENTRIES) {
      throw bad(TOO_MANY, node.range?.[0], FEWER);
    }
    if (isAlias(node)) {
      hasAliases = true;
      if (anchors.has(node.source)) return;
      throw bad(`*${node.source} without quotes, and no anchor &${node.source} before it`, node.range?.[0], STAR);
    }
    if (isNode(node) && node.anchor !== undefined) anchors.add(node.anchor);
  });
  // A value that contains itself has no size, and counts as too large.
  if (hasAliases && !(sizeOf(document.contents, new Map()) <= MAX_VALUES)) {
    throw bad(`aliases multiply to more than ${MAX_VALUES} values`, undefined, 'write the values out');
  }
}

/** The number of values with every alias expanded. */
function sizeOf(node: unknown, anchored: Map<string, number>): number {
  if (isAlias(node)) return anchored.get(node.source) ?? Number.NaN;
  if (isPair(node)) return sizeOf(node.value, anchored);
  const anchor = isNode(node) ? node.anchor : undefined;
  if (anchor !== undefined) anchored.delete(anchor);
  let size = 1;
  if (isMap(node) || isSeq(node)) for (const item of node.items) size += sizeOf(item, anchored);
  if (anchor !== undefined) anchored.set(anchor, size);
  return size;
}

function checkKeys(map: YAMLMap, bad: Bad): void {
  const seen = new Set<string>();
  for (const { key } of map.items) {
    if (!isScalar(key))
      throw bad('a key is not plain text', (isNode(key) ? key : map).range?.[0], 'write keys as words');
    const name = String(key.value);
    if (seen.has(name)) throw bad(`the key ${quoteBriefly(name)} stands twice in one map`, key.range?.[0], 'keep one');
    seen.add(name);
  }
}

/**
 * Returns a function from a path to its line, or to that of its closest existing parent. A value in a map begins at its
 * key.
 */
function findOffsets(document: Document): (path: readonly PropertyKey[]) => number {
  const indices = new WeakMap<YAMLMap, ReadonlyMap<string, Pair>>();
  const pairAt = (map: YAMLMap, key: PropertyKey) => {
    const index =
      indices.get(map) ?? new Map(map.items.map((pair) => [isScalar(pair.key) ? String(pair.key.value) : '', pair]));
    indices.set(map, index);
    return index.get(String(key));
  };
  return (path) => {
    let node: unknown = document.contents;
    let offset = document.contents?.range?.[0] ?? 0;
    for (const step of path) {
      if (isAlias(node)) node = node.resolve(document);
      if (isMap(node)) {
        const pair = pairAt(node, step);
        if (pair === undefined) break;
        if (isScalar(pair.key)) offset = pair.key.range?.[0] ?? offset;
        node = pair.value;
      } else {
        node = isSeq(node) ? node.items[Number(step)] : undefined;
        if (isNode(node)) offset = node.range?.[0] ?? offset;
      }
    }
    return offset;
  };
}
