/**
 * What clients of PostgreSQL say before their ClientHello, and servers answer: https://www.postgresql.org/docs/17/protocol-flow.html,
 * "SSL Session Encryption" and "GSSAPI Session Encryption".
 *
 *   client   length 8 · code            one of two requests, in clear, and then it waits
 *   server   'S': TLS may begin. 'N': not this way
 *
 * With `sslnegotiation=direct` clients begin with the ClientHello, and there is nothing of this.
 */
import { type Malformed, malformed } from '../platform/malformed.ts';

const REQUEST_BYTES = 8;
const SSL_CODE = 80877103;
const GSS_CODE = 80877104;
const CANCEL_CODE = 80877102;
const VERSION_3 = 3 << 16;
/** The first byte of a TLS record with a ClientHello. */
const HANDSHAKE = 22;

export const SSL_REQUEST = request(SSL_CODE);
export const ACCEPTED = Uint8Array.of(0x53);
const REFUSED = Uint8Array.of(0x4e);

export type ParsedPreface =
  | { readonly kind: 'more'; readonly atLeast: number }
  | Malformed
  /** All bytes are requests, and this last one has no answer yet. More bytes must follow the answer. */
  | { readonly kind: 'answer'; readonly toClient: Uint8Array; readonly atLeast: number }
  /** TLS begins after this many bytes of requests, which are all answered; 0: the client sent none. */
  | { readonly kind: 'tls'; readonly prefaceBytes: number };

/** Parses all bytes that the client has sent so far, at least one. */
export function parsePreface(bytes: Uint8Array): ParsedPreface {
  const first = readRequest(bytes, 0);
  if (first.kind !== 'request') return first;
  if (first.code === SSL_CODE) return first.isLast ? answer(ACCEPTED, REQUEST_BYTES) : tlsBehind(bytes, REQUEST_BYTES);
  if (first.isLast) return answer(REFUSED, REQUEST_BYTES);
  const second = readRequest(bytes, REQUEST_BYTES);
  if (second.kind === 'tls') return malformed('it asked for GSSAPI encryption, and then began TLS unasked');
  if (second.kind !== 'request') return second;
  if (second.code !== SSL_CODE) return malformed('it asked for GSSAPI encryption twice');
  const both = 2 * REQUEST_BYTES;
  return second.isLast ? answer(ACCEPTED, both) : tlsBehind(bytes, both);
}

/** Whether a client of a TLS listener has begun as a client of PostgreSQL does. */
export function isPostgres(bytes: Uint8Array): boolean {
  if (bytes.length < REQUEST_BYTES) return false;
  const [length, code] = [read32(bytes, 0), read32(bytes, 4)];
  return length === REQUEST_BYTES && (code === SSL_CODE || code === GSS_CODE);
}

function answer(toClient: Uint8Array, requests: number): ParsedPreface {
  return { kind: 'answer', toClient, atLeast: requests + 1 };
}

function tlsBehind(bytes: Uint8Array, prefaceBytes: number): ParsedPreface {
  if (bytes[prefaceBytes] === HANDSHAKE) return { kind: 'tls', prefaceBytes };
  return malformed('it asked for TLS, and then began something else');
}

type Request = { readonly kind: 'request'; readonly code: number; readonly isLast: boolean };

function readRequest(bytes: Uint8Array, at: number): Request | Exclude<ParsedPreface, { readonly kind: 'answer' }> {
  if (bytes[at] === HANDSHAKE) return { kind: 'tls', prefaceBytes: at };
  if (bytes[at] !== 0) return malformed('that is neither TLS nor PostgreSQL');
  const end = at + REQUEST_BYTES;
  if (bytes.length < end) return { kind: 'more', atLeast: end };
  const [length, code] = [read32(bytes, at), read32(bytes, at + 4)];
  if (length === REQUEST_BYTES && (code === SSL_CODE || code === GSS_CODE)) {
    return { kind: 'request', code, isLast: bytes.length === end };
  }
  if (code === CANCEL_CODE) return malformed('a request of PostgreSQL to cancel a query names no server');
  if (code >> 16 === VERSION_3 >> 16) {
    return malformed('that is PostgreSQL without TLS, and names no server', 'set sslmode=require or a stricter one');
  }
  return malformed('that is neither TLS nor PostgreSQL');
}

function request(code: number): Uint8Array {
  const bytes = new Uint8Array(REQUEST_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, REQUEST_BYTES);
  view.setUint32(4, code);
  return bytes;
}

function read32(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(at);
}
