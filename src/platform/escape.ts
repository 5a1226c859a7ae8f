/**
 * Makes text from files, arguments and the network safe to print: one line, without terminal commands and invisible
 * characters. The notation is that of Rust's `{:?}`, which AWS's proxy uses for its errors.
 */

/**
 * Control, format (including those that change the writing direction), surrogate, private and unassigned characters,
 * and line separators.
 */
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/gu;
const SHORT: Readonly<Record<string, string>> = { '\0': '\\0', '\t': '\\t', '\n': '\\n', '\r': '\\r' };

/** `a\nb` becomes `a\\nb`. Printable characters, also backslashes, do not change. */
export function escapeControls(text: string): string {
  return text.replace(UNPRINTABLE, (char) => SHORT[char] ?? `\\u{${char.codePointAt(0)?.toString(16)}}`);
}

/** The text in double quotes, with its quotes and backslashes escaped. */
export function quote(text: string): string {
  return `"${escapeControls(text.replace(/[\\"]/g, '\\$&'))}"`;
}

/** `quote`, cut after 80 characters, for values of any length. */
export function quoteBriefly(text: string): string {
  return quote(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}

/** A short form of a value from a file: `"text"`, `443`, `nothing`, `a list`, `a map`. */
export function showValue(value: unknown): string {
  if (typeof value === 'string') return quoteBriefly(value);
  if (value === null || value === undefined) return 'nothing';
  if (typeof value === 'object') return Array.isArray(value) ? 'a list' : 'a map';
  return String(value);
}
