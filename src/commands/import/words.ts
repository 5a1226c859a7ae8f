/** Splits command lines of systemd and of shells into words, as far as proxies are started with them. */

/**
 * A value that only a running shell or service manager knows: the output of a command, or a variable without a value.
 */
export interface Word {
  /** Each unknown part is {@link UNKNOWN}. */
  readonly text: string;
  readonly unknown: readonly string[];
}

/** The sign for an unknown part. No command line has this character. */
export const UNKNOWN = '\u0000';

export interface SplitOptions {
  /** Whether `;`, `&`, `|` and line ends are words of their own, and `$(…)` and backticks are parts of words. */
  readonly shell: boolean;
  /** The values of `$NAME` and `${NAME}`; undefined if unknown. */
  readonly lookUp: (name: string) => string | undefined;
}

const OPERATORS = new Set([';', '&', '|', '\n', '(', ')', '<', '>']);

/** Splits the text into words, with or without quotes. An operator of the shell is a word of its own. */
export function splitWords(text: string, { shell, lookUp }: SplitOptions): readonly Word[] {
  const words: Word[] = [];
  let word: { text: string; unknown: string[] } | undefined;
  const open = () => {
    word ??= { text: '', unknown: [] };
    return word;
  };
  const end = () => {
    if (word !== undefined) words.push(word);
    word = undefined;
  };
  const addUnknown = (part: string) => {
    const current = open();
    current.text += UNKNOWN;
    current.unknown.push(part);
  };
  let quote: '"' | "'" | undefined;
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? '';
    const expands = quote !== "'" || !shell; // systemd expands variables in single quotes, too
    if (char === '\\' && (quote !== "'" || !shell) && at + 1 < text.length) {
      const next = text[++at] ?? '';
      if (next === '\n') continue;
      // In double quotes, a shell keeps the backslash unless the next character is special.
      open().text += quote === '"' && shell && !'$`"\\'.includes(next) ? `\\${next}` : next;
    } else if (quote !== undefined && char === quote) {
      quote = undefined;
    } else if (quote === undefined && (char === '"' || char === "'")) {
      open();
      quote = char;
    } else if (expands && shell && (char === '`' || text.startsWith('$(', at))) {
      const length = char === '`' ? lengthToBacktick(text, at) : lengthOfSubstitution(text, at);
      addUnknown(text.slice(at, at + length));
      at += length - 1;
    } else if (expands && char === '$') {
      const [whole, braced, bare] = /^\$(?:\{([^}]*)\}|(\w+))/.exec(text.slice(at)) ?? [];
      const name = braced ?? bare;
      if (whole === undefined || name === undefined) {
        if (!shell && text[at + 1] === '$') at++;
        open().text += '$';
        continue;
      }
      const value = lookUp(name);
      if (value === undefined) addUnknown(whole);
      else if (quote === undefined && bare !== undefined) {
        const [first = '', ...others] = value.split(/\s+/).filter((part) => part !== '');
        if (first !== '') open().text += first;
        for (const part of others) {
          end();
          open().text += part;
        }
      } else open().text += value;
      at += whole.length - 1;
    } else if (quote === undefined && shell && OPERATORS.has(char)) {
      end();
      words.push({ text: char, unknown: [] });
    } else if (quote === undefined && /\s/.test(char)) {
      end();
    } else {
      open().text += char === UNKNOWN ? '\uFFFD' : char;
    }
  }
  end();
  return words;
}

function lengthToBacktick(text: string, from: number): number {
  const end = text.indexOf('`', from + 1);
  return (end < 0 ? text.length : end + 1) - from;
}

/** The text of `$(…)` with everything nested in it; brackets in quotes do not count. */
function lengthOfSubstitution(text: string, from: number): number {
  let depth = 0;
  let quote: string | undefined;
  for (let at = from + 1; at < text.length; at++) {
    const char = text[at] ?? '';
    if (char === '\\' && quote !== "'") at++;
    else if (quote !== undefined) quote = char === quote ? undefined : quote;
    else if (char === "'" || char === '"') quote = char;
    else if (char === '(') depth++;
    else if (char === ')' && --depth === 0) return at + 1 - from;
  }
  return text.length - from;
}

/** Whether a word is an operator of the shell. */
export function isOperator({ text, unknown }: Word): boolean {
  return unknown.length === 0 && text.length === 1 && OPERATORS.has(text);
}
