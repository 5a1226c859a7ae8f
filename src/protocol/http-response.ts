/**
 * The head of a server's response, rewritten for the client (RFC 9110, RFC 9112).
 *
 * The client's connection may live on after the response only if the end of the response is unambiguous.
 */
import { type Malformed, malformed } from '../platform/malformed.ts';
import type { Framing } from './framing.ts';
import {
  checkFieldStart,
  checkLineEnd,
  decodeBytes,
  FIELD_LIMIT,
  type Field,
  quoteBytes,
  RESPONSE_HEAD_LIMIT,
  readFields,
  splitHead,
} from './head.ts';
import { endToEndLines, type Hop, onlyValue, readHop, UPGRADE_LINES, WEB_SOCKET } from './hop.ts';
import type { ForwardRequest } from './http-request.ts';

/** A 1xx response; another one follows. */
export interface InterimResponse {
  readonly kind: 'interim';
  readonly headBytes: number;
  /** The head for the client; empty for a client of HTTP/1.0, which has no interim responses. */
  readonly head: Buffer;
}

/** 101: from here on the connection belongs to the WebSocket. */
export interface SwitchedResponse {
  readonly kind: 'switched';
  readonly headBytes: number;
  /** The head for the client that replaces these bytes. The bytes after it are the server's, unchanged. */
  readonly head: Buffer;
}

export interface FinalResponse {
  readonly kind: 'final';
  readonly status: number;
  /** The reason phrase. */
  readonly phrase: string;
  readonly headBytes: number;
  /** The head for the client that replaces these bytes. The body follows unchanged. */
  readonly head: Buffer;
  readonly body: Framing;
  /** The head says that the client may send another request on its connection. */
  readonly keepAlive: boolean;
  /** So may the proxy on the server's connection, if the body itself shows its end. */
  readonly serverStays: boolean;
}

export type ParsedResponse = { readonly kind: 'more' } | Malformed | InterimResponse | SwitchedResponse | FinalResponse;

/** The facts about the request that decide how its response is read. */
export type Asked = Pick<ForwardRequest, 'method' | 'keepAlive' | 'version'> &
  Partial<Pick<ForwardRequest, 'webSocket' | 'form'>>;

/** Parses a response head from all bytes of the server since the last response; `malformed` leads to a reply of 502. */
export function parseResponse(bytes: Uint8Array, request: Asked): ParsedResponse {
  const lines = splitHead(bytes, 0, RESPONSE_HEAD_LIMIT);
  const [startLine] = lines.ended;
  const unfinished = bytes.length < RESPONSE_HEAD_LIMIT ? MORE : TOO_LARGE;

  if (startLine === undefined && lines.kind === 'more') {
    return checkStatusLineStart(lines.last) ?? unfinished;
  }
  const line = readStatusLine(startLine ?? '');
  if (line.kind === 'malformed') return line;
  const fields = readFields(lines.ended);
  if ('kind' in fields) return fields;
  if (fields.length > FIELD_LIMIT) return TOO_MANY_FIELDS;
  if (lines.kind === 'more') return checkFieldStart(lines.last) ?? unfinished;
  return understand(line, fields, lines.headBytes, request);
}

const MORE = { kind: 'more' } as const;
const TOO_LARGE = malformed(`the response head is larger than ${RESPONSE_HEAD_LIMIT} bytes`);
/** The answer of a proxy on the way to a request that is not CONNECT, or of a server that may not say this. */
export const WANTS_CREDENTIALS = malformed('the server answers 407, which only a proxy may');
const TOO_MANY_FIELDS = malformed(`the response has more than ${FIELD_LIMIT} header fields`);

interface StatusLine {
  readonly kind: 'line';
  readonly version: '1.0' | '1.1';
  readonly status: number;
  readonly reason: string;
}

/** Many servers leave out the space after the status, and nobody misreads that. */
const STATUS_LINE = /^HTTP\/1\.([01]) ([1-5]\d\d)(?: ([\t -~\x80-\xff]*))?$/;
const PROTOCOL = 'HTTP/1.';

