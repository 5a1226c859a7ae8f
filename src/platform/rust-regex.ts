/**
 * Translates the regular expressions of `RUST_LOG`, which are those of Rust's crate regex, to JavaScript.
 *
 * The two languages differ more in syntax than in power. Only whether a message matches counts here, so groups need no
 * names, and greediness does not matter. An expression without a meaning in Rust is refused, even if JavaScript has one
 * (look-around, references to groups). Its author then gets a warning, not a filter that matches nothing.
 *
 * Source: the documentation of the crate, section "Syntax".
 */

/** @throws Error whose message says briefly what is wrong */
export function parseRustRegex(source: string): RegExp {
  return new RegExp(new Translation(source).whole(), 'v');
}

/** Classes of ASCII characters, by their POSIX names. */
const POSIX: Readonly<Record<string, string>> = {
  alnum: '0-9A-Za-z',
  alpha: 'A-Za-z',
  ascii: '\\x00-\\x7f',
  blank: '\\t ',
  cntrl: '\\x00-\\x1f\\x7f',
  digit: '0-9',
  graph: '\\x21-\\x7e',
  lower: 'a-z',
  print: '\\x20-\\x7e',
  punct: '\\x21-\\x2f\\x3a-\\x40\\x5b-\\x60\\x7b-\\x7e',
  space: '\\t\\n\\v\\f\\r ',
  upper: 'A-Z',
  word: '0-9A-Za-z_',
  xdigit: '0-9A-Fa-f',
};

const ASSERTIONS: Readonly<Record<string, string>> = {
  A: '(?-m:^)',
  z: '(?-m:$)',
  B: '\\B',
  b: '\\b',
  'b{start}': '\\b(?=\\w)',
  'b{end}': '\\b(?<=\\w)',
  'b{start-half}': '(?<!\\w)',
  'b{end-half}': '(?!\\w)',
  '<': '\\b(?=\\w)',
  '>': '\\b(?<=\\w)',
};

/** A group that is being parsed. */
interface Group {
  readonly head: string;
  /** Groups for flags that are set inside it. They are open until the alternative ends, and again in the next one. */
  readonly flags: string[];
  /** Whether white space and comments are ignored. */
  spaced: boolean;
  done: string;
  /** The item that a repetition would repeat. */
  last: string | undefined;
}

class Translation {
  readonly #source: string;
  #at = 0;

  constructor(source: string) {
    this.#source = source;
  }

