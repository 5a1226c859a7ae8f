/**
 * Where clients that ask for a target are connected to: decided by the policy, then resolved, then guarded.
 *
 * Most questions are for the same few names: what was decided for them is kept, and while a name's answer is the same
 * object, so are its addresses.
 */

import { formatHost, type IpAddress, type Malformed, parseHost, toTcpPort } from '../../access/address.ts';
import {
  type Denial,
  type decideRoute,
  type decideTarget,
  denyRoute,
  type RouteDecision,
} from '../../access/decide.ts';
import { denyAddresses, guardAddresses } from '../../access/guard.ts';
import { type Client, type ExactNameRule, isNameRule, type Policy, type Target, usesCids } from '../../access/rules.ts';
import type { SocketAddress } from '../../dataplane/contract.ts';
import type { NameCache } from '../../dns/cache.ts';
import { isDefinitive } from '../../dns/failure.ts';
import type { Answer, Family } from '../../dns/resolver.ts';
import { searchNames } from '../../dns/search.ts';
import { VsockProxyError } from '../../platform/errors.ts';
import { LruCache } from '../lru.ts';
import { formatTarget } from '../report/format.ts';

export type Destination = {
  /** `host:port`. */
  readonly text: string;
} & (
  | { readonly kind: 'allowed' /** At least one. */; readonly addresses: readonly SocketAddress[] }
  /** `addresses`: the policy forbids every address that the name has, and not the name. */
  | { readonly kind: 'denied'; readonly what: 'target' | 'addresses'; readonly denial: Denial }
  | { readonly kind: 'unresolved'; readonly error: VsockProxyError }
);

export interface DestinationOptions {
  readonly policy: Policy;
  readonly family: Family;
  readonly names: NameCache;
  /** Decides before anything is resolved: {@link decideTarget} for what clients name, {@link decideRoute} for what the operator wrote. */
  readonly decide: typeof decideTarget | typeof decideRoute;
}

/** So many decisions of a listener are kept, and at most twice as many. */
const REMEMBERED = 1024;

/** What is allowed or may turn out to be, and the addresses that were made of the last answer. */
interface Grant {
  readonly target: Target;
  readonly text: string;
  readonly client: Client;
  readonly decision: Exclude<RouteDecision, Denial>;
  answer: Answer | undefined;
  destination: Destination | undefined;
  /** Under way, for everyone who asks meanwhile. */
  search: Promise<Destination> | undefined;
}

export class Destinations {
  readonly #options: DestinationOptions;
  readonly #usesCids: boolean;
  readonly #grants = new LruCache<string, Grant>(REMEMBERED);

  constructor(options: DestinationOptions) {
    this.#options = options;
    this.#usesCids = usesCids(options.policy);
  }

  /**
   * For a host as a client spells it. At once where nothing has to be resolved.
   * @returns `malformed` for what is neither a name nor an IP address; a promise is never rejected
   */
  find(host: string, port: number, client: Client): Destination | Malformed | Promise<Destination> {
    const key = this.#keyOf(host, port, client);
    const known = this.#grants.get(key);
    if (known !== undefined) return this.#resolve(known, client);
    const parsed = parseHost(host);
    const tcpPort = toTcpPort(port);
    if (parsed.kind === 'malformed') return parsed;
    if (tcpPort === undefined) {
      return { kind: 'malformed', problem: `port ${port} is outside 1–65535`, hint: 'TCP ports are 16-bit' };
    }
    return this.#decide({ host: parsed, port: tcpPort }, client, key);
  }

  /** For a target that needs no parsing. */
  findTarget(target: Target, client: Client): Destination | Promise<Destination> {
    const key = this.#keyOf(formatHost(target.host), target.port, client);
    const known = this.#grants.get(key);
    return known === undefined ? this.#decide(target, client, key) : this.#resolve(known, client);
  }

