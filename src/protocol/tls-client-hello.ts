/**
 * The server name that a TLS client asks for (RFC 8446 section 4.1.2, RFC 6066 section 3), read from its first bytes.
 *
 *   record   22 · version · length ─► fragments of one handshake message
 *   message  1 · length ─► version · random · session id · cipher suites · compression · extensions
 *   extension 0 (server_name) ─► list of type 0 (host_name) and name
 *
 * Nothing is decrypted or changed. With Encrypted ClientHello the name is that of the outer ClientHello: the one that
 * anybody on the way sees, and where the server's operator has the connection delivered. Which of the operator's sites
 * is meant in the encrypted part nobody here can know, nor whether there is one (browsers send random bytes there).
 */
import { quoteBriefly } from '../platform/escape.ts';
import { type Malformed, malformed } from '../platform/malformed.ts';
import { isIP, isIPv4 } from '../platform/system/ip.ts';
import { HEAD_LIMIT, latin1 } from './head.ts';

export type ParsedClientHello =
  /** `atLeast`: of all bytes, how many it takes to say more; more than there are. */
  | { readonly kind: 'more'; readonly atLeast: number }
  | Malformed
  /** A ClientHello that does not say where it wants to go. `problem` as of {@link Malformed}. */
  | { readonly kind: 'no-name'; readonly problem: string }
  /** ASCII letters, digits, `-`, `.` and `_`, as sent but for the dot at its end; no IP address. */
  | { readonly kind: 'name'; readonly name: string };

/** Clients send one record, or a few to slip through somewhere; each costs time whenever bytes come. */
export const RECORD_LIMIT = 64;

/** Reads a ClientHello from all bytes that the client has sent so far. */
export function parseClientHello(bytes: Uint8Array): ParsedClientHello {
  const message = readMessage(bytes);
  if (message.kind === 'malformed') return message;
  const { body, bodyBytes, atLeast } = message;
  if (atLeast > HEAD_LIMIT) return malformed(`the ClientHello is larger than ${HEAD_LIMIT} bytes`);
  return (bodyBytes === undefined ? undefined : readHello(body, bodyBytes)) ?? { kind: 'more', atLeast };
}

/** What of a ClientHello decides how it is read: the first `bytes` bytes, but for the ranges that `except` bounds. */
export interface Essence {
  readonly bytes: number;
  readonly except: readonly number[];
}

/**
 * What two ClientHellos must have in common to name the same server: everything but their random numbers, session ids,
 * lists, and the content of extensions other than server_name.
 * @param bytes where {@link parseClientHello} finds a name
 * @returns undefined for one that is spread over several records
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

/** What has come of the first handshake message, without its header. */
interface Message {
  readonly kind: 'message';
  readonly body: Uint8Array;
  /** How long `body` is to become; undefined as long as the message's header has not come. */
  readonly bodyBytes: number | undefined;
  /** How many bytes there must be of everything before the header or the body can be whole. */
  readonly atLeast: number;
}

/** Puts the records' fragments together. */
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
    // A part of one record, as nearly always, is not copied.
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

/** What is wrong with as much of a record's header as has come. */
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
  // Methods begin with an upper-case letter, and so do the greetings of most protocols in clear.
  if (byte >= 0x41 && byte <= 0x5a) return `that is HTTP or another protocol in clear, not TLS. ${hint}`;
  return byte >= 0x80 ? `that is SSL 2.0 or no TLS at all. ${hint}` : `that is not TLS (first byte ${byte}). ${hint}`;
}

const VERSION_AND_RANDOM = 2 + 32;

/** What stands in a ClientHello before the extensions: lengths of how many bytes, and which are possible. */
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

/** Reads the body of a ClientHello that is to be `length` bytes long. Undefined: right so far, but not whole. */
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

  // There are a dozen or more of them: without a call for each.
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
  // list length 2, then for each name: type 1, length 2, name; only host names (type 0) exist, and one at most.
  if (list.length < 2 || read16(list, 0) !== list.length - 2)
    return malformed('the list of server names has a wrong length');
  if (list.length === 2) return malformed('the list of server names is empty');
  if (list[2] !== 0) return malformed(`server name type ${list[2]} does not exist`);
  const end = vectorEnd(list, 3, 2, list.length);
  if (typeof end !== 'number') return malformed('a server name has a wrong length');
  if (end !== list.length) return malformed('the ClientHello has more than one server name');
  // Without its dot at the end, says RFC 6066; OpenSSL, NSS, Python, Node.js and Erlang send what they were given.
  const name = latin1(list.subarray(5)).replace(/\.$/, '');
  if (NAME.test(name) && !isIPv4(name)) return { kind: 'name', name };
  const shown = quoteBriefly(name);
  return isIP(name) === 0
    ? malformed(`${shown} is not a server name`)
    : { kind: 'no-name', problem: `the server name is the IP address ${shown}, and TLS has names only there` };
}

/** RFC 6066: ASCII. */
const NAME = /^(?!\.)[\w.-]{1,253}(?<!\.)$/;

/**
 * Where the vector at `at`, with its length in `prefix` bytes, ends: `undefined` if its length has not come, malformed if
 * it does not fit into `limit`. What is in it may not have come either.
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
