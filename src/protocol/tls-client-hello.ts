/**
 * Reads the server name (SNI) from the first bytes of a TLS client (RFC 8446 section 4.1.2, RFC 6066 section 3).
 *
 *   record   22 · version · length ─► fragments of one handshake message
 *   message  1 · length ─► version · random · session id · cipher suites · compression · extensions
 *   extension 0 (server_name) ─► list of type 0 (host_name) and name
 *
 * Nothing is decrypted or changed. With Encrypted ClientHello the name is the one in the outer ClientHello, which is
 * sent in clear and leads the connection to the server's operator. The proxy cannot read the name in the encrypted
 * part, and cannot see whether there is one, because browsers also send random bytes there.
 */
import { quoteBriefly } from '../platform/escape.ts';
import { type Malformed, malformed } from '../platform/malformed.ts';
import { isIP, isIPv4 } from '../platform/system/ip.ts';
import { HEAD_LIMIT, latin1 } from './head.ts';

export type ParsedClientHello =
  /** More bytes are needed. `atLeast` is the total number of bytes before the next call is useful. */
  | { readonly kind: 'more'; readonly atLeast: number }
  | Malformed
  /** The ClientHello has no server name. `problem` has the same form as in {@link Malformed}. */
  | { readonly kind: 'no-name'; readonly problem: string }
  /** The name as sent, without a dot at its end: ASCII letters, digits, `-`, `.` and `_`, and no IP address. */
  | { readonly kind: 'name'; readonly name: string };

/** Clients send one record, or a few to pass a filter. Every record is read again whenever bytes arrive. */
export const RECORD_LIMIT = 64;

/** Reads a ClientHello from all bytes that the client has sent so far. */
export function parseClientHello(bytes: Uint8Array): ParsedClientHello {
  const message = readMessage(bytes);
  if (message.kind === 'malformed') return message;
  const { body, bodyBytes, atLeast } = message;
  if (atLeast > HEAD_LIMIT) return malformed(`the ClientHello is larger than ${HEAD_LIMIT} bytes`);
  return (bodyBytes === undefined ? undefined : readHello(body, bodyBytes)) ?? { kind: 'more', atLeast };
}

/** The bytes of a ClientHello that decide its name: the first `bytes`, without the ranges that `except` bounds. */
export interface Essence {
  readonly bytes: number;
  readonly except: readonly number[];
}

/**
 * Finds the bytes that two ClientHellos must share to name the same server. They may differ in the random number, the
 * session id, the lists and the content of extensions other than server_name.
 * @param bytes a ClientHello in which {@link parseClientHello} finds a name
 * @returns undefined for a ClientHello that is spread over several records
 */
export function essence(bytes: Uint8Array): Essence | undefined {
  const bodyAt = RECORD_HEADER + MESSAGE_HEADER;
  const end = RECORD_HEADER + read16(bytes, 3);
  if (end !== bodyAt + read16(bytes, bodyAt - 2)) return undefined;
  const except = [bodyAt + 2, bodyAt + VERSION_AND_RANDOM];
  let at = bodyAt + VERSION_AND_RANDOM;
  for (const { prefix } of VECTORS) {
    const from = at + prefix;
    at = from + (prefix === 1 ? (bytes[at] ?? 0) : read16(bytes, at));
    except.push(from, at);
  }
  for (at += 2; at < end; ) {
    const from = at + EXTENSION_HEADER;
    const isName = read16(bytes, at) === SERVER_NAME;
    at = from + read16(bytes, at + 2);
    if (!isName) except.push(from, at);
  }
  return { bytes: end, except };
}

const RECORD_HEADER = 5;
const RECORD_MAX = 1 << 14;
const HANDSHAKE = 22;
const MESSAGE_HEADER = 4;
const CLIENT_HELLO = 1;

/** The part of the first handshake message that has arrived, without its header. */
interface Message {
  readonly kind: 'message';
  readonly body: Uint8Array;
  /** The length of the whole body, or undefined until the header of the message has arrived. */
  readonly bodyBytes: number | undefined;
  /** The total number of bytes before the header or the body can be whole. */
  readonly atLeast: number;
}

