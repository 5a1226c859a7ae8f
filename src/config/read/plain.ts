/**
 * A fast reader for plain YAML, in which most configuration files are written. It makes no node for each scalar. Plain
 * YAML has maps and lists in block style, one key or item a line; behind it a scalar, or `{…}` or `[…]` of scalars, on
 * the same line.
 *
 * It reads only text that it understands completely. It leaves everything else, also mistakes, to the parser. Its
 * result is what yaml.ts makes of the same text, or nothing.
 */

export interface PlainYaml {
  readonly value: unknown;
  /** The line (from 1) of the value at this path, or of its closest existing parent. */
  lineAt(path: readonly PropertyKey[]): number;
  /** The number of entries in all lists together. */
  readonly entries: number;
}

/** The lines of the parts of a value that takes more than one line. */
type Place = MapPlace | ListPlace;

interface MapPlace {
  readonly kind: 'map';
  readonly keys: ReadonlyMap<string, { readonly line: number; readonly inner: Place | undefined }>;
}

interface ListPlace {
  readonly kind: 'list';
  /** The line of each item. A negative number -n means line n, and that each key of the item has a line, in order. */
  readonly lines: readonly number[];
  /** The places of other items that take more than one line. */
  readonly inner: ReadonlyMap<number, MapPlace>;
}

interface Block {
  readonly value: Raw | unknown[];
  readonly place: Place;
}

type Raw = Record<string, unknown>;

/** Text beyond ASCII is not plain, because YAML has line breaks and invisible marks there, too. */
const ASCII = /^[\n\x20-\x7e]*$/;
/**
 * Matches most lines of long lists: an entry as AWS's proxy has it, on one line or two. A name with a dot is text
 * without quotes.
 */
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
  /** `kms.${region}.${domain}:443`; inside `{…}` the braces mean something else. */
  template: /^[A-Za-z][\w.-]*(?:\$\{[a-z]+\}[\w.-]*)+(?::\d+)?$/,
};
/** Words that are not text. */
const RESERVED = /^(?:null|true|false)$/i;

/** Thrown to end the reading, because the text is not plain. */
class Unknown extends Error {}

/** Returns undefined if the text is not plain. */
export function readPlain(text: string): PlainYaml | undefined {
  if (!ASCII.test(text)) return undefined;
  try {
    return new Reader(text.endsWith('\n') ? text : `${text}\n`).readFile();
  } catch (error) {
    if (error instanceof Unknown) return undefined;
    throw error;
  }
}

/** The next line. */
interface Line {
  /** The column of its key or its dash. */
  readonly column: number;
  /** The distance from its dash to the item; 0 if it has no dash. */
  readonly dash: number;
  readonly key: string | undefined;
  readonly rest: string;
}

class Reader {
  readonly #text: string;
  #offset = 0;
  /** The number of the line at the offset. */
  #number = 1;
  #entries = 0;
  /** The line at the offset, if it is already parsed, and its length. */
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

  /** The next line that is not blank or a comment; undefined at the end. */
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

  /** @param column the column of its keys */
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

  /** Reads the value below a key at this column. */
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
      // The first key follows the dash.
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

  /** Reads as many entries of the usual form as follow. */
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

/** Splits the text between brackets into parts, each with the comma or the bracket that follows it. */
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
