/** What the rest of the program knows about resolving names. */
import type { Hostname, IpAddress } from '../access/address.ts';

/** Which addresses are wanted; `any` lists IPv4 before IPv6. */
export type Family = 'any' | 'ipv4' | 'ipv6';

export interface Answer {
  /** At least one. IPv4 before IPv6, within a family in the order of the answer, no duplicates. */
  readonly addresses: readonly IpAddress[];
  readonly ttlMs: number;
  /** `localhost` is built in, `hosts` is /etc/hosts. */
  readonly source: 'hosts' | 'dns' | 'localhost';
  /** With family `any`: the other family could not be asked, so addresses may be missing. */
  readonly incomplete?: { readonly missing: 4 | 6; readonly code: string };
}

export interface Resolver {
  /**
   * Takes about five seconds at most.
   * @throws VsockProxyError `resolve-failed`; `errno` is the c-ares code (`ENOTFOUND`, `ENODATA`, `ESERVFAIL`, `ETIMEOUT`, …).
   * When `signal` aborts, its reason.
   */
  resolve(name: Hostname, family: Family, signal: AbortSignal): Promise<Answer>;
}