/** Joins the fragments of the records. */
function readMessage(bytes: Uint8Array): Message | Malformed {
  let message: Uint8Array = bytes.subarray(0, 0);
  let bodyBytes: number | undefined;
  let missing = MESSAGE_HEADER;
  let at = 0;
  for (let record = 0; record < RECORD_LIMIT; record++) {
    const wrong = checkRecordHeader(bytes, at);
    if (wrong !== undefined) return wrong;
    const from = at + RECORD_HEADER;
    if (bytes.length < from) return soFar(message, bodyBytes, from + missing);

    const end = from + read16(bytes, at + 3);
    // Nearly every message is in one record, and is then not copied.
    const fragment = bytes.subarray(from, Math.min(end, bytes.length));
    const carried = message.length + end - from;
    message = record === 0 ? fragment : Buffer.concat([message, fragment]);

    const type = message[0] ?? CLIENT_HELLO;
    if (type !== CLIENT_HELLO) return malformed(`the first TLS message is of type ${type}, not a ClientHello`);
    if (message.length >= MESSAGE_HEADER) {
      bodyBytes = ((message[1] ?? 0) << 16) | read16(message, 2);
      if (carried > MESSAGE_HEADER + bodyBytes) return malformed('something follows the ClientHello in its record');
    }
    missing = MESSAGE_HEADER + (bodyBytes ?? 0) - carried;
    if (missing <= 0) return soFar(message, bodyBytes, end);
    if (bytes.length < end) return soFar(message, bodyBytes, end + RECORD_HEADER + missing);
    at = end;
  }
  return malformed(`the ClientHello comes in more than ${RECORD_LIMIT} records`);
}

function soFar(message: Uint8Array, bodyBytes: number | undefined, atLeast: number): Message {
  return { kind: 'message', body: message.subarray(MESSAGE_HEADER), bodyBytes, atLeast };
}

/** Checks the part of a record's header that has arrived. */
function checkRecordHeader(bytes: Uint8Array, at: number): Malformed | undefined {
  const type = bytes[at] ?? HANDSHAKE;
  const major = bytes[at + 1] ?? 3;
  if (type !== HANDSHAKE) {
    return malformed(at === 0 ? explainFirstByte(type) : `a TLS record of type ${type} cuts the ClientHello`);
  }
  if (major !== 3) return malformed(`TLS record version ${major}.x is not supported. Hint: use TLS 1.2 or 1.3`);
  if (bytes.length < at + RECORD_HEADER) return undefined;
  const length = read16(bytes, at + 3);
  if (length === 0) return malformed('a TLS record is empty');
  return length > RECORD_MAX ? malformed(`a TLS record has ${length} bytes, more than ${RECORD_MAX}`) : undefined;
}

function explainFirstByte(byte: number): string {
  const hint = 'Hint: this listener routes by the server name in TLS, as https:// URLs lead to';
  // HTTP methods and the greetings of most protocols in clear begin with an upper-case letter.
  if (byte >= 0x41 && byte <= 0x5a) return `that is HTTP or another protocol in clear, not TLS. ${hint}`;
  return byte >= 0x80 ? `that is SSL 2.0 or no TLS at all. ${hint}` : `that is not TLS (first byte ${byte}). ${hint}`;
}

const VERSION_AND_RANDOM = 2 + 32;

/** The vectors before the extensions of a ClientHello: the size of the length field, and the lengths that are valid. */
const VECTORS: readonly { readonly name: string; readonly prefix: 1 | 2; readonly fits: (bytes: number) => boolean }[] =
  [
    { name: 'session id', prefix: 1, fits: (bytes) => bytes <= 32 },
    { name: 'list of cipher suites', prefix: 2, fits: (bytes) => bytes >= 2 && bytes % 2 === 0 },
    { name: 'list of compression methods', prefix: 1, fits: (bytes) => bytes >= 1 },
  ];

const EXTENSION_HEADER = 4;
const SERVER_NAME = 0;
const ENCRYPTED_CLIENT_HELLO = 0xfe0d;
const NO_NAME =
  'the ClientHello names no server (no SNI). Hint: connect to the server by its name, not by an IP address, and by one that ' +
  'its client sends: Java sends none that has an underscore or no dot';
const HIDDEN_NAME = 'the ClientHello has its server name encrypted only (ECH without outer SNI)';

type Outcome = Exclude<ParsedClientHello, { readonly kind: 'more' }>;

