/** The authority of a target: host and port as they stand in a request line or a Host field (RFC 3986 section 3.2). */
import { isIPv6 } from 'node:net';
import { quoteBriefly } from '../platform/escape.ts';
import { type Malformed, malformed } from '../platform/malformed.ts';

export interface Authority {
  /**
   * A text with a colon is an IPv6 address, which stood in brackets; any other consists of ASCII letters, digits, `-`,
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
  if (port !== undefined && port > 65535) return malformed(`port ${port} of ${quoteBriefly(text)} is outside 1–65535`);
  return { host, port };
}

function explain(text: string): string {
  const shown = quoteBriefly(text);
  if (text === '') return 'the target has no host';
  if (text.includes('@')) return 'the target has user information (before an "@"), which is never sent';
  if (text.startsWith('[')) {
    if (text.includes('%')) return `${shown} has a zone. Hint: link-local addresses cannot be used`;
    if (!/^\[[\da-f:.]+\](?::|$)/i.test(text)) return `${shown} is not an IPv6 address in brackets`;
    return isIPv6(text.slice(1, text.indexOf(']'))) ? badPort(shown) : `${shown} is not an IPv6 address in brackets`;
  }
  if (isIPv6(text) || /:.*:/.test(text))
    return `${shown} has too many colons. Hint: an IPv6 address stands in brackets`;
  const stray = /[^\w.:-]/.exec(text)?.[0];
  if (stray !== undefined) return `the host ${shown} contains ${quoteBriefly(stray)}`;
  return text.startsWith(':') ? `${shown} has no host` : badPort(shown);
}

function badPort(shown: string): string {
  return `${shown} has no valid port. Hint: a port is a decimal number from 1 to 65535`;
}
