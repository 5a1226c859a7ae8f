/** Names, IP addresses and ports as the policy compares them: parsed once, canonical ever after. */
import { VsockProxyError } from '../errors.ts';

/** 1–65535. */
export type TcpPort = number & { readonly __brand: 'TcpPort' };
/** A name in its one spelling: ASCII (IDNA), lower case, no trailing dot; never an IP address. */
export type Hostname = string & { readonly __brand: 'Hostname' };
/** Canonical text (RFC 5952) without zone; an IPv4-mapped IPv6 address is its IPv4 address. */
export interface IpAddress {
  readonly text: string;
  readonly family: 4 | 6;
  readonly __brand: 'IpAddress';
}
/** `network` has its host bits cleared. */
export interface Cidr {
  readonly network: IpAddress;
  readonly prefixLength: number;
}

export type TargetHost =
  | { readonly kind: 'name'; readonly name: Hostname }
  | { readonly kind: 'ip'; readonly ip: IpAddress };

/** Why a text is not what it should be: a phrase without its subject, and what to write instead. */
export interface Malformed {
  readonly kind: 'malformed';
  readonly problem: string;
  readonly hint: string;
}

/** A decimal whole number from 1 to 65535, else undefined. */
export function parseTcpPort(_text: string): TcpPort | undefined {
  throw new VsockProxyError('internal', 'not yet written');
}

/** An IP address literal without brackets or zone, else undefined. */
export function parseIpAddress(_text: string): IpAddress | undefined {
  throw new VsockProxyError('internal', 'not yet written');
}

/**
 * The host of a target from the command line.
 * @throws VsockProxyError `argument`: `Remote address is not valid: …`
 */
export function parseTargetHost(_text: string): TargetHost {
  throw new VsockProxyError('internal', 'not yet written');
}

/** `host:port`, with an IPv6 address in brackets. */
export function formatHost(_host: TargetHost): string {
  throw new VsockProxyError('internal', 'not yet written');
}
