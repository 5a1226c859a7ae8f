/** The interface to a resolver of names. */
import type { Hostname, IpAddress } from '../access/address.ts';

/** The address family; `any` has IPv4 before IPv6. */
export type Family = 'any' | 'ipv4' | 'ipv6';

export interface Answer {
  /**
   * At least one address. IPv4 comes before IPv6, and each family is in the order of the answer, without duplicates.
   */
  readonly addresses: readonly IpAddress[];
  readonly ttlMs: number;
  /** `localhost` is built in; `hosts` is /etc/hosts. */
  readonly source: 'hosts' | 'dns' | 'localhost';
  /** With family `any`: the query for the other family failed, so addresses may be missing. */
  readonly incomplete?: { readonly missing: 4 | 6; readonly code: string };
}

export interface Resolver {
  /**
   * Takes about five seconds at most.
   * @throws VsockProxyError `resolve-failed`; `errno` is the c-ares code (`ENOTFOUND`, `ENODATA`, `ESERVFAIL`,
   * `ETIMEOUT`, …)
   * @throws the reason of `signal`, if that aborts
   */
  resolve(name: Hostname, family: Family, signal: AbortSignal): Promise<Answer>;
}
