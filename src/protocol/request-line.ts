/** The first line of a request to an HTTP proxy: method, target, version (RFC 9112 section 3). */
import { quoteBriefly } from '../platform/escape.ts';
import { type Malformed, malformed } from '../platform/malformed.ts';
import { parseAuthority, parseBareIpv6 } from './authority.ts';
import { checkLineEnd, decodeBytes, quoteBytes } from './head.ts';

/** `status` is the status of the reply. */
export interface MalformedRequest extends Malformed {
  readonly status: 400 | 431 | 501 | 505;
}

export interface RequestLine {
  readonly kind: 'line';
  readonly method: string;
  readonly target: RequestTarget;
  readonly version: '1.0' | '1.1';
}

export interface RequestTarget {
  readonly host: string;
  readonly port: number;
  /** The host and port as the client wrote them in the target. */
  readonly authority: string;
  /** The target that the server gets: path and query, or `*`. */
  readonly origin: string;
  /** The scheme of the target was ws://. */
  readonly webSocket: boolean;
}

/** Methods are upper-case: a server that accepts `get` as `GET` would bypass a policy that names methods. */
const METHOD = /^[A-Z][A-Z\d_-]{0,31}$/;
const REQUEST_LINE = /^([A-Z][A-Z\d_-]{0,31}) ([!-~\x80-\xff]+) HTTP\/1\.([01])$/;
/** Many clients do not escape bytes from 0x80 on in a path, so the proxy forwards them unchanged. */
const ABSOLUTE = /^([a-z][a-z\d+.-]*):\/\/([^/?#]*)([^#]*)(.*)$/i;
const HTTP_PORT = 80;

/** Checks a request line that has not ended, and returns a problem only if the rest of the line cannot mend it. */
export function checkRequestLineStart(text: string): MalformedRequest | undefined {
  const line = text.endsWith('\r') ? text.slice(0, -1) : text;
  if (line === '') return undefined;
  const method = line.slice(0, 33).split(' ', 1)[0] ?? '';
  const ended = line.includes('\n') || line.includes('\r');
  return ended || !METHOD.test(method) ? explainRequestLine(line) : undefined;
}

export function readRequestLine(line: string): RequestLine | MalformedRequest {
  const [, method, text, minor] = REQUEST_LINE.exec(line) ?? [];
  if (method === undefined || text === undefined) return explainRequestLine(line);
  // The reply to TRACE would show the header fields of a client, cookies included, to a page or script that sends it.
  if (method === 'TRACE') return refuse(501, malformed('TRACE is not supported'));
  const target = method === 'CONNECT' ? readTunnelTarget(text) : readAbsoluteTarget(method, text);
  if ('kind' in target) return refuse(400, target);
  return { kind: 'line', method, target, version: minor === '0' ? '1.0' : '1.1' };
}

function explainRequestLine(line: string): MalformedRequest {
  const no = (problem: string) => refuse(400, malformed(problem));
  if (line === '') return no('the request line is empty');
  const first = line.charCodeAt(0);
  if (first === 0x16) return no('that is TLS, not HTTP. Hint: the URL of this proxy begins with http://');
  if (first === 4 || first === 5) return no('that is SOCKS, not HTTP. Hint: the URL of this proxy begins with http://');
  const ending = checkLineEnd(`${line}\r`);
  if (ending !== undefined) return refuse(400, ending);

  const words = line.split(' ');
  const [method = '', target = '', version = ''] = words;
  if (!/^[!#$%&'*+.^_`|~\w-]+$/.test(method)) return no(`${quoteBytes(line)} is not an HTTP request line`);
  if (!METHOD.test(method)) {
    return refuse(
      501,
      malformed(`method ${quoteBytes(method)} is not supported. Hint: methods are upper-case, as in GET`),
    );
  }
  if (words.length === 2 && !target.startsWith('HTTP/')) {
    return refuse(505, malformed('the request line has no version, as in HTTP/0.9. Hint: use HTTP/1.1'));
  }
  if (words.length !== 3 || target === '' || line.includes('\t')) {
    return no('the request line is not method, target and version with one space between each');
  }
  if (/^HTTP\/\d+(?:\.\d+)?$/.test(version) && !/^HTTP\/1\.[01]$/.test(version)) {
    return refuse(505, malformed(`${quoteBytes(version)} is not supported. Hint: use HTTP/1.1`));
  }
  return /^HTTP\/1\.[01]$/.test(version)
    ? no(`the target ${showTarget(target)} has a character that URLs do not have`)
    : no(`the request line ends in ${quoteBytes(version)}. Hint: use HTTP/1.1`);
}

function readTunnelTarget(text: string): RequestTarget | Malformed {
  if (text.includes('/')) return malformed(`${showTarget(text)} is not a target for CONNECT. Hint: write host:port`);
  const authority = parseBareIpv6(text) ?? parseAuthority(text);
  if ('kind' in authority) return authority;
  const { host, port } = authority;
  if (port === undefined) return malformed(`the target ${showTarget(text)} has no port. Hint: write host:port`);
  return { host, port, authority: text, origin: '', webSocket: false };
}

function readAbsoluteTarget(method: string, text: string): RequestTarget | Malformed {
  const [, spelledScheme, authorityText = '', rest = '', fragment = ''] = ABSOLUTE.exec(text) ?? [];
  if (spelledScheme === undefined) {
    const hint = 'this is a proxy: the target is a whole URL, as in GET http://host/path';
    return malformed(`the target ${showTarget(text)} names no server. Hint: ${hint}`);
  }
  const scheme = spelledScheme.toLowerCase();
  if (scheme === 'https' || scheme === 'wss') {
    const hint = `for ${scheme}:// a client asks for a tunnel, CONNECT host:443, and speaks TLS through it (https_proxy does that)`;
    return malformed(`the target ${showTarget(text)} would go on unencrypted. Hint: ${hint}`);
  }
  if (scheme !== 'http' && scheme !== 'ws') {
    return malformed(`the target ${showTarget(text)} is not http://. Hint: use CONNECT for other protocols`);
  }
  // Only the client uses a fragment, so it is not forwarded. Some parsers read the text after its "@" as the host.
  if (rest === '' && fragment.includes('@')) {
    return malformed(`the target ${showTarget(text)} has a fragment with an "@" in place of a path`);
  }
  const host = withoutUserInfo(authorityText);
  if (typeof host === 'object') return host;
  const authority = parseAuthority(host);
  if ('kind' in authority) return authority;
  return {
    host: authority.host,
    port: authority.port ?? HTTP_PORT,
    authority: host,
    webSocket: scheme === 'ws',
    // OPTIONS for the whole server (RFC 9112 section 3.2.4).
    origin: rest === '' && method === 'OPTIONS' ? '*' : rest.startsWith('/') ? rest : `/${rest}`,
  };
}

/**
 * Removes the user information, which a client sends to the server in the Authorization field. A target is malformed
 * if parsers differ about where its user information ends.
 */
function withoutUserInfo(authority: string): string | Malformed {
  const at = authority.lastIndexOf('@');
  return /[\\@]/.test(authority.slice(0, Math.max(at, 0)))
    ? malformed('the user information of the target (before an "@") has a "\\" or "@". Hint: write it as %5C or %40')
    : authority.slice(at + 1);
}

/** Shows a target in a message without the parts that may be secret: user information and query. */
function showTarget(text: string): string {
  return quoteBriefly(decodeBytes(text.split(/[?#]/, 1)[0] ?? '').replace(/^.*@/, '…@'));
}

export function refuse(status: MalformedRequest['status'], { problem }: Malformed): MalformedRequest {
  return { kind: 'malformed', status, problem };
}
