/** The authority of a target: host and port in a request line (RFC 3986 section 3.2). */
import { quoteBriefly } from '../platform/escape.ts';
import { type Malformed, malformed } from '../platform/malformed.ts';
import { isIPv6 } from '../platform/system/ip.ts';
import { decodeBytes, quoteBytes } from './head.ts';

export interface Authority {
  /**
   * A text with a colon is an IPv6 address, which had brackets. Any other text consists of ASCII letters, digits, `-`,
   * `.` and `_`: a name or an IPv4 address.
   */
  readonly host: string;
  readonly port: number | undefined;
}

const AUTHORITY = /^(?:\[([\da-f:.]+)\]|([\w.-]+))(?::([1-9]\d{0,4}))?$/i;

export function parseAuthority(text: string): Authority | Malformed {
  const [, ipv6, name, digits] = AUTHORITY.exec(text) ?? [];
  const host = name ?? ipv6;
  const port = digits === undefined ? undefined : Number(digits);
  if (host === undefined || (ipv6 !== undefined && !isIPv6(ipv6))) return malformed(explain(text));
  if (port !== undefined && port > 65535) return malformed(`port ${port} of ${quoteBytes(text)} is outside 1–65535`);
  return { host, port };
}

/**
 * Parses `address:port` with an IPv6 address without brackets, as many clients write it in CONNECT. There the last
 * number can only be the port. Undefined for anything else.
 */
export function parseBareIpv6(text: string): Authority | undefined {
  const [, host = '', digits] = /^([\da-f:.]+):([1-9]\d{0,4})$/i.exec(text) ?? [];
  const port = Number(digits);
  return isIPv6(host) && port <= 65535 ? { host, port } : undefined;
}

function explain(text: string): string {
  const shown = quoteBytes(text);
  if (text === '') return 'the target has no host';
  if (text.includes('@')) return 'the target has user information (before an "@"), which is never sent';
  if (text.startsWith('[')) {
    if (text.includes('%')) return `${shown} has a zone. Hint: link-local addresses cannot be used`;
    if (!/^\[[\da-f:.]+\](?::|$)/i.test(text)) return `${shown} is not an IPv6 address in brackets`;
    return isIPv6(text.slice(1, text.indexOf(']'))) ? badPort(shown) : `${shown} is not an IPv6 address in brackets`;
  }
  if (isIPv6(text) || /:.*:/.test(text))
    return `${shown} has too many colons. Hint: an IPv6 address stands in brackets, as in [::1]:443`;
  const stray = /[^\w.:-]/u.exec(decodeBytes(text))?.[0];
  if (stray !== undefined) {
    const hint = stray > '\x7f' ? '. Hint: names stand in ASCII, as in xn--mller-kva.example' : '';
    return `the host ${shown} contains ${quoteBriefly(stray)}${hint}`;
  }
  return text.startsWith(':') ? `${shown} has no host` : badPort(shown);
}

function badPort(shown: string): string {
  return `${shown} has no valid port. Hint: a port is a decimal number from 1 to 65535`;
}
