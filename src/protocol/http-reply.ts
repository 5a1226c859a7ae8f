/** The replies of the proxy itself: that a tunnel is established, or why a request failed. */
import { escapeControls } from '../platform/escape.ts';

/** The status is never 401 or 407: credentials do not help, and a client that is challenged would send them. */
const PHRASES = {
  400: 'Bad Request',
  403: 'Forbidden',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  505: 'HTTP Version Not Supported',
} as const;

export type ReplyStatus = keyof typeof PHRASES;

/**
 * For each kind of failure: the status, and the error type of Proxy-Status (RFC 9209 section 2.3, and IANA's registry
 * of HTTP Proxy Error Types). The statuses are the registered recommendations, with one exception. Addresses that the
 * policy refuses have 403, because that is a refusal, and no fault of the gateway.
 */
export const FAILURES = {
  /** The request is malformed; its parser sets the status. */
  'bad-request': { status: 400, proxyStatus: 'http_request_error' },
  /** The policy denies the target. */
  denied: { status: 403, proxyStatus: 'http_request_denied' },
  /** The policy denies every address of the target. */
  'address-denied': { status: 403, proxyStatus: 'destination_ip_prohibited' },
  /** A limit of connections or of their rate is reached. */
  limit: { status: 503, proxyStatus: 'connection_limit_reached' },
  'dns-failed': { status: 502, proxyStatus: 'dns_error' },
  'dns-timeout': { status: 504, proxyStatus: 'dns_timeout' },
  refused: { status: 502, proxyStatus: 'connection_refused' },
  unroutable: { status: 502, proxyStatus: 'destination_ip_unroutable' },
  'connect-timeout': { status: 504, proxyStatus: 'connection_timeout' },
  /** The connection to the server was reset or closed before a response. */
  terminated: { status: 502, proxyStatus: 'connection_terminated' },
  /** The response of the server is malformed, or cannot be passed on safely. */
  'bad-response': { status: 502, proxyStatus: 'http_protocol_error' },
  internal: { status: 500, proxyStatus: 'proxy_internal_error' },
} as const satisfies Readonly<Record<string, { readonly status: ReplyStatus; readonly proxyStatus: string }>>;

export type FailureKind = keyof typeof FAILURES;
export type ProxyErrorType = (typeof FAILURES)[FailureKind]['proxyStatus'];

export interface ReplyDetails {
  /** One line for the user; unprintable characters are escaped, and the text is cut after 500 characters. */
  readonly reason: string;
  readonly proxyStatus?: ProxyErrorType;
  /** The connection stays open for the next request. Only if this request was read completely. */
  readonly keepAlive?: boolean;
  /** The method of the request, if it is known: a reply to HEAD has no body. */
  readonly method?: string;
  /** The default is text. */
  readonly form?: ReplyForm;
}

/**
 * The form of the reason in the body. SDKs print the `message` of a JSON body, and report any other body as a syntax
 * error. Other programs print the body as it is.
 */
export type ReplyForm = 'text' | 'json';

const MAX_REASON = 500;
/** The most characters of the reason in the status line. */
const MAX_PHRASE = 200;

/**
 * A complete response. The status line also has the reason, because most clients of a proxy print only that line if
 * CONNECT is refused.
 */
export function reply(status: ReplyStatus, details: ReplyDetails): Buffer {
  const { reason, proxyStatus, keepAlive = false, method, form = 'text' } = details;
  const text = escapeControls(reason.length > MAX_REASON ? `${reason.slice(0, MAX_REASON)}…` : reason);
  const body = Buffer.from(form === 'json' ? `${JSON.stringify({ message: text })}\n` : `${text}\n`);
  const head =
    `HTTP/1.1 ${status} ${PHRASES[status]}: ${phraseOf(text)}\r\n` +
    `Content-Type: ${form === 'json' ? 'application/json' : 'text/plain; charset=utf-8'}\r\n` +
    `Content-Length: ${body.length}\r\n` +
    (proxyStatus === undefined
      ? ''
      : `Proxy-Status: vsock-proxy; error=${proxyStatus}; details=${sfString(text)}\r\n`) +
    `Connection: ${keepAlive ? 'keep-alive' : 'close'}\r\n\r\n`;
  return method === 'HEAD' ? Buffer.from(head) : Buffer.concat([Buffer.from(head), body]);
}

/**
 * The answer to CONNECT; the bytes after it are the server's. It has no body, and no fields about one (RFC 9110 9.3.6).
 */
export const CONNECT_ESTABLISHED = Buffer.from('HTTP/1.1 200 Connection established\r\n\r\n');

/** The reason in a reply of such a proxy: `message` of JSON, or otherwise the first line. */
export function reasonIn(body: string): string {
  const [line = ''] = body.slice(0, MAX_REASON * 2).split('\n', 1);
  try {
    const { message } = (JSON.parse(line) ?? {}) as { readonly message?: unknown };
    if (typeof message === 'string') return message.slice(0, MAX_REASON);
  } catch {
    // The body is text.
  }
  return line.slice(0, MAX_REASON);
}

/** For the end of a status line, which not every client reads as UTF-8. */
function phraseOf(text: string): string {
  const ascii = inAscii(text);
  return ascii.length > MAX_PHRASE ? `${ascii.slice(0, MAX_PHRASE)}...` : ascii;
}

/** A string of RFC 8941 section 3.3.3, which is ASCII. */
function sfString(text: string): string {
  return `"${inAscii(text).replace(/[\\"]/g, '\\$&')}"`;
}

function inAscii(text: string): string {
  return text.replace(/[^ -~]/gu, (char) => `\\u{${char.codePointAt(0)?.toString(16)}}`);
}