  whole(): string {
    const outer: Group = { head: '(?:', flags: [], spaced: false, done: '', last: undefined };
    const groups = [outer];
    let group = outer;
    while (this.#at < this.#source.length) {
      if (group.spaced && this.#take(/\s+|#.*/y) !== undefined) continue;
      const repetition = this.#take(/[*+?]\??|\{ *\d* *(?:, *\d* *)?\}\??/y);
      const opening =
        repetition === undefined ? this.#take(/\((?:\?(?:P?<[A-Za-z_][\w.[\]]*>|[A-Za-z-]*[:)]))?/y) : undefined;
      if (repetition !== undefined) {
        repeat(group, repetition);
      } else if (opening !== undefined) {
        const look = this.#take(/\?(?:<?[=!])?/y);
        if (look !== undefined) throw new Error(look === '?' ? 'unrecognized group' : 'look-around is not supported');
        const flags = /^\(\?([A-Za-z-]*)[:)]$/.exec(opening)?.[1];
        const { head, spaced } = flags === undefined ? { head: '(?:', spaced: undefined } : readFlags(flags);
        if (opening.endsWith(')')) {
          if (flags === '') throw new Error('missing flag');
          group.spaced = spaced ?? group.spaced;
          group.flags.push(head);
          settle(group, head);
        } else {
          group = { head, flags: [], spaced: spaced ?? group.spaced, done: '', last: undefined };
          groups.push(group);
        }
      } else if (this.#take(/\|/y)) {
        settle(group, `${')'.repeat(group.flags.length)}|${group.flags.join('')}`);
      } else if (this.#take(/\)/y)) {
        groups.pop();
        const outside = groups.at(-1);
        if (outside === undefined) throw new Error('unopened group');
        add(outside, close(group));
        group = outside;
      } else {
        add(group, this.#atom());
      }
    }
    if (groups.length > 1) throw new Error('unclosed group');
    return close(outer);
  }

  #take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const [text] = pattern.exec(this.#source) ?? [];
    this.#at += text?.length ?? 0;
    return text;
  }

  /** Parses one character, class or assertion. */
  #atom(): string {
    if (this.#take(/\[/y)) return this.#class();
    if (this.#source.startsWith('\\', this.#at)) {
      const assertion = this.#take(/\\(?:b\{[a-z-]+\}|[AzBb<>])/y);
      if (assertion === undefined) return this.#escaped();
      return ASSERTIONS[assertion.slice(1)] ?? unknownEscape(assertion);
    }
    const char = this.#char();
    if (char === '.' || char === '^' || char === '$') return char;
    if (char === '{') throw new Error('repetition operator missing expression');
    return literal(char);
  }

  #char(): string {
    const char = String.fromCodePoint(this.#source.codePointAt(this.#at) ?? 0);
    this.#at += char.length;
    return char;
  }

  /** Parses what follows `\`: a character, or a class of them. */
  #escaped(): string {
    const code = this.#take(/\\x[\dA-Fa-f]{2}|\\u[\dA-Fa-f]{4}|\\U[\dA-Fa-f]{8}|\\[xuU]\{[\dA-Fa-f]{1,6}\}/y);
    if (code !== undefined) return `\\u{${code.replace(/[^\dA-Fa-f]/g, '')}}`;
    const property = this.#take(/\\[pP](?:\{[^}]*\}|[A-Z])/y);
    if (property !== undefined) return translateProperty(property);
    const known = this.#take(/\\[dDsSwWfnrtv]/y);
    if (known !== undefined) return known;
    if (this.#take(/\\a/y)) return '\\u{7}';
    this.#at += 1;
    if (this.#at >= this.#source.length) throw new Error('incomplete escape sequence');
    const char = this.#char();
    return /[\w<>]/.test(char) ? unknownEscape(`\\${char}`) : literal(char);
  }

  /** Parses what follows `[`. The operators `&&`, `--` and `~~` have the same precedence. */
  #class(): string {
    const negated = this.#take(/\^/y) ?? '';
    let left: string | undefined;
    let operator = '';
    let items = this.#take(/\]/y) === undefined ? '' : literal(']');
    for (;;) {
      const next = this.#take(/\]|&&|--|~~/y);
      if (next !== undefined) {
        left = combine(left, operator, `[${items}]`);
        if (next === ']') return `[${negated}${left}]`;
        operator = next;
        items = '';
      } else {
        items += this.#classItem();
      }
    }
  }

  #classItem(): string {
    if (this.#at >= this.#source.length) throw new Error('unclosed character class');
    const posix = this.#take(/\[:\^?[a-z]+:\]/y);
    if (posix !== undefined) {
      const name = posix.replace(/[^a-z]/g, '');
      return `[${posix[2] === '^' ? '^' : ''}${POSIX[name] ?? fail(`unknown class ${name}`)}]`;
    }
    if (this.#take(/\[/y)) return this.#class();
    const first = this.#classChar();
    if (!/^-[^\]-]/.test(this.#source.slice(this.#at, this.#at + 2))) return first;
    this.#at += 1;
    const last = this.#classChar();
    const [from, to] = [codeOf(first), codeOf(last)];
    if (from > to) throw new Error('invalid character class range, the start must be <= the end');
    return `${first}-${last}`;
  }

  #classChar(): string {
    return this.#source.startsWith('\\', this.#at) ? this.#escaped() : literal(this.#char());
  }
}

function add(group: Group, atom: string): void {
  group.done += group.last ?? '';
  group.last = atom;
}

/** There is nothing before this that could be repeated. */
function settle(group: Group, text: string): void {
  group.done += `${group.last ?? ''}${text}`;
  group.last = undefined;
}

/** An item that is repeated already can be repeated again, as in `B++`. */
function repeat(group: Group, repetition: string): void {
  if (group.last === undefined) throw new Error('repetition operator missing expression');
  const counts = repetition.replaceAll(' ', '').replace('{,', '{0,');
  group.last = `(?:${group.last})${counts}`;
}

function close({ head, flags, done, last }: Group): string {
  return `${head}${done}${last ?? ''}${')'.repeat(flags.length)})`;
}

function readFlags(flags: string): { readonly head: string; readonly spaced: boolean | undefined } {
  const [, on = '', minus, off = ''] = /^([imsxUuR]*)(-([imsxUuR]+))?$/.exec(flags) ?? fail('unrecognized flag');
  const shared = (letters: string) => letters.replace(/[xUuR]/g, '');
  const removed = shared(off) === '' ? '' : `-${shared(off)}`;
  const spaced = on.includes('x') ? true : minus !== undefined && off.includes('x') ? false : undefined;
  return { head: `(?${shared(on)}${removed}:`, spaced };
}

function combine(left: string | undefined, operator: string, right: string): string {
  if (left === undefined) return right;
  return operator === '~~' ? `[${left}${right}]--[${left}&&${right}]` : `[${left}${operator}${right}]`;
}

/** Translates `\pL`, `\p{Greek}` and `\p{^L}`; JavaScript has a property name for scripts. */
function translateProperty(property: string): string {
  const name = property.slice(2).replace(/[{}]/g, '');
  const negated = (property[1] === 'P') !== name.startsWith('^');
  const text = name.replace(/^\^/, '').replace(/:|==?/, '=');
  const form =
    [text, `Script_Extensions=${text}`].find((each) => isProperty(each)) ?? fail('Unicode property not found');
  return `\\${negated ? 'P' : 'p'}{${form}}`;
}

function isProperty(form: string): boolean {
  try {
    return new RegExp(`\\p{${form}}`, 'v').flags === 'v';
  } catch {
    return false;
  }
}

/** A character that stands for itself, inside a class or outside. */
function literal(char: string): string {
  return /^[\p{L}\p{N}_ ]$/u.test(char) ? char : `\\u{${char.codePointAt(0)?.toString(16)}}`;
}

function codeOf(item: string): number {
  const [, hex] = /^\\u\{([\dA-Fa-f]+)\}$/.exec(item) ?? [];
  if (hex !== undefined) return Number.parseInt(hex, 16);
  return item.startsWith('\\') ? fail('invalid range boundary, must be a literal') : (item.codePointAt(0) ?? 0);
}

function unknownEscape(text: string): never {
  return fail(`unrecognized escape sequence ${text}`);
}

function fail(message: string): never {
  throw new Error(message);
}
