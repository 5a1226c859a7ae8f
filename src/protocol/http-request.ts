/**
 * The head of a request to an HTTP proxy: CONNECT, or a request in absolute form, which is sent on in origin form (RFC
 * 9110, RFC 9112).
 *
 * The head for the server is written here, line by line, from the parsed one. Nothing unparsed goes on.
 */
import { type Malformed, malformed } from '../platform/malformed.ts';
import type { RequestFraming } from './framing.ts';
import { checkFieldStart, FIELD_LIMIT, type Field, fieldValue, HEAD_LIMIT, readFields, splitHead } from './head.ts';
import { connectionOptions, endToEndLines, type Hop, onlyValue, readHop, UPGRADE_LINES, WEB_SOCKET } from './hop.ts';
import type { ReplyForm } from './http-reply.ts';
import {
  checkRequestLineStart,
  type MalformedRequest,
  type RequestLine,
  readRequestLine,
  refuse,
} from './request-line.ts';

export type { MalformedRequest };

/** A tunnel to host:port. */
export interface ConnectRequest {
  readonly kind: 'connect';
  /** See {@link Authority}: a host with a colon is an IPv6 address. */
  readonly host: string;
  readonly port: number;
  /** Bytes up to the end of the head. The bytes after it are for the server. */
  readonly headBytes: number;
}

/** One request, with its own exchange with the server. */
export interface ForwardRequest {
  readonly kind: 'forward';
  readonly method: string;
  /** See {@link Authority}: a host with a colon is an IPv6 address. */
  readonly host: string;
  readonly port: number;
  /** The version of the client, which is also used for the server. */
  readonly version: '1.0' | '1.1';
  /** Bytes up to the end of the head. The body follows. */
  readonly headBytes: number;
  /** The head for the server that replaces them: origin form, for this connection only. */
  readonly head: Buffer;
  readonly body: RequestFraming;
  /** The client's connection may carry another request after this one. */
  readonly keepAlive: boolean;
  /** So may the server's connection, because its head does not say that this request is the last. */
  readonly persistent: boolean;
  /**
   * A request for a WebSocket: after the server has answered 101, the connection is a tunnel (RFC 9110 7.8, RFC 6455
   * 4).
   */
  readonly webSocket: boolean;
  /** The form of the reason if there is no response for the client. */
  readonly form: ReplyForm;
}

export type ParsedRequest = { readonly kind: 'more' } | MalformedRequest | ConnectRequest | ForwardRequest;

export interface RequestOptions {
  /** A server may get more than one request on a connection. */
  readonly reuse?: boolean;
}

/**
 * Parses a request head from all bytes that the client has sent so far.
 *
 * `malformed` is returned as soon as it is certain. The status is that of the reply.
 */
export function parseRequest(bytes: Uint8Array, { reuse = false }: RequestOptions = {}): ParsedRequest {
  const start = skipEmptyLine(bytes);
  if (typeof start === 'object') return refuse(400, start);
  const lines = splitHead(bytes, start, HEAD_LIMIT);
  const [startLine] = lines.ended;

  if (startLine === undefined && lines.kind === 'more') {
    const problem = checkRequestLineStart(lines.last);
    if (problem !== undefined) return problem;
    return bytes.length < HEAD_LIMIT ? MORE : TOO_LARGE;
  }
  const line = readRequestLine(startLine ?? '');
  if (line.kind === 'malformed') return line;

  const fields = readFields(lines.ended);
  if ('kind' in fields) return refuse(400, fields);
  if (fields.length > FIELD_LIMIT) return TOO_MANY_FIELDS;
  if (lines.kind === 'more') {
    const problem = checkFieldStart(lines.last);
    if (problem !== undefined) return refuse(400, problem);
    return bytes.length < HEAD_LIMIT ? MORE : TOO_LARGE;
  }
  return understand(line, fields, lines.headBytes, reuse);
}

const MORE = { kind: 'more' } as const;
const TOO_LARGE = refuse(431, malformed(`the request head is larger than ${HEAD_LIMIT} bytes`));
const TOO_MANY_FIELDS = refuse(431, malformed(`the request has more than ${FIELD_LIMIT} header fields`));

/**
 * RFC 9112 2.2 says to ignore an empty line before a request, which some clients send after a body. At most one is
 * ignored.
 */
