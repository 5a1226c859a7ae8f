/** Adds the addresses inside the enclave that lead to targets outside, and adapts the listeners at them. */
import { type Cidr, cidrOf } from '../access/cidr.ts';
import type { EgressPlan, ListenerPlan } from '../plan.ts';
import type { Log } from '../platform/log.ts';
import { AddressTable, LOOPBACK_RANGE, NAMES_RANGE } from './address-table.ts';

export interface AddressDependencies {
  readonly log: Log;
  /** Adds an address to the loopback link. Returns the name of the errno if that fails, undefined on success. */
  readonly addLoopbackAddress: (ip: string, prefixLength: number) => string | undefined;
}

/**
 * Adds the addresses to the loopback link.
 * @param egress absent: no target outside can be reached
 */
export function openAddresses(egress: EgressPlan | undefined, { log, addLoopbackAddress }: AddressDependencies) {
  const add = ({ network, prefixLength }: Cidr) => addLoopbackAddress(network.text, prefixLength);
  // This is done even without names. With 127.0.0.1 alone, glibc considers IPv4 not configured, and finds no IPv4
  // addresses with AI_ADDRCONFIG and IPv4 only (getaddrinfo(3)).
  const errno = add(NAMES_RANGE.cidr);
  if (egress === undefined || egress.transparentPorts.length === 0) return new AddressTable(NAMES_RANGE);
  if (errno !== undefined) log.warn(describeFallback(errno));
  const listed = egress.addresses.filter((ip) => {
    const failure = add(cidrOf(ip));
    if (failure !== undefined) {
      log.warn(`${ip.text} is reached through the HTTP proxy only: the loopback link cannot have it: ${failure}`);
    }
    return failure === undefined;
  });
  return new AddressTable(errno === undefined ? NAMES_RANGE : LOOPBACK_RANGE, listed);
}

function describeFallback(errno: string): string {
  const [names, loopback] = [NAMES_RANGE, LOOPBACK_RANGE].map(
    ({ cidr }) => `${cidr.network.text}/${cidr.prefixLength}`,
  );
  const why = `the loopback link cannot have ${names}: ${errno}`;
  return `Names get addresses of ${loopback}, which some programs take for this machine itself: ${why}. Hint: that takes root, or CAP_NET_ADMIN`;
}

/**
 * The listeners of the plan. Those of transparent egress also accept clients from these addresses, because applications
 * connect from them.
 */
export function listenersFor(plan: readonly ListenerPlan[], { listed }: AddressTable): readonly ListenerPlan[] {
  const own = [NAMES_RANGE.cidr, ...listed.map(cidrOf)];
  const hasIpv6 = listed.some(({ family }) => family === 6);
  return plan
    .filter((listener) => hasIpv6 || !isForIpv6(listener)) // this kernel may have no IPv6
    .map((listener) =>
      listener.route.kind === 'names' ? { ...listener, sources: [...(listener.sources ?? []), ...own] } : listener,
    );
}

function isForIpv6({ on, route }: ListenerPlan): boolean {
  return route.kind === 'names' && on.family === 'tcp' && on.ip.includes(':');
}
