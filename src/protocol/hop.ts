/**
 * The fields of a head that concern this connection only (RFC 9110 section 7.6.1), and the framing of the body (RFC
 * 9112 section 6).
 */
import { type Malformed, malformed } from '../platform/malformed.ts';
import { type Field, fieldValue, quoteBytes, trimBlanks } from './head.ts';

/** The common results for requests and responses. */
export interface Hop {
  /** The options of `Connection`, in lower case: names of fields for this connection only, `close`, `keep-alive`. */
  readonly options: ReadonlySet<string>;
  /** At most one of the two. */
  readonly contentLength: number | undefined;
  readonly chunked: boolean;
}

/**
 * Fields for this connection only: RFC 9110 7.6.1 and 11.7, and Proxy-Connection, which clients still send. `Trailer`
 * and `Expect` are for the other end.
 */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
]);

/**
 * Fields that `Connection` must not remove, because they frame, route or protect the message. Transfer-Encoding is not
 * one of them: it is always for this connection. It is read in any case, and written anew.
 */
const END_TO_END: ReadonlySet<string> = new Set([
  'authorization',
  'cache-control',
  'content-encoding',
  'content-length',
  'content-range',
  'content-type',
  'cookie',
  'date',
  'expect',
  'host',
  'location',
  'range',
  'set-cookie',
  'via',
]);

/** The only protocol to which a connection may be upgraded. */
export const WEB_SOCKET = 'websocket';
export const UPGRADE_LINES = `Connection: Upgrade\r\nUpgrade: ${WEB_SOCKET}\r\n`;

/** The most elements of a list of options, including empty ones. */
const OPTION_LIMIT = 32;

export function readHop(fields: readonly Field[]): Hop | Malformed {
  const options = connectionOptions(fields, 'connection');
  if ('kind' in options) return options;
  for (const option of options) {
    if (END_TO_END.has(option)) {
      return malformed(`Connection names ${quoteBytes(option)}, which is for the other end`);
    }
  }

  const length = onlyValue(fields, 'content-length');
  const coding = onlyValue(fields, 'transfer-encoding');
  if (typeof length === 'object') return length;
  if (typeof coding === 'object') return coding;
  if (length !== undefined && coding !== undefined) return malformed('both Content-Length and Transfer-Encoding');
  // Each number has one spelling, and is far below the numbers that lose digits.
  if (length !== undefined && !/^(?:0|[1-9]\d{0,14})$/.test(length)) {
    return malformed(`Content-Length is ${quoteBytes(length)}. Hint: it is one decimal number`);
  }
  if (coding !== undefined && coding.toLowerCase() !== 'chunked') {
    return malformed(`Transfer-Encoding is ${quoteBytes(coding)}. Hint: only "chunked" is supported`);
  }
  return { options, contentLength: length === undefined ? undefined : Number(length), chunked: coding !== undefined };
}

/** The options in all fields of this name. */
export function connectionOptions(fields: readonly Field[], name: string): ReadonlySet<string> | Malformed {
  const options = new Set<string>();
  for (const field of fields) {
    if (field.name !== name) continue;
    const elements = fieldValue(field).split(',', OPTION_LIMIT + 1);
    if (elements.length > OPTION_LIMIT)
      return malformed(`${quoteBytes(field.line)} lists more than ${OPTION_LIMIT} options`);
    for (const element of elements) {
      const option = trimBlanks(element).toLowerCase();
      if (option === '') continue;
      if (!/^[!#$%&'*+.^_`|~\w-]+$/.test(option)) {
        return malformed(`${quoteBytes(field.line)} lists ${quoteBytes(option)}, which is not a token`);
      }
      options.add(option);
    }
  }
  return options;
}

/** The value of a field that may occur once; undefined if it is absent. */
export function onlyValue(fields: readonly Field[], name: string): string | undefined | Malformed {
  let found: Field | undefined;
  for (const field of fields) {
    if (field.name !== name) continue;
    if (found !== undefined) return malformed(`more than one ${found.line.slice(0, name.length)} field`);
    found = field;
  }
  return found === undefined ? undefined : fieldValue(found);
}

/** The lines for the other end, each with its CRLF, byte for byte as received, without those named in `except`. */
export function endToEndLines(fields: readonly Field[], { options }: Hop, except?: string): string {
  let lines = '';
  for (const { name, line } of fields) {
    if (name !== except && !HOP_BY_HOP.has(name) && !options.has(name)) lines += `${line}\r\n`;
  }
  return lines;
}
