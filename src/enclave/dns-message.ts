/**
 * Parses a DNS query and writes its reply (RFC 1035, RFC 6891), as far as resolvers on the same machine need it: for
 * addresses of names, and for other records that the parent looks up.
 *
 * Text that a query cannot contain is refused before anything is decoded. The question section is returned byte for
 * byte.
 */
import { type Answer, decode, encode, RECURSION_AVAILABLE, RECURSION_DESIRED, TRUNCATED_RESPONSE } from 'dns-packet';
import { type Hostname, type IpAddress, parseHostname } from '../access/address.ts';
import type { RecordSet } from '../dns/records.ts';
import type { FoundRecords } from './parent-records.ts';

/**
 * The addresses of a name, or its records of the requested type; undefined: there is no such name; `failed`: the answer
 * is unknown now.
 * @param type of the requested records, such as `A`
 */
export type LookUp = (name: Hostname, type: string) => FoundInZone | Promise<FoundInZone>;
export type FoundInZone = readonly IpAddress[] | FoundRecords;

export type Transport = 'udp' | 'tcp';

/** No query is longer: a name of 255 bytes, an EDNS record with its options, and some room. */
export const LONGEST_QUERY = 2048;

/** The longest replies over UDP: without EDNS (RFC 1035 4.2.1), and with it. */
const PLAIN_LIMIT = 512;
const EDNS_LIMIT = 4096;
/** The TTL is short, so that no client keeps an address for long after the table forgets it. */
const TTL_SECONDS = 60;

const HEADER_BYTES = 12;
const RESPONSE = 0x8000;
const OPCODE = 0x7800;
const RCODES = { none: 0, formerr: 1, servfail: 2, nxdomain: 3, notimp: 4, refused: 5 } as const;
/** BADVERS is 16: these upper bits are in the EDNS record, and 0 is in the header. */
const BADVERS_UPPER = 1;

/**
 * @returns undefined if the message is not a query, and gets no reply; a promise, which is never rejected, if the
 * answer takes time
 */
export function answerQuery(
  message: Buffer,
  transport: Transport,
  lookUp: LookUp,
): Buffer | undefined | Promise<Buffer> {
  if (message.length < HEADER_BYTES || (message.readUInt16BE(2) & RESPONSE) !== 0) return undefined;
  if ((message.readUInt16BE(2) & OPCODE) !== 0) return refuse(message, RCODES.notimp);
  const query = readQuery(message);
  if (query === undefined) return refuse(message, RCODES.formerr);

  const { type, edns } = query;
  if (edns !== undefined && edns.version !== 0) return encodeReply(query, { extendedRcode: BADVERS_UPPER });
  if (query.class !== 'IN' || TRANSFERS.has(type)) return encodeReply(query, { rcode: RCODES.refused });
  const name = parseHostname(query.name);
  const found = typeof name === 'string' ? lookUp(name, type) : undefined;
  if (!(found instanceof Promise)) return answerWith(query, found, transport);
  return found.then((settled) => answerWith(query, settled, transport));
}

function answerWith(query: Query, found: FoundInZone, transport: Transport): Buffer {
  if (found === undefined) return encodeReply(query, { rcode: RCODES.nxdomain });
  if (found === 'failed') return encodeReply(query, { rcode: RCODES.servfail });
  const { edns } = query;
  const whole = encodeReply(query, { found });
  const limit = edns === undefined ? PLAIN_LIMIT : Math.min(Math.max(edns.payloadBytes, PLAIN_LIMIT), EDNS_LIMIT);
  return transport === 'tcp' || whole.length <= limit ? whole : encodeReply(query, { flags: TRUNCATED_RESPONSE });
}

/** Types for whole zones, which are not served here. */
const TRANSFERS: ReadonlySet<string> = new Set(['AXFR', 'IXFR']);

interface Query {
  readonly id: number;
  readonly flags: number;
  /** The question section as received. */
  readonly question: Buffer;
  readonly name: string;
  /** `UNKNOWN_65` for a type that the library does not know. */
  readonly type: string;
  readonly class: string;
  readonly edns: { readonly version: number; readonly payloadBytes: number } | undefined;
}

