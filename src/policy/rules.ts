/** The allowlist: what may be reached, decided before anything is resolved. Nothing listed, nothing allowed. */
import { formatHost, type IpAddress, type Malformed, parseHost, type TargetHost, type TcpPort } from './address.ts';
import { type Cidr, cidrCovers, parseCidr } from './cidr.ts';

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
export type NameRule = Rule & { readonly address: { readonly kind: 'name' } };

/** What a client is to be connected to. */
export interface Target {
  readonly host: TargetHost;
  readonly port: TcpPort;
}

/** `reason` begins with `The given address and port are not allowed`. */
export interface Denial {
  readonly kind: 'denied';
  readonly reason: string;
  readonly hint: string;
}

/**
 * - `allowed`: by this rule. The addresses of a name still pass through `guardAddresses`.
 * - `needs-address`: no rule has the name, but rules for addresses on this port exist; `guardAddresses` picks
 *   those of the resolved addresses that they cover. If it picks none: `denyRoute`.
 * - `needs-names`: the IP address is not listed, but names on this port are, in this order; allowed, with a warning,
 *   if one of them resolves to it and `guardAddresses` with that rule admits it. If none does: `denyRoute`.
 */
export type RouteDecision =
  | { readonly kind: 'allowed'; readonly rule: Rule }
  | { readonly kind: 'needs-address' }
  | { readonly kind: 'needs-names'; readonly rules: readonly NameRule[] }
  | Denial;

/** What an allowlist entry's address means: a host name, an IP address or a CIDR range. */
export function parseRuleAddress(text: string): RuleAddress | Malformed {
  if (!/^[^/]*\/\d+$/.test(text)) return parseHost(text);
  const cidr = parseCidr(text);
  return 'problem' in cidr ? cidr : { kind: 'cidr', cidr };
}

/** Whether the target may be reached, as far as that can be said without resolving. The first rule that matches counts. */
export function decideRoute(rules: readonly Rule[], target: Target): RouteDecision {
  const onPort = rules.filter((rule) => rule.port === target.port);
  const rule = onPort.find((candidate) => lists(candidate, target.host));
  if (rule !== undefined) return { kind: 'allowed', rule };
  const named = onPort.filter(isNameRule);
  if (target.host.kind === 'ip' && named.length > 0) return { kind: 'needs-names', rules: named };
  if (target.host.kind === 'name' && named.length < onPort.length) return { kind: 'needs-address' };
  return denyRoute(rules, target);
}

/** The denial in words, naming the rule that came closest. */
export function denyRoute(rules: readonly Rule[], { host, port }: Target): Denial {
  const written = formatHost(host);
  const otherPort = rules.find((rule) => rule.port !== port && lists(rule, host));
  let why = `no entry of the allowlist matches ${written} on port ${port}`;
  if (rules.length === 0) why = 'the allowlist is empty';
  if (otherPort !== undefined) {
    why = `${otherPort.text} is listed for port ${otherPort.port} (${otherPort.place}), not for port ${port}`;
  }
  const yamlAddress = written.includes(':') ? `"${written}"` : written;
  return {
    kind: 'denied',
    reason: `The given address and port are not allowed: ${why}`,
    hint: `if it is to be reached, add this line to the allowlist: - {address: ${yamlAddress}, port: ${port}}`,
  };
}

/** The first rule that lists this IP address, alone or in a range, on this port. */
export function findCovering(rules: readonly Rule[], port: TcpPort, ip: IpAddress): Rule | undefined {
  return rules.find((rule) => rule.port === port && lists(rule, { kind: 'ip', ip }));
}

export function isNameRule(rule: Rule): rule is NameRule {
  return rule.address.kind === 'name';
}

function lists({ address }: Rule, host: TargetHost): boolean {
  switch (address.kind) {
    case 'name':
      return host.kind === 'name' && host.name === address.name;
    case 'ip':
      return host.kind === 'ip' && host.ip.text === address.ip.text;
    case 'cidr':
      return host.kind === 'ip' && cidrCovers(address.cidr, host.ip);
  }
}
