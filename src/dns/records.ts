/** Records other than addresses that programs use to find their servers: `mongodb+srv://`, SIP, LDAP. */
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
 * @param client the client on whose behalf the records are looked up; one client cannot take all queries
 */
export type RecordLookUp = (name: Hostname, type: RecordType, client: string) => Promise<RecordSet | NoRecords>;

export const MAX_RECORD_QUERIES = 64;
export const MAX_RECORD_QUERIES_OF_ONE = 16;
/** Nobody uses more, and the DNS servers of a listed name could fill the memory with them. */
export const MAX_RECORDS = 64;
/** The most bytes of all text together. */
export const MAX_RECORD_BYTES = 16 * 1024;
