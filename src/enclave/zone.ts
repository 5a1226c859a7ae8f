/** The names inside the enclave, with their addresses. */

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
  /** The names of the enclave itself, which take precedence. */
  readonly hosts: HostsTable;
  readonly policy: Policy;
  /** The ports on which the addresses of names are listened on. */
  readonly ports: readonly TcpPort[];
  /** Requests records from the parent. */
  readonly lookUpRecords: (name: Hostname, type: RecordType) => Promise<FoundRecords>;
  /** Called when a name is requested that is not allowed. */
  readonly onDenied: (name: Hostname, reason: string) => void;
}

const LOOPBACK = ['127.0.0.1', '::1'].map(parseIpAddress).filter((ip) => ip !== undefined);

const NOT_LISTED = 'no entry of egress.allow matches it';

export function openZone({ table, hosts, policy, ports, lookUpRecords, onDenied }: ZoneOptions): LookUp {
  // There is no CID, because an enclave does not know its own. The parent decides with it.
  const client = {};
  /** Undefined if the name is allowed on one of the ports. */
  const denialOf = (name: Hostname): string | undefined => {
    let reason = NOT_LISTED;
    for (const port of ports) {
      const target = { host: { kind: 'name', name }, port } as const;
      const denial = findDenial({ policy, target, client, family: 'any', namedBy: 'client' });
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
      // A name that has an address here exists, whatever the parent answers.
      const none = reason === undefined ? [] : undefined;
      const denial = findRecordDenial(policy, name, client);
      if (denial === undefined) return lookUpRecords(name, type).then((found) => found ?? none);
      onDenied(name, denial === 'unlisted' ? NOT_LISTED : `it is denied by ${denial.text} (${denial.place})`);
      return none;
    }
    if (reason === undefined) return [table.addressOf(name)];
    // One line is enough for the two queries of one look-up. Programs look up names of addresses by habit, so these are
    // not logged.
    if (type !== 'AAAA' && !name.endsWith('.arpa')) onDenied(name, reason);
    return undefined;
  };
}

function isRecordType(type: string): type is RecordType {
  return (RECORD_TYPES as readonly string[]).includes(type);
}
