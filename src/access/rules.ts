/** Rules: which targets clients may reach. */
import { type Malformed, malformed } from '../platform/malformed.ts';
import { type IpAddress, parseHost, type TargetHost, type TcpPort, toTcpPort } from './address.ts';
import { type Cidr, parseCidr } from './cidr.ts';
import { type NamePattern, parsePattern } from './pattern.ts';
import { coversPort, enumerate, type PortSet } from './ports.ts';

export type RuleAddress =
  | TargetHost
  | { readonly kind: 'pattern'; readonly pattern: NamePattern }
  | { readonly kind: 'cidr'; readonly cidr: Cidr };

/** One entry of an allowlist or denylist: these addresses, on these ports, for these clients. */
export interface Rule {
  readonly address: RuleAddress;
  readonly ports: PortSet;
  /** The clients of the rule; absent: all clients. The list is never empty. */
  readonly cids?: readonly number[];
  /** The fixed address of an exact name, which is then not resolved: `host` in `egress`. */
  readonly leadsTo?: IpAddress;
  /** The address as written in the file. */
  readonly text: string;
  /** Its place in the file, as `path:line`. */
  readonly place: string;
}
export type NameRule = Rule & { readonly address: { readonly kind: 'name' | 'pattern' } };
/** A rule for one name, which can be resolved. */
export type ExactNameRule = Rule & { readonly address: { readonly kind: 'name' } };

/**
 * A deny rule beats every allow rule, and a target that no rule allows is denied. A policy never changes while it is in
 * use.
 */
export interface Policy {
  readonly allow: readonly Rule[];
  readonly deny: readonly Rule[];
  /** The key of the file that has the allow rules, for messages; absent: `allowlist`. */
  readonly allowKey?: 'egress.allow';
  /** A name that the operator wrote is also allowed if it shares an address with a listed name: `match_names_by_ip`. */
  readonly matchNamesByIp?: boolean;
}

/** The client. Clients over TCP and unix sockets have no CID, and rules with CIDs do not apply to them. */
export interface Client {
  readonly cid?: number;
}

/** The destination that a client, or the operator, names. */
export interface Target {
  readonly host: TargetHost;
  readonly port: TcpPort;
}

/** A host as a client spells it, and a port. */
export function parseTarget(hostText: string, portNumber: number): Target | Malformed {
  const host = parseHost(hostText);
  if (host.kind === 'malformed') return host;
  const port = toTcpPort(portNumber);
  return port === undefined
    ? malformed(`port ${portNumber} is outside 1–65535`, 'TCP ports are 16-bit')
    : { host, port };
}

/** Parses the address of a rule: a host name, a pattern of names, an IP address or a CIDR range. */
export function parseRuleAddress(text: string): RuleAddress | Malformed {
  if (/^[^/]*\/\d+$/.test(text)) {
    const cidr = parseCidr(text);
    return 'problem' in cidr ? cidr : { kind: 'cidr', cidr };
  }
  if (!text.includes('*') || /[:/\s]/.test(text)) return parseHost(text);
  const pattern = parsePattern(text);
  return 'problem' in pattern ? pattern : { kind: 'pattern', pattern };
}

/** The list of the allow rules, as messages name it. */
export function nameAllowlist({ allowKey }: Policy): string {
  return allowKey ?? 'the allowlist';
}

/** Whether a decision may depend on the client. Then one decision cannot hold for all clients of a route. */
export function usesCids({ allow, deny }: Policy): boolean {
  const hasCids = ({ cids }: Rule) => cids !== undefined;
  return allow.some(hasCids) || deny.some(hasCids);
}

/**
 * The clients for which decisions may differ. The first has no CID and stands for all clients that no rule names.
 * @param clients whether clients may have CIDs, and the only CIDs that may connect, if not all
 */
export function clientsToldApart(
  { allow, deny }: Policy,
  clients: { readonly mayHaveCids: boolean; readonly cids?: readonly number[] | undefined },
): readonly Client[] {
  if (!clients.mayHaveCids) return [{}];
  if (clients.cids !== undefined) return clients.cids.map((cid) => ({ cid }));
  const named = new Set([...allow, ...deny].flatMap((rule) => rule.cids ?? []));
  return [{}, ...[...named].map((cid) => ({ cid }))];
}

export function isNameRule(rule: Rule): rule is NameRule {
  return rule.address.kind === 'name' || rule.address.kind === 'pattern';
}

export function isExactNameRule(rule: Rule): rule is ExactNameRule {
  return rule.address.kind === 'name';
}

/** Whether the rule applies to this port and client, regardless of its address. */
export function appliesTo(rule: Rule, port: TcpPort, client: Client): boolean {
  return coversPort(rule.ports, port) && isFor(rule, client);
}

export function isFor({ cids }: Rule, { cid }: Client): boolean {
  return cids === undefined || (cid !== undefined && cids.includes(cid));
}

/** `CID 16`, `CIDs 16 and 17`. */
export function describeCids(cids: readonly number[]): string {
  return `CID${cids.length === 1 ? '' : 's'} ${enumerate(cids.map(String))}`;
}
