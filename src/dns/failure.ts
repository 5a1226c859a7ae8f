/** The messages for names that could not be resolved. */

import type { Hostname } from '../access/address.ts';
import { VsockProxyError } from '../platform/errors.ts';
import type { Family } from './resolver.ts';

const FAMILY_WORDS: Readonly<Record<Family, string>> = { any: 'IP', ipv4: 'IPv4', ipv6: 'IPv6' };

const CHECK_SERVERS = 'check the nameserver lines of /etc/resolv.conf, and that port 53 is open for UDP and TCP';

/** By c-ares code: the cause, and the hint. */
const CAUSES: Readonly<Record<string, readonly [cause: string, hint: string]>> = {
  ENOTFOUND: ['there is no such name', 'check its spelling, and that the DNS servers of this network know it'],
  ESERVFAIL: [
    'the DNS server could not find out',
    'the servers of that domain, or its DNSSEC signatures, may be broken',
  ],
  EREFUSED: ['the DNS server refuses to answer', CHECK_SERVERS],
  ENOTIMP: ['the DNS server does not know this kind of query', CHECK_SERVERS],
  EFORMERR: ['the DNS server did not understand the query', CHECK_SERVERS],
  EBADRESP: ['the answer of the DNS server makes no sense', CHECK_SERVERS],
  ETIMEOUT: ['no DNS server answered in time', CHECK_SERVERS],
  ECONNREFUSED: ['no DNS server can be reached', CHECK_SERVERS],
};

/** Whether the server answered that there is nothing. Other codes mean that it failed to answer. */
export function isDefinitive(code: string): boolean {
  return code === 'ENOTFOUND' || code === 'ENODATA';
}

export interface LookupFailure {
  /** The code of c-ares, such as `ENOTFOUND`. */
  readonly code: string;
  /** The servers that received the query. */
  readonly servers: readonly string[];
  /** The name has addresses of this family only, which is not the requested one. */
  readonly onlyFamily?: 4 | 6 | undefined;
}

export function resolveError(name: Hostname, family: Family, failure: LookupFailure): VsockProxyError {
  const { code, servers, onlyFamily } = failure;
  const head = `Could not resolve ${name}: ${code}:`;
  if (onlyFamily !== undefined) {
    const hint = `leave out the option ${family === 'ipv4' ? '-4' : '-6'}, or the key ip_family`;
    return new VsockProxyError('resolve-failed', `${head} it has only IPv${onlyFamily} addresses`, {
      hint,
      errno: code,
    });
  }
  if (code === 'ENODATA') {
    const hint = 'check its spelling; the name may stand for a domain or a mail server only';
    return new VsockProxyError('resolve-failed', `${head} it has no ${FAMILY_WORDS[family]} address`, {
      hint,
      errno: code,
    });
  }
  const [cause, hint] = CAUSES[code] ?? ['the query failed', CHECK_SERVERS];
  const asked = `asked: ${servers.join(', ')}`;
  return new VsockProxyError('resolve-failed', `${head} ${cause} (${asked})`, { hint, errno: code });
}

/** Turns the reason for which a query was rejected into an error about the name. */
export function toError(reason: unknown, name: Hostname): VsockProxyError {
  if (reason instanceof VsockProxyError) return reason;
  return new VsockProxyError('resolve-failed', `Could not resolve ${name}: ${String(reason)}`, { cause: reason });
}