/** @returns undefined if the message is malformed */
function readQuery(message: Buffer): Query | undefined {
  const [questions, answers, authorities, additionals] = [4, 6, 8, 10].map((at) => message.readUInt16BE(at));
  if (questions !== 1 || answers !== 0 || authorities !== 0 || (additionals ?? 0) > 1) return undefined;
  const question = sliceQuestion(message);
  if (question === undefined) return undefined;
  try {
    const { id = 0, flags = 0, questions: [first] = [], additionals: [extra] = [] } = decode(message);
    if (first === undefined) return undefined;
    const { name, type, class: ofClass = '' } = first;
    const edns = extra?.type === 'OPT' ? { version: extra.ednsVersion, payloadBytes: extra.udpPayloadSize } : undefined;
    return { id, flags, question, name, type, class: ofClass, edns };
  } catch {
    return undefined; // the library throws if a message ends too soon, or if a pointer points forward
  }
}

/** The first question; undefined if it is cut off, or if it contains a pointer, because there is nothing before it. */
function sliceQuestion(message: Buffer): Buffer | undefined {
  let at = HEADER_BYTES;
  for (let length = message[at]; length !== 0; length = message[at]) {
    if (length === undefined || length > 63) return undefined;
    at += 1 + length;
  }
  const end = at + 5; // the final zero, type, class
  return end <= message.length ? message.subarray(HEADER_BYTES, end) : undefined;
}

/** A reply without the question, to a message that could not be read or answered. */
function refuse(message: Buffer, rcode: number): Buffer {
  const reply = Buffer.alloc(HEADER_BYTES);
  reply.writeUInt16BE(message.readUInt16BE(0), 0);
  reply.writeUInt16BE(RESPONSE | (message.readUInt16BE(2) & (OPCODE | RECURSION_DESIRED)) | rcode, 2);
  return reply;
}

interface Content {
  readonly rcode?: number;
  readonly extendedRcode?: number;
  readonly flags?: number;
  readonly found?: readonly IpAddress[] | RecordSet;
}

function encodeReply(query: Query, { rcode = RCODES.none, extendedRcode = 0, flags = 0, found = [] }: Content): Buffer {
  const { id, question, name, edns } = query;
  const rest = encode({
    type: 'response',
    id,
    // Some resolvers take an empty answer without the recursion bit for that of a broken server.
    flags: (query.flags & RECURSION_DESIRED) | RECURSION_AVAILABLE | flags | rcode,
    answers: 'records' in found ? recordAnswers(found, name) : addressAnswers(found, query),
    additionals: edns === undefined ? [] : [ednsRecord(extendedRcode)],
  });
  // The library does not compress names, so the records stay valid when they move.
  rest.writeUInt16BE(1, 4);
  return Buffer.concat([rest.subarray(0, HEADER_BYTES), question, rest.subarray(HEADER_BYTES)]);
}

function addressAnswers(addresses: readonly IpAddress[], query: Query): Answer[] {
  return addresses.flatMap(({ family, text: data }): Answer[] => {
    const type = family === 4 ? 'A' : 'AAAA';
    return query.type === type || query.type === 'ANY' ? [{ type, name: query.name, ttl: TTL_SECONDS, data }] : [];
  });
}

function recordAnswers(set: RecordSet, name: string): Answer[] {
  const common = { name, ttl: TTL_SECONDS };
  if (set.type === 'TXT') {
    return set.records.map((parts) => ({
      ...common,
      type: 'TXT',
      data: parts.map((part) => Buffer.from(part, 'latin1')),
    }));
  }
  return set.records.map(({ name: target, ...data }) => ({ ...common, type: 'SRV', data: { ...data, target } }));
}

function ednsRecord(extendedRcode: number): Answer {
  const unused = { flags: 0, flag_do: false, options: [] };
  return { type: 'OPT', name: '.', udpPayloadSize: EDNS_LIMIT, ednsVersion: 0, extendedRcode, ...unused };
}
