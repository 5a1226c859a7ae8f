/**
 * Decides about the targets of a listener's clients, and caches the decisions, because most requests name the same few
 * targets. A decision stays valid as long as the answer for the name is the same object.
 */

import { formatHost } from '../../access/address.ts';
import {
  type AccessOutcome,
  type AccessRequest,
  type AccessState,
  begin,
  type NameLookUp,
  type NeedsAddresses,
  type NeedsNames,
  settleAddresses,
  settleNames,
} from '../../access/authorize.ts';
import type { Denial } from '../../access/denial.ts';
import { type Client, parseTarget, type Target, usesCids } from '../../access/rules.ts';
import type { SocketAddress } from '../../dataplane/contract.ts';
import type { NameCache } from '../../dns/cache.ts';
import type { Answer } from '../../dns/resolver.ts';
import { VsockProxyError } from '../../platform/errors.ts';
import type { Malformed } from '../../platform/malformed.ts';
import { LruCache } from '../lru.ts';
import { formatTarget } from '../report/format.ts';
import { addressesOf } from '../upstream/types.ts';

/** The decision about the target that a client names. */
export type Authorization = {
  /** `host:port`. */
  readonly text: string;
} & (
  | {
      readonly kind: 'allowed';
      /** At least one address. */
      readonly addresses: readonly SocketAddress[];
      /** The addresses are those of another proxy, which is sent the target. */
      readonly through?: true;
    }
  | { readonly kind: 'denied'; readonly denial: Denial }
  | { readonly kind: 'unresolved'; readonly error: VsockProxyError }
);

export interface AuthorizerOptions extends Omit<AccessRequest, 'target' | 'client'> {
  readonly names: Pick<NameCache, 'lookUp'>;
}

/** A listener keeps this many decisions, and at most twice as many. */
const REMEMBERED = 1024;

/** A cached decision. */
interface Grant {
  readonly text: string;
  readonly request: AccessRequest;
  state: AccessState;
  /** The decision for the last answer, or a result that stays valid. */
  authorization: Authorization | undefined;
  answer: Answer | undefined;
  /** A running look-up, for every client that comes meanwhile. */
  search: Promise<Authorization> | undefined;
}

export class Authorizer {
  readonly #options: AuthorizerOptions;
  readonly #usesCids: boolean;
  readonly #grants = new LruCache<string, Grant>(REMEMBERED);

  constructor(options: AuthorizerOptions) {
    this.#options = options;
    this.#usesCids = usesCids(options.policy);
  }

  /**
   * Decides about a host as the client spells it. The result is immediate if no name has to be resolved.
   * @returns `malformed` if the text is neither a name nor an IP address; a promise is never rejected
   */
  find(host: string, port: number, client: Client): Authorization | Malformed | Promise<Authorization> {
    const key = this.#keyOf(host, port, client);
    const known = this.#grants.get(key);
    if (known !== undefined) return this.#settle(known, client);
    const target = parseTarget(host, port);
    return 'problem' in target ? target : this.#begin(target, client, key);
  }

  /** The same for a target that needs no parsing. */
  findTarget(target: Target, client: Client): Authorization | Promise<Authorization> {
    const key = this.#keyOf(formatHost(target.host), target.port, client);
    const known = this.#grants.get(key);
    return known === undefined ? this.#begin(target, client, key) : this.#settle(known, client);
  }

  #keyOf(host: string, port: number, { cid }: Client): string {
    return this.#usesCids ? `${host} ${port} ${cid}` : `${host} ${port}`;
  }

  #begin(target: Target, client: Client, key: string): Authorization | Promise<Authorization> {
    const { policy, family, namedBy } = this.#options;
    const request = { policy, target, client, family, namedBy };
    const text = formatTarget(target);
    const state = begin(request);
    // This is not cached, because clients may name any number of targets.
    if (state.kind === 'denied' && namedBy === 'client') return { text, kind: 'denied', denial: state };
    const grant: Grant = { text, request, state, authorization: undefined, answer: undefined, search: undefined };
    this.#grants.set(key, grant);
    return this.#settle(grant, client);
  }

  /** @param client the present client, which may differ from the one for which the grant was made */
  #settle(grant: Grant, client: Client): Authorization | Promise<Authorization> {
    const { state, request } = grant;
    switch (state.kind) {
      case 'needs-addresses': {
        const found = this.#options.names.lookUp(state.name, request.family, quotaKeyOf(client));
        return found instanceof Promise
          ? found.then((settled) => this.#settleWith(grant, state, settled, client))
          : this.#settleWith(grant, state, found, client);
      }
      case 'needs-names':
        return grant.authorization ?? this.#search(grant, state, client);
      default:
        grant.authorization ??= authorizationOf(grant, state);
        return grant.authorization;
    }
  }

  #settleWith(
    grant: Grant,
    state: NeedsAddresses,
    found: Answer | VsockProxyError,
    client: Client,
  ): Authorization | Promise<Authorization> {
    if (grant.authorization !== undefined && grant.answer === found) return grant.authorization;
    const next = settleAddresses(grant.request, state, found);
    if (next.kind === 'needs-names') return this.#search(grant, next, client);
    const authorization = authorizationOf(grant, next);
    if (found instanceof VsockProxyError) return authorization;
    grant.answer = found;
    grant.authorization = authorization;
    return authorization;
  }

  /** One search serves every client that comes meanwhile. */
  #search(grant: Grant, state: NeedsNames, client: Client): Promise<Authorization> {
    const { names } = this.#options;
    const lookUp: NameLookUp = (name, family) => names.lookUp(name, family, quotaKeyOf(client));
    grant.search ??= settleNames(grant.request, state, lookUp).then((outcome) => {
      grant.search = undefined;
      const authorization = authorizationOf(grant, outcome);
      if (outcome.kind !== 'allowed') return authorization;
      // A found name stays valid.
      if (grant.state.kind === 'needs-addresses' && outcome.foundBy !== undefined) {
        grant.state = { ...grant.state, rule: outcome.foundBy };
      } else {
        grant.authorization = authorization;
      }
      return authorization;
    });
    return grant.search;
  }
}

function authorizationOf({ text, request }: Grant, outcome: AccessOutcome): Authorization {
  switch (outcome.kind) {
    case 'allowed':
      return { text, kind: 'allowed', addresses: addressesOf(outcome, request.target) };
    case 'denied':
      return { text, kind: 'denied', denial: outcome };
    case 'unresolved':
      return { text, kind: 'unresolved', error: outcome.error };
  }
}

/** The client whose names are counted together. */
export function quotaKeyOf({ cid }: Client): string {
  return cid === undefined ? '' : String(cid);
}
