/**
 * The syntax of an HTTP/1 head: start line, field lines, empty line (RFC 9112 sections 2 and 5).
 *
 * Every line ends in CRLF, every field is a token, a colon and a value without control characters. What lenient parsers
 * read in two ways (bare LF, folded lines, white space before the colon) is refused, so that nobody behind the proxy
 * can read a head otherwise than the proxy did.
 */
import { LIMITS } from '../dataplane/limits.ts';
import { quoteBriefly } from '../platform/escape.ts';
import { type Malformed, malformed } from '../platform/malformed.ts';

/** Most bytes of a client's head. */
export const HEAD_LIMIT = LIMITS.requestHeadBytes;
/** Most bytes of a server's head: sites with long policies and many cookies send 20 KB. */
export const RESPONSE_HEAD_LIMIT = LIMITS.responseHeadBytes;
/** Most field lines of a head. */
export const FIELD_LIMIT = 256;

export interface Field {
  /** In lower case. */
  readonly name: string;
  /** The line as it came, without its CRLF. */
  readonly line: string;
}

/** The lines of what has come, without their CRLF; `last` is the one that has not ended yet. */
export type HeadLines =
  | { readonly kind: 'more'; readonly ended: readonly string[]; readonly last: string }
  | { readonly kind: 'whole'; readonly ended: readonly string[]; readonly headBytes: number };

/**
 * Splits what has come, from the start line at `from` on. Of too many fields FIELD_LIMIT + 1 are returned.
 * @param limit the head ends before this many bytes
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

/** Reads the lines after the start line, or says what is wrong with the first wrong one. */
export function readFields(lines: readonly string[]): readonly Field[] | Malformed {
  const fields: Field[] = [];
  for (let i = 1; i < lines.length; i++) {
    const field = readField(lines[i] ?? '');
    if ('kind' in field) return field;
    fields.push(field);
  }
  return fields;
}

/** What is certainly wrong with a field line that has not ended. */
export function checkFieldStart(line: string): Malformed | undefined {
  return line.startsWith(' ') || line.startsWith('\t') ? malformed(FOLDED) : checkLineEnd(line);
}

/** What is wrong with the CRs and LFs in a line whose own CRLF, or a part of it, may still come. */
export function checkLineEnd(line: string): Malformed | undefined {
  const cr = line.indexOf('\r');
  const lf = line.indexOf('\n');
  if (lf >= 0 && (cr < 0 || lf < cr)) return malformed('a line ends in LF alone. Hint: HTTP lines end in CR LF');
  return cr >= 0 && cr < line.length - 1 ? malformed('a CR stands alone, without the LF that ends a line') : undefined;
}

/** The value of a field, without the white space around it. */
export function fieldValue({ name, line }: Field): string {
  return trimBlanks(line.slice(name.length + 1));
}

/** Takes off what RFC 9110 5.6.3 calls white space; trim() would take more. */
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

/** Each byte as the character of its number. */
export function latin1({ buffer, byteOffset, length }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, length).toString('latin1');
}

/** `quoteBriefly` of a text in which each character is a byte. */
export function quoteBytes(text: string): string {
  return quoteBriefly(decodeBytes(text));
}

/** For messages: the text that these bytes are in UTF-8, which most senders mean; where they are not, a character each. */
export function decodeBytes(text: string): string {
  const decoded = Buffer.from(text, 'latin1').toString('utf8');
  return decoded.includes('\ufffd') ? text : decoded;
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
