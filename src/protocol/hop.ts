/**
 * What the fields of a head say about this one connection, rather than to whoever is at its end (RFC 9110 section 7.6.1),
 * and how long the body is (RFC 9112 section 6).
 */
import { type Malformed, malformed } from '../platform/malformed.ts';
import { type Field, fieldValue, quoteBytes, trimBlanks } from './head.ts';

/** What requests and responses have in common. */
export interface Hop {
  /** Options of `Connection`, in lower case: names of fields for this connection only, `close`, `keep-alive`. */
  readonly options: ReadonlySet<string>;
  /** At most one of the two. */
  readonly contentLength: number | undefined;
  readonly chunked: boolean;
}

/** RFC 9110 7.6.1 and 11.7, and Proxy-Connection, which clients still send. `Trailer` and `Expect` are for the other end. */
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
 * What nobody may have taken out by naming it in `Connection`: it frames, routes or guards the message. Not
 * Transfer-Encoding, which is for this connection by nature: it is read whatever names it, and written anew.
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

/** The one protocol that a connection may be upgraded to. */
export const WEB_SOCKET = 'websocket';
export const UPGRADE_LINES = `Connection: Upgrade\r\nUpgrade: ${WEB_SOCKET}\r\n`;

/** Most elements of a list of options, empty ones too. */
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
  // One spelling for each number, and far from where numbers lose their last digits.
  if (length !== undefined && !/^(?:0|[1-9]\d{0,14})$/.test(length)) {
    return malformed(`Content-Length is ${quoteBytes(length)}. Hint: it is one decimal number`);
  }
  if (coding !== undefined && coding.toLowerCase() !== 'chunked') {
    return malformed(`Transfer-Encoding is ${quoteBytes(coding)}. Hint: only "chunked" is supported`);
  }
  return { options, contentLength: length === undefined ? undefined : Number(length), chunked: coding !== undefined };
}

/** The options listed in all fields of this name. */
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

/** The value of a field that may stand once; undefined where it does not stand. */
export function onlyValue(fields: readonly Field[], name: string): string | undefined | Malformed {
  let found: Field | undefined;
  for (const field of fields) {
    if (field.name !== name) continue;
    if (found !== undefined) return malformed(`more than one ${found.line.slice(0, name.length)} field`);
    found = field;
  }
  return found === undefined ? undefined : fieldValue(found);
}

/** The lines, each with its CRLF, that go on to the other end, byte for byte as they came; without those named `except`. */
export function endToEndLines(fields: readonly Field[], { options }: Hop, except?: string): string {
  let lines = '';
  for (const { name, line } of fields) {
    if (name !== except && !HOP_BY_HOP.has(name) && !options.has(name)) lines += `${line}\r\n`;
  }
  return lines;
}
