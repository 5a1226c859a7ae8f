/**
 * The syntax of an HTTP/1 head: start line, field lines, empty line (RFC 9112 sections 2 and 5).
 *
 * Every line ends in CRLF. Every field is a token, a colon and a value without control characters. Text that lenient
 * parsers read in different ways (bare LF, folded lines, white space before the colon) is refused, so that no server
 * behind the proxy can read a head differently.
 */
import { LIMITS } from '../dataplane/limits.ts';
import { quoteBriefly } from '../platform/escape.ts';
import { type Malformed, malformed } from '../platform/malformed.ts';

/** The most bytes of a client's head. */
export const HEAD_LIMIT = LIMITS.requestHeadBytes;
/** The most bytes of a server's head. Sites with long policies and many cookies send 20 KB. */
export const RESPONSE_HEAD_LIMIT = LIMITS.responseHeadBytes;
/** The most field lines of a head. */
export const FIELD_LIMIT = 256;

export interface Field {
  /** The name in lower case. */
  readonly name: string;
  /** The line as received, without its CRLF. */
  readonly line: string;
}

/** The received lines, without their CRLF; `last` is the incomplete one. */
export type HeadLines =
  | { readonly kind: 'more'; readonly ended: readonly string[]; readonly last: string }
  | { readonly kind: 'whole'; readonly ended: readonly string[]; readonly headBytes: number };

/**
 * Splits the received bytes into lines, from the start line at `from` on. If there are too many fields, FIELD_LIMIT + 1
 * are returned.
 * @param limit the head must end before this many bytes
 */
export function splitHead(bytes: Uint8Array, from: number, limit: number): HeadLines {
  const text = latin1(bytes.subarray(from, limit));
  const end = text.indexOf('\r\n\r\n');
  if (end >= 0) {
    return { kind: 'whole', ended: text.slice(0, end).split('\r\n', FIELD_LIMIT + 2), headBytes: from + end + 4 };
  }
  const ended = text.split('\r\n', FIELD_LIMIT + 3);
  const last = ended.pop() ?? '';
  return { kind: 'more', ended, last };
}

/** Parses the lines after the start line, or returns the problem with the first wrong one. */
export function readFields(lines: readonly string[]): readonly Field[] | Malformed {
  const fields: Field[] = [];
  for (let i = 1; i < lines.length; i++) {
    const field = readField(lines[i] ?? '');
    if ('kind' in field) return field;
    fields.push(field);
  }
  return fields;
}

/** The certain problem with an incomplete field line. */
export function checkFieldStart(line: string): Malformed | undefined {
  return line.startsWith(' ') || line.startsWith('\t') ? malformed(FOLDED) : checkLineEnd(line);
}

/** The problem with CRs and LFs in a line whose own CRLF, or a part of it, may still come. */
export function checkLineEnd(line: string): Malformed | undefined {
  const cr = line.indexOf('\r');
  const lf = line.indexOf('\n');
  if (lf >= 0 && (cr < 0 || lf < cr)) return malformed('a line ends in LF alone. Hint: HTTP lines end in CR LF');
  return cr >= 0 && cr < line.length - 1 ? malformed('a CR stands alone, without the LF that ends a line') : undefined;
}

/** The value of a field, without surrounding white space. */
export function fieldValue({ name, line }: Field): string {
  return trimBlanks(line.slice(name.length + 1));
}

/** Removes white space as RFC 9110 5.6.3 defines it; trim() would remove more. */
export function trimBlanks(text: string): string {
  let from = 0;
  let to = text.length;
  while (from < to && isBlank(text.charCodeAt(from))) from++;
  while (to > from && isBlank(text.charCodeAt(to - 1))) to--;
  return text.slice(from, to);
}

const FIELD = /^([!#$%&'*+.^_`|~\w-]+):[\t -~\x80-\xff]*$/;
const FOLDED = 'a header line is folded (it begins with white space). Hint: write every field in one line';

function readField(line: string): Field | Malformed {
  const name = FIELD.exec(line)?.[1];
  return name === undefined ? explainField(line) : { name: name.toLowerCase(), line };
}

function explainField(line: string): Malformed {
  if (line.startsWith(' ') || line.startsWith('\t')) return malformed(FOLDED);
  const ending = checkLineEnd(`${line}\r`);
  if (ending !== undefined) return ending;
  const colon = line.indexOf(':');
  if (colon < 0) return malformed(`the header line ${quoteBytes(line)} has no colon`);
  const name = line.slice(0, colon);
  if (name === '') return malformed(`the header line ${quoteBytes(line)} has no name`);
  if (/[\t ]$/.test(name)) return malformed(`white space before the colon of ${quoteBytes(name)}`);
  return /^[!#$%&'*+.^_`|~\w-]+$/.test(name)
    ? malformed(`the value of ${quoteBytes(name)} has a control character`)
    : malformed(`${quoteBytes(name)} is not a field name`);
}

/** Each byte as the character with its number. */
export function latin1({ buffer, byteOffset, length }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, length).toString('latin1');
}

/** `quoteBriefly` for a text in which each character is a byte. */
export function quoteBytes(text: string): string {
  return quoteBriefly(decodeBytes(text));
}

/** For messages: the bytes as UTF-8, which most senders use; if they are not UTF-8, one character for each byte. */
export function decodeBytes(text: string): string {
  const decoded = Buffer.from(text, 'latin1').toString('utf8');
  return decoded.includes('\ufffd') ? text : decoded;
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
