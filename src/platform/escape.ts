/**
 * Makes text from files, arguments and the network safe to print: one line, no terminal commands, nothing invisible.
 * The notation is that of Rust's `{:?}`, which the AWS proxy prints its errors with.
 */

/** Control, format (among them those that turn the writing direction), surrogate, private, unassigned; line separators. */
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/gu;
const SHORT: Readonly<Record<string, string>> = { '\0': '\\0', '\t': '\\t', '\n': '\\n', '\r': '\\r' };

/** `a\nb` becomes `a\\nb`; everything printable, backslashes too, stays as it is. */
export function escapeControls(text: string): string {
  return text.replace(UNPRINTABLE, (char) => SHORT[char] ?? `\\u{${char.codePointAt(0)?.toString(16)}}`);
}

/** The text in double quotes, with quotes and backslashes in it escaped. */
export function quote(text: string): string {
  return `"${escapeControls(text.replace(/[\\"]/g, '\\$&'))}"`;
}

/** `quote`, cut after 80 characters: for values that may be of any length. */
export function quoteBriefly(text: string): string {
  return quote(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}

/** A value from a file in a few words: `"text"`, `443`, `nothing`, `a list`, `a map`. */
export function showValue(value: unknown): string {
  if (typeof value === 'string') return quoteBriefly(value);
  if (value === null || value === undefined) return 'nothing';
  if (typeof value === 'object') return Array.isArray(value) ? 'a list' : 'a map';
  return String(value);
}
