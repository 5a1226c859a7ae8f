/** YAML text → value, with the line of every part of it. YAML 1.2, core schema, one document. */
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type Pair,
  parseDocument,
  visit,
  type YAMLMap,
} from 'yaml';
import { VsockProxyError } from '../../platform/errors.ts';
import { escapeControls, quoteBriefly } from '../../platform/escape.ts';

export interface YamlValue {
  readonly value: unknown;
  /** The line (from 1) of what stands at this path, or of its closest parent that exists. */
  lineAt(path: readonly PropertyKey[]): number;
}

/** So many uses of `*anchors`, also through other anchors, are more than any sensible file has. */
const MAX_ALIASES = 100;
/** So many entries in all lists together are more than anybody can look after. */
const MAX_ENTRIES = 20_000;
/** What YAML 1.2 (section 5.1) does not allow in a file. */
const UNPRINTABLE = /[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u;

/** `path` is for messages. @throws VsockProxyError `config`: `Bad yaml format: …` */
export function parseYaml(text: string, path: string): YamlValue {
  const lines = new LineCounter();
  const lineOf = (offset: number) => Math.max(1, lines.linePos(offset).line);
  const bad = (problem: string, offset?: number, hint = QUOTES) => {
    const place = offset === undefined ? path : `${path}:${lineOf(offset)}`;
    const message = escapeControls(`Bad yaml format: ${problem}`);
    return new VsockProxyError('config', message, { hint, place: escapeControls(place) });
  };

  const unprintable = UNPRINTABLE.exec(text);
  if (unprintable !== null) {
    const line = text.slice(0, unprintable.index).split('\n').length;
    const message = `Bad yaml format: it contains ${quoteBriefly(unprintable[0])}`;
    const place = escapeControls(`${path}:${line}`);
    throw new VsockProxyError('config', message, { hint: 'is it really a text file?', place });
  }
  const document = parse(text, lines, bad);
  try {
    const offsetAt = findOffsets(document);
    return { value: document.toJS({ maxAliasCount: MAX_ALIASES }), lineAt: (at) => lineOf(offsetAt(at)) };
  } catch {
    throw bad(`aliases multiply to more than ${MAX_ALIASES}`, undefined, 'write the values out');
  }
}

const QUOTES =
  'check indentation and brackets near that line; put in quotes what begins with * or [, has ": " in it, or ${…} within {…}';
const STAR = 'put a pattern in quotes, as in "*.example.com": without them, a * in front refers to an anchor of YAML';

type Bad = (problem: string, offset?: number, hint?: string) => VsockProxyError;

function parse(text: string, lineCounter: LineCounter, bad: Bad): Document {
  const document = parseDocument(text, {
    version: '1.2',
    schema: 'core',
    // Unknown tags become warnings, and those are errors here.
    resolveKnownTags: false,
    // The parser's own check compares each key with each other one.
    uniqueKeys: false,
    prettyErrors: false,
    lineCounter,
  });
  const [first] = [...document.errors, ...document.warnings].sort((a, b) => a.pos[0] - b.pos[0]);
  if (first === undefined) {
    checkKeysAndAliases(document, bad);
    return document;
  }
  switch (first.code) {
    case 'TAB_AS_INDENT':
      throw bad('a tab in the indentation', first.pos[0], 'indent with spaces');
    case 'BAD_ALIAS':
      throw bad('a * without quotes', first.pos[0], STAR);
    case 'MULTIPLE_DOCS':
      throw bad('a second document begins', first.pos[0], 'keep one document, without a line "---" in between');
    case 'RESOURCE_EXHAUSTION':
      throw bad('it is nested too deeply', first.pos[0]);
    default:
      throw bad(first.message, first.pos[0]);
  }
}

function checkKeysAndAliases(document: Document, bad: Bad): void {
  const anchors = new Set<string>();
  let entries = 0;
  visit(document, (_, node) => {
    if (isMap(node)) checkKeys(node, bad);
    if (isSeq(node)) entries += node.items.length;
    if (isSeq(node) && entries > MAX_ENTRIES) {
      throw bad(`its lists have more than ${MAX_ENTRIES} entries`, node.range?.[0], 'use patterns and ranges');
    }
    if (isAlias(node)) {
      if (anchors.has(node.source)) return;
      throw bad(`*${node.source} without quotes, and no anchor &${node.source} before it`, node.range?.[0], STAR);
    }
    if (isNode(node) && node.anchor !== undefined) anchors.add(node.anchor);
  });
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

/** Tells where what stands at a path begins, or its closest parent that exists. What a map holds begins at its key. */
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
