/**
 * The part of YAML that configuration files are mostly written in, read without a node for each scalar: maps and lists in
 * block style, one key or item a line; behind it a scalar, or `{…}` or `[…]` of scalars on the same line.
 *
 * It reads what it knows for certain and leaves everything else, mistakes too, to the parser: what comes out is what
 * yaml.ts makes of the same text, or nothing.
 */

export interface PlainYaml {
  readonly value: unknown;
  /** The line (from 1) of what stands at this path, or of its closest parent that exists. */
  lineAt(path: readonly PropertyKey[]): number;
  /** In all lists together. */
  readonly entries: number;
}

/** Where the parts of a value begin that takes more than a line. */
type Place = MapPlace | ListPlace;

interface MapPlace {
  readonly kind: 'map';
  readonly keys: ReadonlyMap<string, { readonly line: number; readonly inner: Place | undefined }>;
}

interface ListPlace {
  readonly kind: 'list';
  /** The line of each item; below 0: so many lines from the first, and its keys have a line each, one behind the other. */
  readonly lines: readonly number[];
  /** Of other items that take more than a line. */
  readonly inner: ReadonlyMap<number, MapPlace>;
}

interface Block {
  readonly value: Raw | unknown[];
  readonly place: Place;
}

type Raw = Record<string, unknown>;

/** Not here: beyond ASCII, YAML has line breaks and invisible marks, too. */
const ASCII = /^[\n\x20-\x7e]*$/;
/** Most lines of long lists: an entry as AWS's proxy has it, on a line or on two. A name with a dot is text without quotes. */
const NAME = '([a-z][a-z\\d-]*(?:\\.[a-z\\d-]+)+)';
const PORT = '([1-9]\\d{0,4})';
const ENTRY = new RegExp(
  `( *)- (?:\\{ ?address: ${NAME}, port: ${PORT} ?\\}|address: ${NAME}\\n\\1  port: ${PORT})\\n(?!\\1 )`,
  'y',
);
/** Indentation, the dash of an item, a key, and the rest. */
const LINE = /( *)(- +)?(?:([a-z][a-z_]*):(?= |\n))? *([^\n]*)\n/y;
const QUOTED = `"[^"\\\\]*"|'[^']*'`;
const PART = `(${QUOTED}|[\\w./:-]+)`;
const PAIR = new RegExp(` *("?)([a-z][a-z_]*)\\1: +(?:${PART}|(\\[[^\\]]*\\])) *([,}])`, 'y');
const ITEM = new RegExp(` *${PART} *([,\\]])`, 'y');

const SCALARS = {
  whole: /^(?:0|[1-9]\d{0,14})$/,
  quoted: new RegExp(`^(?:${QUOTED})$`),
  /** Words with colons in them, addresses and durations: none of it is a number. */
  text: /^(?:[A-Za-z][\w./-]*(?::[\w./-]+)*|(?:\d{1,3}\.){3}\d{1,3}(?:\/\d{1,3})?|\d{1,9}(?:ms|[smh]))$/,
  /** `kms.${region}.${domain}:443`; within `{…}` it means something else. */
  template: /^[A-Za-z][\w.-]*(?:\$\{[a-z]+\}[\w.-]*)+(?::\d+)?$/,
};
/** Words that are no text. */
const RESERVED = /^(?:null|true|false)$/i;

/** Ends the reading: something is not known here. */
class Unknown extends Error {}

/** undefined: there is something else in it. */
export function readPlain(text: string): PlainYaml | undefined {
  if (!ASCII.test(text)) return undefined;
  try {
    return new Reader(text.endsWith('\n') ? text : `${text}\n`).readFile();
  } catch (error) {
    if (error instanceof Unknown) return undefined;
    throw error;
  }
}

/** The line that is looked at next. */
interface Line {
  /** Where its key or its dash stands. */
  readonly column: number;
  /** How far behind its dash the item begins; 0: there is none. */
  readonly dash: number;
  readonly key: string | undefined;
  readonly rest: string;
}

class Reader {
  readonly #text: string;
  #offset = 0;
  /** Of the line at the offset. */
  #number = 1;
  #entries = 0;
  /** Already taken apart, and how long it is. */
  #line: Line | undefined;
  #length = 0;

  constructor(text: string) {
    this.#text = text;
  }

  readFile(): PlainYaml {
    const first = this.#peek();
    if (first === undefined || first.column !== 0 || first.key === undefined || first.dash > 0) throw new Unknown();
    const begin = this.#number;
    const { value, place } = this.#readMap(0);
    if (this.#peek() !== undefined) throw new Unknown();
    return { value, entries: this.#entries, lineAt: (path) => lineIn(value, place, begin, path) };
  }

  /** Without blank lines and comments; undefined at the end. */
  #peek(): Line | undefined {
    while (this.#line === undefined && this.#offset < this.#text.length) {
      LINE.lastIndex = this.#offset;
      const [whole, indent = '', dash = '', key, rest = ''] = LINE.exec(this.#text) ?? [];
      if (whole === undefined) throw new Unknown();
      this.#length = whole.length;
      const content = withoutComment(rest);
      if (content === '' && key === undefined && dash === '') this.#next();
      else this.#line = { column: indent.length, dash: dash.length, key, rest: content };
    }
    return this.#line;
  }

  #next(): void {
    this.#offset += this.#length;
    this.#number += 1;
    this.#line = undefined;
  }

  /** @param column where its keys stand */
  #readMap(column: number): { readonly value: Raw; readonly place: MapPlace } {
    const value: Raw = {};
    const keys = new Map<string, { line: number; inner: Place | undefined }>();
    for (let line = this.#peek(); line?.column === column && line.dash === 0; line = this.#peek()) {
      const { key, rest } = line;
      if (key === undefined || RESERVED.test(key) || keys.has(key)) throw new Unknown();
      const number = this.#number;
      this.#next();
      const block = rest === '' ? this.#readBlock(column) : undefined;
      value[key] = block === undefined ? this.#readInline(rest) : block.value;
      keys.set(key, { line: number, inner: block?.place });
    }
    return { value, place: { kind: 'map', keys } };
  }

