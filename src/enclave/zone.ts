/** Which names there are inside the enclave, and at which addresses. */

import { type Hostname, isLocalhost, parseIpAddress, type TcpPort } from '../access/address.ts';
import { findDenial } from '../access/authorize.ts';
import type { Policy } from '../access/rules.ts';
import type { HostsTable } from '../dns/hosts.ts';
import type { AddressTable } from './address-table.ts';
import type { LookUp } from './dns-message.ts';

export interface ZoneOptions {
  readonly table: AddressTable;
  /** Of the enclave itself, which go first. */
  readonly hosts: HostsTable;
  readonly policy: Policy;
  /** Those on which the addresses of names are listened on. */
  readonly ports: readonly TcpPort[];
  /** Somebody has asked for a name that is not allowed. */
  readonly onDenied: (name: Hostname, reason: string) => void;
}

const LOOPBACK = ['127.0.0.1', '::1'].map(parseIpAddress).filter((ip) => ip !== undefined);

export function openZone({ table, hosts, policy, ports, onDenied }: ZoneOptions): LookUp {
  return (name, type) => {
    const own = hosts.get(name) ?? (isLocalhost(name) ? LOOPBACK : undefined);
    if (own !== undefined) return own;
    const host = { kind: 'name', name } as const;
    let reason = 'no entry of egress.allow matches it';
    for (const port of ports) {
      // Without a CID: an enclave does not know its own, and its parent does.
      const denial = findDenial({ policy, target: { host, port }, client: {}, family: 'any', askedBy: 'client' });
      if (denial === undefined) return [table.addressOf(name)];
      if (denial.rule !== undefined) reason = denial.reason;
    }
    // One line is enough for the two queries of one look-up; and names of addresses are asked for by mere habit.
    if (type !== 'AAAA' && !name.endsWith('.arpa')) onDenied(name, reason);
    return undefined;
  };
}
