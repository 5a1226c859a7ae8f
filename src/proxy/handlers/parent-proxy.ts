/**
 * Authorizes targets behind another HTTP proxy, such as that of an enclave's parent. The policy decides on this side,
 * too. The other side has its own policy, and resolves, guards and connects.
 */

import { findDenial } from '../../access/authorize.ts';
import { type Client, type Policy, parseTarget, type Target } from '../../access/rules.ts';
import type { SocketAddress } from '../../dataplane/contract.ts';
import { formatTarget } from '../report/format.ts';
import type { Authorization, Authorizer } from './authorizer.ts';

export class ParentProxy implements Pick<Authorizer, 'find' | 'findTarget'> {
  readonly #policy: Policy;
  readonly #addresses: readonly SocketAddress[];

  constructor(via: SocketAddress, policy: Policy) {
    this.#policy = policy;
    this.#addresses = [via];
  }

  find(host: string, port: number, client: Client): ReturnType<Authorizer['find']> {
    const target = parseTarget(host, port);
    return 'problem' in target ? target : this.findTarget(target, client);
  }

  findTarget(target: Target, client: Client): Authorization {
    const text = formatTarget(target);
    const denial = findDenial({ policy: this.#policy, target, client, family: 'any', namedBy: 'client' });
    if (denial !== undefined) return { text, kind: 'denied', denial };
    return { text, kind: 'allowed', addresses: this.#addresses, through: true };
  }
}