  /** What stands below a key at this column. */
  #readBlock(column: number): Block {
    const line = this.#peek();
    if (line === undefined) throw new Unknown();
    if (line.dash > 0 && line.column >= column) return this.#readList(line.column);
    if (line.dash === 0 && line.column > column) return this.#readMap(line.column);
    throw new Unknown();
  }

  #readList(column: number): Block {
    const value: unknown[] = [];
    const lines: number[] = [];
    const inner = new Map<number, MapPlace>();
    for (;;) {
      this.#readEntries(column, value, lines);
      const line = this.#peek();
      if (line?.column !== column || line.dash === 0) break;
      const number = this.#number;
      if (line.key === undefined) {
        this.#next();
        value.push(this.#readInline(line.rest));
        lines.push(number);
        continue;
      }
      // Its first key stands behind the dash.
      const keyColumn = column + line.dash;
      this.#line = { ...line, column: keyColumn, dash: 0 };
      const map = this.#readMap(keyColumn);
      const areConsecutive = [...map.place.keys.values()].every(
        (key, index) => key.line === number + index && !key.inner,
      );
      if (!areConsecutive) inner.set(value.length, map.place);
      value.push(map.value);
      lines.push(areConsecutive ? -number : number);
    }
    this.#entries += value.length;
    return { value, place: { kind: 'list', lines, inner } };
  }

  /** As many of the usual form as follow. */
  #readEntries(column: number, value: unknown[], lines: number[]): void {
    if (this.#line !== undefined && this.#line.column !== column) return;
    for (;;) {
      ENTRY.lastIndex = this.#offset;
      const match = ENTRY.exec(this.#text);
      if (match === null || match[1]?.length !== column) return;
      const [whole, , flowName, flowPort, blockName, blockPort] = match;
      this.#line = undefined;
      value.push({ address: flowName ?? blockName, port: Number(flowPort ?? blockPort) });
      lines.push(blockName === undefined ? this.#number : -this.#number);
      this.#offset += whole.length;
      this.#number += blockName === undefined ? 1 : 2;
    }
  }

  #readInline(text: string): unknown {
    if (text.startsWith('{')) return this.#readFlowMap(text);
    if (text.startsWith('[')) return this.#readFlowList(text);
    return SCALARS.template.test(text) ? text : readScalar(text);
  }

  #readFlowMap(text: string): Raw {
    const value: Raw = {};
    if (text === '{}') return value;
    for (const [, , key = '', scalar, list] of parts(PAIR, text, '}')) {
      if (RESERVED.test(key) || Object.hasOwn(value, key)) throw new Unknown();
      value[key] = list === undefined ? readScalar(scalar ?? '') : this.#readFlowList(list);
    }
    return value;
  }

  #readFlowList(text: string): unknown[] {
    const value = text === '[]' ? [] : parts(ITEM, text, ']').map(([, scalar = '']) => readScalar(scalar));
    this.#entries += value.length;
    return value;
  }
}

/** What stands between the brackets, each part with the comma or the bracket behind it. */
function parts(part: RegExp, text: string, end: string): readonly RegExpExecArray[] {
  const found: RegExpExecArray[] = [];
  for (part.lastIndex = 1; ; ) {
    const match = part.exec(text);
    if (match === null) throw new Unknown();
    found.push(match);
    if (match.at(-1) === ',') continue;
    if (match.at(-1) !== end || part.lastIndex !== text.length) throw new Unknown();
    return found;
  }
}

function readScalar(text: string): string | number {
  if (SCALARS.whole.test(text)) return Number(text);
  if (SCALARS.quoted.test(text)) return text.slice(1, -1);
  if (SCALARS.text.test(text) && !RESERVED.test(text)) return text;
  throw new Unknown();
}

function withoutComment(rest: string): string {
  if (rest.startsWith('#')) return '';
  const comment = rest.indexOf(' #');
  return (comment < 0 ? rest : rest.slice(0, comment)).trimEnd();
}

function lineIn(value: unknown, place: Place, first: number, path: readonly PropertyKey[]): number {
  let line = first;
  let here: unknown = value;
  let inner: Place | undefined = place;
  for (const [depth, step] of path.entries()) {
    if (inner === undefined) break;
    if (inner.kind === 'map') {
      const key = inner.keys.get(String(step));
      if (key === undefined) break;
      ({ line, inner } = key);
      here = (here as Raw)[String(step)];
      continue;
    }
    const index = Number(step);
    const begin = inner.lines[index];
    if (begin === undefined) break;
    line = Math.abs(begin);
    here = (here as readonly unknown[])[index];
    if (begin < 0) return line + Math.max(0, Object.keys(here as Raw).indexOf(String(path[depth + 1])));
    inner = inner.inner.get(index);
  }
  return line;
}