  #keyOf(host: string, port: number, { cid }: Client): string {
    return this.#usesCids ? `${host} ${port} ${cid}` : `${host} ${port}`;
  }

  #decide(target: Target, client: Client, key: string): Destination | Promise<Destination> {
    const text = formatTarget(target);
    const decision = this.#options.decide(this.#options.policy, target, client);
    // Not kept: there is no end of what is denied.
    if (decision.kind === 'denied') return { text, kind: 'denied', what: 'target', denial: decision };
    const grant: Grant = {
      target,
      text,
      client,
      decision,
      answer: undefined,
      destination: undefined,
      search: undefined,
    };
    this.#grants.set(key, grant);
    return this.#resolve(grant, client);
  }

  /** @param client who asks now, which may be another one than the grant was made for */
  #resolve(grant: Grant, client: Client): Destination | Promise<Destination> {
    const { decision, target } = grant;
    if (target.host.kind === 'ip') {
      const { ip } = target.host;
      if (decision.kind === 'needs-names') {
        // What has been found holds for good, as names rotate their addresses.
        if (grant.destination !== undefined) return grant.destination;
        grant.search ??= this.#search(grant, ip, decision.rules).finally(() => {
          grant.search = undefined;
        });
        return grant.search;
      }
      grant.destination ??= this.#ofIp(grant, ip);
      return grant.destination;
    }
    const outcome = this.#options.names.lookUp(target.host.name, this.#options.family, askerOf(client));
    return outcome instanceof Promise
      ? outcome.then((settled) => this.#guard(grant, settled))
      : this.#guard(grant, outcome);
  }

  #ofIp({ text, target, client }: Grant, ip: IpAddress): Destination {
    const { policy, family } = this.#options;
    if (family !== 'any' && family !== `ipv${ip.family}`) {
      const problem = `${ip.text} is an IPv${ip.family} address, and only IPv${ip.family === 4 ? 6 : 4} is used here`;
      const error = new VsockProxyError('resolve-failed', problem, { errno: UNREACHABLE });
      return { text, kind: 'unresolved', error };
    }
    const { refused } = guardAddresses(policy, target.port, client, undefined, [ip]);
    return refused.length > 0
      ? { text, kind: 'denied', what: 'addresses', denial: denyAddresses(target, undefined, refused) }
      : { text, kind: 'allowed', addresses: tcp([ip], target.port) };
  }

  #guard(grant: Grant, outcome: Answer | VsockProxyError): Destination {
    const { text, target, client, decision } = grant;
    if (outcome instanceof VsockProxyError) return { text, kind: 'unresolved', error: outcome };
    if (grant.destination !== undefined && grant.answer === outcome) return grant.destination;
    const namedBy = decision.kind === 'allowed' && isNameRule(decision.rule) ? decision.rule : undefined;
    const { admitted, refused } = guardAddresses(this.#options.policy, target.port, client, namedBy, outcome.addresses);
    const addresses = admitted.map(({ address }) => address);
    grant.answer = outcome;
    grant.destination =
      addresses.length > 0
        ? { text, kind: 'allowed', addresses: tcp(addresses, target.port) }
        : { text, kind: 'denied', what: 'addresses', denial: denyAddresses(target, namedBy, refused) };
    return grant.destination;
  }

  /** An IP address that is not listed, but may be one of a listed name. */
  async #search(grant: Grant, ip: IpAddress, rules: readonly ExactNameRule[]): Promise<Destination> {
    const { policy, names } = this.#options;
    const { text, target, client } = grant;
    const failures: VsockProxyError[] = [];
    const found = await searchNames(rules, async (rule) => {
      const answer = await names.lookUp(rule.address.name, `ipv${ip.family}`, askerOf(client));
      if (answer instanceof VsockProxyError) {
        if (!isDefinitive(answer.errno ?? '')) failures.push(answer);
        return false;
      }
      const same = answer.addresses.filter((address) => address.text === ip.text);
      return guardAddresses(policy, target.port, client, rule, same).admitted.length > 0;
    });
    const [error] = failures;
    if (found !== undefined) {
      grant.destination = { text, kind: 'allowed', addresses: tcp([ip], target.port) };
      return grant.destination;
    }
    if (error !== undefined) return { text, kind: 'unresolved', error };
    return { text, kind: 'denied', what: 'target', denial: denyRoute(policy, target, client) };
  }
}

/** The errno of a target whose family is not used. */
export const UNREACHABLE = 'EAFNOSUPPORT';

/** Whose names are counted together. */
function askerOf({ cid }: Client): string {
  return cid === undefined ? '' : String(cid);
}

function tcp(addresses: readonly IpAddress[], port: number): readonly SocketAddress[] {
  return addresses.map(({ text }) => ({ family: 'tcp', ip: text, port }));
}
