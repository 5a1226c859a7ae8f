/** ClientHellos to order, right and wrong ones, for the tests. */
import { essence } from '../../../src/protocol/tls-client-hello.ts';

/** The number in two bytes. */
export function u16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}

/** Bytes with their length before them, in one byte or two. */
export function vector(prefix: 1 | 2, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  return Buffer.concat([prefix === 1 ? Buffer.from([content.length]) : u16(content.length), content]);
}

export function extension(type: number, ...parts: readonly Uint8Array[]): Buffer {
  return Buffer.concat([u16(type), vector(2, ...parts)]);
}

/** A server_name extension with these host names. */
export function serverName(...names: readonly string[]): Buffer {
  return extension(
    0,
    vector(2, ...names.flatMap((name) => [Buffer.from([0]), vector(2, Buffer.from(name, 'latin1'))])),
  );
}

export interface HelloParts {
  readonly version?: number;
  readonly session?: Buffer;
  readonly ciphers?: Buffer;
  readonly compression?: Buffer;
  /** `none`: not even an empty list. */
  readonly extensions?: readonly Buffer[] | 'none';
  /** Behind the extensions. */
  readonly rest?: Buffer;
}

/** The body of a ClientHello. */
export function helloBody(parts: HelloParts = {}): Buffer {
  const { extensions = [serverName('a.example')] } = parts;
  return Buffer.concat([
    u16(parts.version ?? 0x0303),
    Buffer.alloc(32, 0x5a),
    parts.session ?? vector(1, Buffer.alloc(32, 1)),
    parts.ciphers ?? vector(2, u16(0x1301), u16(0xc02f)),
    parts.compression ?? vector(1, Buffer.from([0])),
    extensions === 'none' ? Buffer.alloc(0) : vector(2, ...extensions),
    parts.rest ?? Buffer.alloc(0),
  ]);
}

/** A handshake message of this type. */
export function message(type: number, body: Uint8Array, length = body.length): Buffer {
  return Buffer.concat([Buffer.from([type, length >> 16]), u16(length & 0xffff), body]);
}

export function record(type: number, fragment: Uint8Array, version = 0x0301): Buffer {
  return Buffer.concat([Buffer.from([type]), u16(version), vector(2, fragment)]);
}

/** A ClientHello in one record. */
export function clientHello(parts: HelloParts = {}): Buffer {
  return record(22, message(1, helloBody(parts)));
}

/** The handshake message of a ClientHello in one record, in records of at most `size` bytes. */
export function intoRecords(hello: Uint8Array, size: number): Buffer {
  const whole = hello.subarray(5);
  const fragments = Array.from({ length: Math.ceil(whole.length / size) }, (_, i) =>
    whole.subarray(i * size, (i + 1) * size),
  );
  return Buffer.concat(fragments.map((fragment) => record(22, fragment)));
}

/** With every byte changed that a precedent leaves out. */
export function withoutInessentials(bytes: Uint8Array): Buffer {
  const other = Buffer.from(bytes);
  const except = essence(bytes)?.except ?? [];
  for (let i = 0; i < except.length; i += 2) {
    for (let at = except[i] ?? 0; at < (except[i + 1] ?? 0); at++) other[at] = 0xff - (other[at] ?? 0);
  }
  return other;
}
