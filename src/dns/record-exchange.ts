/**
 * How an enclave requests records from its parent: it sends a GET request to the HTTP proxy itself, and the answer is
 * JSON. Both ends are this program. Neither trusts the other, so both are strict.
 */
import {
  MAX_RECORDS,
  type NoRecords,
  RECORD_TYPES,
  type RecordSet,
  type RecordType,
  type SrvRecord,
} from './records.ts';

/** The requested records; the name is as it was written. */
export interface RecordRequest {
  readonly name: string;
  readonly type: RecordType;
}

export type RecordReply = RecordSet | NoRecords | { readonly denied: string };

/** No reply is longer. Escaping makes at most six bytes of one byte of text. */
export const MAX_REPLY_BYTES = 128 * 1024;

export function recordPath({ name, type }: RecordRequest): string {
  return `/dns-records?name=${name}&type=${type}`;
}

const REQUEST = new RegExp(
  `^GET /dns-records\\?name=([\\w.-]{1,253})&type=(${RECORD_TYPES.join('|')}) HTTP/1\\.1\r\n(?:[^\r\n]+\r\n)*\r\n$`,
);

/** @returns undefined if the bytes are not such a request, or not a complete one */
export function parseRecordRequest(bytes: Uint8Array): RecordRequest | undefined {
  const [, name, type] = REQUEST.exec(Buffer.from(bytes).toString('latin1')) ?? [];
  return name === undefined ? undefined : { name, type: type as RecordType };
}

/** A complete response, after which the connection ends. */
export function formatRecordReply(reply: RecordReply): Buffer {
  if ('denied' in reply) return response('403 Forbidden', `${reply.denied}\n`);
  if ('records' in reply) return response('200 OK', JSON.stringify(reply.records));
  return reply.code === 'ENOTFOUND'
    ? response('404 Not Found', 'ENOTFOUND\n')
    : response('502 Bad Gateway', `${reply.code}\n`);
}

function response(status: string, text: string): Buffer {
  const body = Buffer.from(text);
  const type = status.startsWith('200') ? 'application/json' : 'text/plain; charset=utf-8';
  const fields = `Content-Type: ${type}\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n`;
  return Buffer.concat([Buffer.from(`HTTP/1.1 ${status}\r\n${fields}`), body]);
}

/** The meaning of such a response; `code` if it cannot be parsed. */
export function parseRecordReply(type: RecordType, status: number, body: string): RecordReply {
  const [line = ''] = body.split('\n', 1);
  if (status === 403) return { denied: line };
  if (status === 404) return { code: 'ENOTFOUND' };
  if (status !== 200) return { code: status === 502 ? line : `HTTP status ${status}` };
  const value = parseJson(body);
  if (!Array.isArray(value) || value.length > MAX_RECORDS) return MALFORMED;
  const items: readonly unknown[] = value;
  if (type === 'TXT') return items.every(isText) ? { type, records: items } : MALFORMED;
  return items.every(isSrv) ? { type, records: items } : MALFORMED;
}

const MALFORMED: NoRecords = { code: 'EBADRESP' };
const LONGEST_STRING = 255;

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isText(value: unknown): value is readonly string[] {
  return (
    Array.isArray(value) &&
    value.every((part: unknown) => typeof part === 'string' && part.length <= LONGEST_STRING && isLatin1(part))
  );
}

function isLatin1(text: string): boolean {
  return Buffer.from(text, 'latin1').toString('latin1') === text;
}

function isSrv(value: unknown): value is SrvRecord {
  if (typeof value !== 'object' || value === null) return false;
  const { priority, weight, port, name } = value as Readonly<Record<string, unknown>>;
  return [priority, weight, port].every(isUint16) && typeof name === 'string' && /^[\w.-]{0,253}$/.test(name);
}

function isUint16(value: unknown): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 0xffff;
}
