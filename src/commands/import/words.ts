/** Splits what systemd and shells run into words, as far as proxies are started with it. */

/** What only a running shell or service manager knows, in the place of its text: a command, or a variable without a value. */
export interface Word {
  /** With {@link UNKNOWN} in the place of each unknown part. */
  readonly text: string;
  readonly unknown: readonly string[];
}

/** Stands for an unknown part; no command line has this character. */
export const UNKNOWN = '\u0000';

export interface SplitOptions {
  /** Whether `;`, `&`, `|` and line ends are words of their own, and `$(…)` and backticks parts of words. */
  readonly shell: boolean;
  /** What `$NAME` and `${NAME}` stand for; undefined where it is not known. */
  readonly lookUp: (name: string) => string | undefined;
}

const OPERATORS = new Set([';', '&', '|', '\n', '(', ')', '<', '>']);

/** The words, in quotes or not. An operator of the shell is a word that is nothing but it. */
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
    const expands = quote !== "'" || !shell; // systemd looks for variables in single quotes, too
    if (char === '\\' && (quote !== "'" || !shell) && at + 1 < text.length) {
      const next = text[++at] ?? '';
      if (next === '\n') continue;
      // A shell keeps the backslash in double quotes, but in front of what means something there.
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

/** Of `$(…)`, with what is nested in it; quotes hide brackets. */
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

/** Whether a word is nothing but an operator of the shell. */
export function isOperator({ text, unknown }: Word): boolean {
  return unknown.length === 0 && text.length === 1 && OPERATORS.has(text);
}
