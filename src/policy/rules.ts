/** The allowlist: what may be reached, decided before anything is resolved. */
import { VsockProxyError } from '../errors.ts';
import type { Cidr, Hostname, IpAddress, TargetHost, TcpPort } from './address.ts';

export type RuleAddress = TargetHost | { readonly kind: 'cidr'; readonly cidr: Cidr };

/** One allowlist entry. */
export interface Rule {
  readonly address: RuleAddress;
  readonly port: TcpPort;
  /** The address as written in the file. */
  readonly text: string;
  /** Where it is written, as `path:line`. */
  readonly place: string;
}
export type NameRule = Rule & { readonly address: { readonly kind: 'name'; readonly name: Hostname } };

/** What a client is to be connected to. */
export interface Target {
  readonly host: TargetHost;
  readonly port: TcpPort;
}

/**
 * - `allowed`: by this rule. The addresses of a name still pass through `guardAddresses`.
 * - `needs-address`: no rule has the name, but rules for addresses on this port exist; `guardAddresses` picks
 *   those of the resolved addresses that they cover.
 * - `needs-names`: the IP address is not listed, but names on this port are, in this order; allowed, with a warning,
 *   if one of them resolves to it (`guardAddresses` with that rule).
 * - `denied`: `reason` begins with `The given address and port are not allowed`.
 */
export type RouteDecision =
  | { readonly kind: 'allowed'; readonly rule: Rule }
  | { readonly kind: 'needs-address' }
  | { readonly kind: 'needs-names'; readonly rules: readonly NameRule[] }
  | { readonly kind: 'denied'; readonly reason: string; readonly hint: string };

export function decideRoute(_rules: readonly Rule[], _target: Target): RouteDecision {
  throw new VsockProxyError('internal', 'not yet written');
}
