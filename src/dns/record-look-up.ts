/** Looks records up by the DNS servers of this machine, through c-ares. */
import { promises as dns } from 'node:dns';
import type { Hostname } from '../access/address.ts';
import type { SystemError } from '../platform/system/errors.ts';
import {
  MAX_RECORD_BYTES,
  MAX_RECORD_QUERIES,
  MAX_RECORD_QUERIES_OF_ONE,
  MAX_RECORDS,
  type NoRecords,
  type RecordLookUp,
  type RecordSet,
  type RecordType,
} from './records.ts';

const DEADLINE_MS = 4000;

/** For tests; the defaults are those of the system. */
export interface RecordLookUpOptions {
  /** `ip:port` of servers that replace those of /etc/resolv.conf. */
  readonly servers?: readonly string[];
  readonly deadlineMs?: number;
}

export function createRecordLookUp({ servers, deadlineMs = DEADLINE_MS }: RecordLookUpOptions = {}): RecordLookUp {
  const running: string[] = [];
  return async (name, type, client) => {
    const own = running.filter((other) => other === client).length;
    if (running.length >= MAX_RECORD_QUERIES || own >= MAX_RECORD_QUERIES_OF_ONE) return { code: 'EBUSY' };
    running.push(client);
    // A channel reads resolv.conf when it is made, and can only be cancelled as a whole.
    const channel = new dns.Resolver({ timeout: deadlineMs * 0.4, tries: 2 });
    if (servers !== undefined) channel.setServers(servers);
    const deadline = setTimeout(() => channel.cancel(), deadlineMs);
    try {
      return bound(await query(channel, name, type));
    } catch (error) {
      const { code = 'EBADRESP' } = error as SystemError;
      if (code === 'ENODATA') return { type, records: [] };
      return { code: code === 'ECANCELLED' ? 'ETIMEOUT' : code };
    } finally {
      clearTimeout(deadline);
      running.splice(running.indexOf(client), 1);
    }
  };
}

async function query(channel: dns.Resolver, name: Hostname, type: RecordType): Promise<RecordSet> {
  if (type === 'TXT') return { type, records: await channel.resolveTxt(name) };
  const found = await channel.resolveSrv(name);
  return {
    type,
    records: found.map(({ priority, weight, port, name: target }) => ({ priority, weight, port, name: target })),
  };
}

function bound(set: RecordSet): RecordSet | NoRecords {
  const bytes = set.type === 'TXT' ? set.records.flat().join('').length : 0;
  return set.records.length > MAX_RECORDS || bytes > MAX_RECORD_BYTES ? { code: 'EMSGSIZE' } : set;
}
