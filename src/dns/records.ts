/** Records other than addresses that programs use to find their servers: `mongodb+srv://`, SIP, LDAP. */
import { promises as dns } from 'node:dns';
import type { Hostname } from '../access/address.ts';

export const RECORD_TYPES = ['SRV', 'TXT'] as const;
export type RecordType = (typeof RECORD_TYPES)[number];

export interface SrvRecord {
  readonly priority: number;
  readonly weight: number;
  readonly port: number;
  readonly name: string;
}

/**
 * The records of one name and type. If there are none, the name exists without them. A text record is a list of
 * strings, with a character for each byte.
 */
export type RecordSet =
  | { readonly type: 'SRV'; readonly records: readonly SrvRecord[] }
  | { readonly type: 'TXT'; readonly records: readonly (readonly string[])[] };

/** Why there is no answer: the c-ares code that says it best. */
export interface NoRecords {
  readonly code: string;
}

/**
 * Looks up records. A failure is a value. A promise takes about four seconds at most, and is never rejected.
 * @param asker the client on whose behalf the records are looked up; one asker cannot take all queries
 */
export type RecordLookUp = (name: Hostname, type: RecordType, asker: string) => Promise<RecordSet | NoRecords>;

export const MAX_RECORD_QUERIES = 64;
export const MAX_RECORD_QUERIES_OF_ONE = 16;
/** Nobody uses more, and the DNS servers of a listed name could fill the memory with them. */
export const MAX_RECORDS = 64;
/** The most bytes of all text together. */
export const MAX_RECORD_BYTES = 16 * 1024;
const DEADLINE_MS = 4000;

/** For tests; the defaults are those of the system. */
export interface RecordLookUpOptions {
  /** `ip:port` of servers that replace those of /etc/resolv.conf. */
  readonly servers?: readonly string[];
  readonly deadlineMs?: number;
}

export function createRecordLookUp({ servers, deadlineMs = DEADLINE_MS }: RecordLookUpOptions = {}): RecordLookUp {
  const running: string[] = [];
  return async (name, type, asker) => {
    const own = running.filter((other) => other === asker).length;
    if (running.length >= MAX_RECORD_QUERIES || own >= MAX_RECORD_QUERIES_OF_ONE) return { code: 'EBUSY' };
    running.push(asker);
    // A channel reads resolv.conf when it is made, and can only be cancelled as a whole.
    const channel = new dns.Resolver({ timeout: deadlineMs * 0.4, tries: 2 });
    if (servers !== undefined) channel.setServers(servers);
    const deadline = setTimeout(() => channel.cancel(), deadlineMs);
    try {
      return bound(await query(channel, name, type));
    } catch (error) {
      const { code = 'EBADRESP' } = error as NodeJS.ErrnoException;
      if (code === 'ENODATA') return { type, records: [] };
      return { code: code === 'ECANCELLED' ? 'ETIMEOUT' : code };
    } finally {
      clearTimeout(deadline);
      running.splice(running.indexOf(asker), 1);
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