function skipEmptyLine(bytes: Uint8Array): 0 | 2 | Malformed {
  if (bytes[0] !== 0x0d) return 0;
  return bytes.length === 1 || bytes[1] === 0x0a ? 2 : malformed('a CR stands alone, without the LF that ends a line');
}

/** Checks the fields of a request together, and writes the head for the server. */
function understand(line: RequestLine, fields: readonly Field[], headBytes: number, reuse: boolean): ParsedRequest {
  const { method, target, version } = line;
  const { host, port } = target;
  const hop = readHop(fields);
  if ('kind' in hop) return refuse(400, hop);
  // RFC 9112 3.2.2: the target decides, and Host is written anew from it. The value of Host is not read.
  const named = onlyValue(fields, 'host');
  if (typeof named === 'object') return refuse(400, named);

  if (method === 'CONNECT') {
    return hop.chunked || (hop.contentLength ?? 0) > 0
      ? refuse(400, malformed('CONNECT with a body. Hint: Content-Length and Transfer-Encoding have no meaning there'))
      : { kind: 'connect', host, port, headBytes };
  }
  if (hop.chunked && version === '1.0') return refuse(400, malformed('Transfer-Encoding in an HTTP/1.0 request'));
  if (method === 'OPTIONS' && fields.some(({ name }) => name === 'max-forwards')) {
    return refuse(501, malformed('OPTIONS with Max-Forwards is not supported'));
  }
  const obsolete = connectionOptions(fields, 'proxy-connection');
  if ('kind' in obsolete) return refuse(400, obsolete);
  const webSocket = asksForWebSocket(line, fields, hop);
  if (target.webSocket && !webSocket) {
    const hint = 'use http://, or a tunnel by CONNECT, in which anything may be spoken';
    return refuse(400, malformed(`ws:// in a request that does not ask for a WebSocket by Upgrade. Hint: ${hint}`));
  }
  const keepAlive = !webSocket && version === '1.1' && !hop.options.has('close') && !obsolete.has('close');
  // A server might see the end of a body differently, and take the rest for a request. A request other than GET must
  // not be sent twice (RFC 9110 9.2.2).
  const persistent = reuse && keepAlive && method === 'GET' && bodyOf(hop).kind === 'none';
  return {
    kind: 'forward',
    method,
    host,
    port,
    version,
    headBytes,
    head: writeHead(line, fields, hop, webSocket ? UPGRADE_LINES : persistent ? '' : 'Connection: close\r\n'),
    body: bodyOf(hop),
    keepAlive,
    persistent,
    webSocket,
    form: formFor(fields),
  };
}

/**
 * A client that sends Accept gets JSON if Accept includes it. A client without Accept is an SDK, which expects JSON, or
 * a program that does not show the body.
 */
function formFor(fields: readonly Field[]): ReplyForm {
  const accepted = fields.filter(({ name }) => name === 'accept').map((field) => fieldValue(field).toLowerCase());
  return accepted.length === 0 || accepted.some((each) => each.includes('json')) ? 'json' : 'text';
}

/** Other protocols are not passed on. A server may ignore any Upgrade, and clients can do without. */
function asksForWebSocket({ method, version }: RequestLine, fields: readonly Field[], hop: Hop): boolean {
  if (method !== 'GET' || version === '1.0' || !hop.options.has('upgrade')) return false;
  const upgrade = onlyValue(fields, 'upgrade');
  return typeof upgrade === 'string' && upgrade.toLowerCase() === WEB_SOCKET && bodyOf(hop).kind === 'none';
}

function bodyOf({ chunked, contentLength }: Hop): RequestFraming {
  if (chunked) return { kind: 'chunked' };
  return contentLength === undefined ? { kind: 'none' } : { kind: 'length', bytes: contentLength };
}

/**
 * The head for the server. RFC 9110 7.6.3 requires `Via` of a proxy. It tells the server's operator why requests come
 * from the parent, and names nobody. A client of HTTP/1.0 cannot read chunks, so its request goes on as HTTP/1.0, and
 * the server sends none.
 */
function writeHead(
  { method, target, version }: RequestLine,
  fields: readonly Field[],
  hop: Hop,
  connection: string,
): Buffer {
  const head =
    `${method} ${target.origin} HTTP/${version}\r\nHost: ${target.authority}\r\n` +
    endToEndLines(fields, hop, 'host') +
    (hop.chunked ? 'Transfer-Encoding: chunked\r\n' : '') +
    `Via: ${version} vsock-proxy\r\n${connection}\r\n`;
  return Buffer.from(head, 'latin1');
}