function checkStatusLineStart(text: string): Malformed | undefined {
  return PROTOCOL.startsWith(text.slice(0, PROTOCOL.length)) ? checkLineEnd(text) : explainStatusLine(text);
}

function readStatusLine(line: string): StatusLine | Malformed {
  const [, minor, status, reason] = STATUS_LINE.exec(line) ?? [];
  if (minor === undefined) return explainStatusLine(line);
  return { kind: 'line', version: minor === '0' ? '1.0' : '1.1', status: Number(status), reason: reason ?? '' };
}

function explainStatusLine(line: string): Malformed {
  return checkLineEnd(`${line}\r`) ?? malformed(`the server's ${quoteBytes(line)} is not an HTTP/1.1 status line`);
}

function understand(line: StatusLine, fields: readonly Field[], headBytes: number, request: Asked): ParsedResponse {
  const { status, version } = line;
  const hop = readHop(fields);
  if ('kind' in hop) return hop;
  if (hop.chunked && version === '1.0') return malformed('Transfer-Encoding in an HTTP/1.0 response');
  if (status === 101 && !isToWebSocket(fields, hop, request)) {
    return malformed('the server switches protocols (101), which nobody has asked for');
  }
  // A client would believe that this proxy requires its user and password. In answer to CONNECT, a proxy may send 407.
  if (status === 407 && request.method !== 'CONNECT') return WANTS_CREDENTIALS;
  const bodiless = status < 200 || status === 204;
  if (bodiless && (hop.chunked || (hop.contentLength ?? 0) > 0)) {
    return malformed(`the server announces a body for status ${status}, which has none`);
  }

  if (status === 101) {
    const head = `${startOf(line, fields, hop, 'content-length')}${UPGRADE_LINES}\r\n`;
    return { kind: 'switched', headBytes, head: Buffer.from(head, 'latin1') };
  }
  if (status < 200) {
    const head = request.version === '1.0' ? '' : `${startOf(line, fields, hop, 'content-length')}\r\n`;
    return { kind: 'interim', headBytes, head: Buffer.from(head, 'latin1') };
  }
  const body = bodyOf(status, hop, request.method);
  if (body.kind === 'chunked' && request.version === '1.0') {
    return malformed('the server sends chunks, which a client of HTTP/1.0 cannot read');
  }
  const keepAlive = request.keepAlive && request.version === '1.1' && version === '1.1' && body.kind !== 'eof';
  const head =
    startOf(line, fields, hop, bodiless ? 'content-length' : undefined) +
    (body.kind === 'chunked' ? 'Transfer-Encoding: chunked\r\n' : '') +
    `Connection: ${keepAlive ? 'keep-alive' : 'close'}\r\n\r\n`;
  return {
    kind: 'final',
    status,
    phrase: decodeBytes(line.reason).trim(),
    headBytes,
    head: Buffer.from(head, 'latin1'),
    body,
    keepAlive,
    serverStays: version === '1.1' && !hop.options.has('close') && (body.kind === 'length' || body.kind === 'chunked'),
  };
}

function isToWebSocket(fields: readonly Field[], { options }: Hop, { webSocket = false }: Asked): boolean {
  const upgrade = onlyValue(fields, 'upgrade');
  return webSocket && options.has('upgrade') && typeof upgrade === 'string' && upgrade.toLowerCase() === WEB_SOCKET;
}

/** RFC 9112 6.3, in its order. */
function bodyOf(status: number, { chunked, contentLength }: Hop, method: string): Framing {
  if (method === 'HEAD' || status === 204 || status === 304) return { kind: 'none' };
  if (chunked) return { kind: 'chunked' };
  return contentLength === undefined ? { kind: 'eof' } : { kind: 'length', bytes: contentLength };
}

/** The status line and fields for the client. The version is the proxy's own (RFC 9112 2.3); `Via` has the server's. */
function startOf(line: StatusLine, fields: readonly Field[], hop: Hop, except: string | undefined): string {
  const { status, reason, version } = line;
  return `HTTP/1.1 ${status} ${reason}\r\n${endToEndLines(fields, hop, except)}Via: ${version} vsock-proxy\r\n`;
}
