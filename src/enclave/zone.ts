/** Which names there are inside the enclave, and at which addresses. */

import { type Hostname, isLocalhost, parseIpAddress, type TcpPort } from '../access/address.ts';
import { findDenial } from '../access/authorize.ts';
import { findRecordDenial } from '../access/records.ts';
import type { Policy } from '../access/rules.ts';
import type { HostsTable } from '../dns/hosts.ts';
import { RECORD_TYPES, type RecordType } from '../dns/records.ts';
import type { AddressTable } from './address-table.ts';
import type { LookUp } from './dns-message.ts';
import type { FoundRecords } from './parent-records.ts';

export interface ZoneOptions {
  readonly table: AddressTable;
  /** Of the enclave itself, which go first. */
  readonly hosts: HostsTable;
  readonly policy: Policy;
  /** Those on which the addresses of names are listened on. */
  readonly ports: readonly TcpPort[];
  /** Asks the parent. */
  readonly lookUpRecords: (name: Hostname, type: RecordType) => Promise<FoundRecords>;
  /** Somebody has asked for a name that is not allowed. */
  readonly onDenied: (name: Hostname, reason: string) => void;
}

const LOOPBACK = ['127.0.0.1', '::1'].map(parseIpAddress).filter((ip) => ip !== undefined);

const NOT_LISTED = 'no entry of egress.allow matches it';

export function openZone({ table, hosts, policy, ports, lookUpRecords, onDenied }: ZoneOptions): LookUp {
  // Without a CID: an enclave does not know its own, and its parent does.
  const client = {};
  /** Undefined where the name is allowed on one of the ports. */
  const denialOf = (name: Hostname): string | undefined => {
    let reason = NOT_LISTED;
    for (const port of ports) {
      const target = { host: { kind: 'name', name }, port } as const;
      const denial = findDenial({ policy, target, client, family: 'any', askedBy: 'client' });
      if (denial === undefined) return undefined;
      if (denial.rule !== undefined) reason = denial.reason;
    }
    return reason;
  };
  return (name, type) => {
    const own = hosts.get(name) ?? (isLocalhost(name) ? LOOPBACK : undefined);
    if (own !== undefined) return own;
    const reason = denialOf(name);
    if (isRecordType(type)) {
      // What has an address here exists, whatever the parent knows of it.
      const none = reason === undefined ? [] : undefined;
      const denial = findRecordDenial(policy, name, client);
      if (denial === undefined) return lookUpRecords(name, type).then((found) => found ?? none);
      onDenied(name, denial === 'unlisted' ? NOT_LISTED : `it is denied by ${denial.text} (${denial.place})`);
      return none;
    }
    if (reason === undefined) return [table.addressOf(name)];
    // One line is enough for the two queries of one look-up; and names of addresses are asked for by mere habit.
    if (type !== 'AAAA' && !name.endsWith('.arpa')) onDenied(name, reason);
    return undefined;
  };
}

function isRecordType(type: string): type is RecordType {
  return (RECORD_TYPES as readonly string[]).includes(type);
}
