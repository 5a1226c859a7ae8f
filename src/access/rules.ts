/** Rules: what may be reached, or may not, by whom. */
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
  /** The clients that it is for; absent: all. An empty list would be for nobody, which no denylist can mean. */
  readonly cids?: readonly number[];
  /** The one address that an exact name leads to, which is not resolved then: `host` in `egress`. */
  readonly leadsTo?: IpAddress;
  /** The address as written in the file. */
  readonly text: string;
  /** Where it is written, as `path:line`. */
  readonly place: string;
}
export type NameRule = Rule & { readonly address: { readonly kind: 'name' | 'pattern' } };
/** Of one name, which can be resolved. */
export type ExactNameRule = Rule & { readonly address: { readonly kind: 'name' } };

/** A denied target stays denied, whatever allows it; what is not allowed is denied. Never changed once it is in use. */
export interface Policy {
  readonly allow: readonly Rule[];
  readonly deny: readonly Rule[];
  /** A name that the operator wrote is allowed, too, if it has an address of a listed name: `match_names_by_ip`. */
  readonly matchNamesByIp?: boolean;
}

/** Who asks. Clients over TCP and unix sockets have no CID, and no rule with CIDs is for them. */
export interface Client {
  readonly cid?: number;
}

/** What a client is to be connected to. */
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

/** What a rule's address means: a host name, a pattern of names, an IP address or a CIDR range. */
export function parseRuleAddress(text: string): RuleAddress | Malformed {
  if (/^[^/]*\/\d+$/.test(text)) {
    const cidr = parseCidr(text);
    return 'problem' in cidr ? cidr : { kind: 'cidr', cidr };
  }
  if (!text.includes('*') || /[:/\s]/.test(text)) return parseHost(text);
  const pattern = parsePattern(text);
  return 'problem' in pattern ? pattern : { kind: 'pattern', pattern };
}

/** Whether a decision may depend on the client: then a route cannot be decided for all of them at once. */
export function usesCids({ allow, deny }: Policy): boolean {
  const hasCids = ({ cids }: Rule) => cids !== undefined;
  return allow.some(hasCids) || deny.some(hasCids);
}

/**
 * The clients that decisions may differ for. In front the one without a CID, for all that no rule names.
 * @param clients whether they may have CIDs, and the only ones that may connect, if not all
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

/** Whether the rule is for this port and client, whatever its address. */
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