/** Reads the body of a ClientHello of `length` bytes. Returns undefined if the body is valid so far but not whole. */
function readHello(body: Uint8Array, length: number): Outcome | undefined {
  const major = body[0] ?? 3;
  const minor = body[1] ?? 3;
  if (major !== 3 || minor === 0)
    return malformed(`version ${major}.${minor} is not supported. Hint: use TLS 1.2 or 1.3`);

  let at = VERSION_AND_RANDOM;
  for (const { name, prefix, fits } of VECTORS) {
    const end = vectorEnd(body, at, prefix, length);
    if (typeof end !== 'number') return end;
    if (!fits(end - at - prefix)) return malformed(`the ClientHello has a ${name} of ${end - at - prefix} bytes`);
    at = end;
  }
  if (at === length) return body.length < length ? undefined : { kind: 'no-name', problem: NO_NAME };
  const extensionsEnd = vectorEnd(body, at, 2, length);
  if (typeof extensionsEnd !== 'number') return extensionsEnd;
  if (extensionsEnd !== length) return malformed('something follows the extensions of the ClientHello');

  // A ClientHello has a dozen or more extensions, so this loop makes no call for each.
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  const { byteLength } = view;
  let name: Outcome | undefined;
  let hidden = false;
  for (at += 2; at < length; ) {
    const from = at + EXTENSION_HEADER;
    if (from > byteLength) return from > length ? malformed(TOO_SHORT) : undefined;
    const end = from + view.getUint16(at + 2);
    if (end > length) return malformed(TOO_SHORT);
    const type = view.getUint16(at);
    if (type === SERVER_NAME) {
      if (name !== undefined) return malformed('the ClientHello has two server_name extensions');
      if (end > byteLength) return undefined;
      name = readServerName(body.subarray(from, end));
      if (name.kind === 'malformed') return name;
    } else if (type === ENCRYPTED_CLIENT_HELLO) {
      hidden = true;
    }
    at = end;
  }
  if (byteLength < length) return undefined;
  return name ?? { kind: 'no-name', problem: hidden ? HIDDEN_NAME : NO_NAME };
}

/** Reads the content of a server_name extension. */
function readServerName(list: Uint8Array): Outcome {
  // The list has 2 bytes of length, then for each name 1 byte of type, 2 of length, and the name. The only type that
  // exists is 0 (host name), and a list has at most one.
  if (list.length < 2 || read16(list, 0) !== list.length - 2)
    return malformed('the list of server names has a wrong length');
  if (list.length === 2) return malformed('the list of server names is empty');
  if (list[2] !== 0) return malformed(`server name type ${list[2]} does not exist`);
  const end = vectorEnd(list, 3, 2, list.length);
  if (typeof end !== 'number') return malformed('a server name has a wrong length');
  if (end !== list.length) return malformed('the ClientHello has more than one server name');
  // RFC 6066 forbids a dot at the end, but OpenSSL, NSS, Python, Node.js and Erlang send the name that they were given.
  const name = latin1(list.subarray(5)).replace(/\.$/, '');
  if (NAME.test(name) && !isIPv4(name)) return { kind: 'name', name };
  const shown = quoteBriefly(name);
  return isIP(name) === 0
    ? malformed(`${shown} is not a server name`)
    : { kind: 'no-name', problem: `the server name is the IP address ${shown}, and TLS has names only there` };
}

/** Names are ASCII (RFC 6066). */
const NAME = /^(?!\.)[\w.-]{1,253}(?<!\.)$/;

/**
 * Finds the end of the vector at `at`, whose length field has `prefix` bytes. Returns undefined if the length field has
 * not arrived, and malformed if the vector does not fit into `limit`. The content may not have arrived yet.
 */
function vectorEnd(bytes: Uint8Array, at: number, prefix: 1 | 2, limit: number): number | Malformed | undefined {
  const from = at + prefix;
  if (from > limit) return malformed(TOO_SHORT);
  if (from > bytes.length) return undefined;
  const end = from + (prefix === 1 ? (bytes[at] ?? 0) : read16(bytes, at));
  return end > limit ? malformed(TOO_SHORT) : end;
}

const TOO_SHORT = 'the ClientHello is shorter than what is in it';

function read16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}
