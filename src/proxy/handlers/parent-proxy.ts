/**
 * Destinations behind another HTTP proxy, such as that of an enclave's parent. The policy decides on this side, too; the
 * other side has its own, resolves, guards and connects.
 */

import { parseHost, toTcpPort } from '../../access/address.ts';
import { decideTarget } from '../../access/decide.ts';
import type { Client, Policy, Target } from '../../access/rules.ts';
import type { SocketAddress } from '../../dataplane/contract.ts';
import { formatTarget } from '../report/format.ts';
import type { Destination, Destinations } from './authorizer.ts';

export class DestinationsThrough implements Pick<Destinations, 'find' | 'findTarget'> {
  readonly #policy: Policy;
  readonly #addresses: readonly SocketAddress[];

  constructor(via: SocketAddress, policy: Policy) {
    this.#policy = policy;
    this.#addresses = [via];
  }

  find(host: string, port: number, client: Client): ReturnType<Destinations['find']> {
    const parsed = parseHost(host);
    const tcpPort = toTcpPort(port);
    if (parsed.kind === 'malformed') return parsed;
    if (tcpPort === undefined) {
      return { kind: 'malformed', problem: `port ${port} is outside 1–65535`, hint: 'TCP ports are 16-bit' };
    }
    return this.findTarget({ host: parsed, port: tcpPort }, client);
  }

  findTarget(target: Target, client: Client): Destination {
    const text = formatTarget(target);
    const decision = decideTarget(this.#policy, target, client);
    if (decision.kind === 'denied') return { text, kind: 'denied', what: 'target', denial: decision };
    return { text, kind: 'allowed', addresses: this.#addresses };
  }
}
