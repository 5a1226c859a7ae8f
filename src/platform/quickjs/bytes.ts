/** `Buffer`, as far as the enclave's side and its libraries use it. globals.ts installs it. */

type Encoding = 'utf8' | 'utf-8' | 'latin1' | 'ascii' | 'hex' | 'base64';

const BASE64 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

export class Bytes extends Uint8Array {
  static alloc(size: number): Bytes {
    return new Bytes(size);
  }

  static allocUnsafe(size: number): Bytes {
    return new Bytes(size);
  }

  static allocUnsafeSlow(size: number): Bytes {
    return new Bytes(size);
  }

  static concat(parts: readonly Uint8Array[]): Bytes {
    const bytes = new Bytes(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  }

  static isBuffer(value: unknown): boolean {
    return value instanceof Bytes;
  }

  static byteLength(value: string | Uint8Array, encoding?: Encoding): number {
    return typeof value === 'string' ? encode(value, encoding).length : value.length;
  }

  /** A view, as in Node.js. */
  override slice(from?: number, to?: number): Bytes {
    return this.subarray(from, to);
  }

  override subarray(from?: number, to?: number): Bytes {
    return super.subarray(from, to) as Bytes;
  }

  override toString(encoding: Encoding = 'utf8', from = 0, to = this.length): string {
    const bytes = from === 0 && to === this.length ? this : this.subarray(from, to);
    switch (encoding) {
      case 'utf8':
      case 'utf-8':
        return host.decode(bytes);
      case 'latin1':
      case 'ascii':
        return host.decodeLatin1(bytes);
      case 'hex':
        return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
      case 'base64':
        return toBase64(bytes);
    }
  }

  write(text: string, at = 0, length?: number | Encoding, encoding?: Encoding): number {
    const bytes = encode(text, typeof length === 'string' ? length : encoding);
    const most = Math.min(bytes.length, this.length - at, typeof length === 'number' ? length : bytes.length);
    this.set(bytes.subarray(0, most), at);
    return most;
  }

  copy(to: Uint8Array, at = 0, from = 0, end = this.length): number {
    const bytes = this.subarray(from, Math.min(end, from + to.length - at));
    to.set(bytes, at);
    return bytes.length;
  }

  equals(other: Uint8Array): boolean {
    return this.length === other.length && this.every((byte, at) => byte === other[at]);
  }

  readUInt8(at = 0): number {
    return this.#byte(at);
  }

  readUInt16BE(at = 0): number {
    return this.#byte(at) * 2 ** 8 + this.#byte(at + 1);
  }

  readUInt32BE(at = 0): number {
    return this.readUInt16BE(at) * 2 ** 16 + this.readUInt16BE(at + 2);
  }

  writeUInt8(value: number, at = 0): number {
    this.#byte(at);
    this[at] = value;
    return at + 1;
  }

  writeUInt16BE(value: number, at = 0): number {
    this.writeUInt8(value >>> 8, at);
    return this.writeUInt8(value, at + 1);
  }

  writeUInt32BE(value: number, at = 0): number {
    this.writeUInt16BE(value >>> 16, at);
    return this.writeUInt16BE(value, at + 2);
  }

  /** @throws RangeError for a position after the end, as Node.js does */
  #byte(at: number): number {
    const byte = this[at];
    if (byte === undefined) throw new RangeError(`offset ${at} is out of range`);
    return byte;
  }
}

/** `Buffer.from`: a text, a view of shared memory, or a copy of bytes. */
function bytesOf(source: string | ArrayBuffer | ArrayLike<number>, second?: Encoding | number, length?: number): Bytes {
  if (typeof source === 'string') return encode(source, second as Encoding | undefined);
  if (source instanceof ArrayBuffer) return new Bytes(source, (second as number | undefined) ?? 0, length);
  const bytes = new Bytes(source.length);
  bytes.set(source);
  return bytes;
}

// It is outside of the class, because arrays have another function of this name.
Object.assign(Bytes, { from: bytesOf });

function encode(text: string, encoding: Encoding = 'utf8'): Bytes {
  switch (encoding) {
    case 'utf8':
    case 'utf-8':
      return view(host.encode(text));
    case 'latin1':
    case 'ascii':
      return view(host.encodeLatin1(text));
    case 'hex':
      return bytesOf(text.match(/[\da-f]{2}/gi)?.map((digits) => Number.parseInt(digits, 16)) ?? []);
    case 'base64':
      throw new TypeError('nobody reads base64 here');
  }
}

function view({ buffer }: Uint8Array): Bytes {
  return new Bytes(buffer as ArrayBuffer);
}

function toBase64(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 3) {
    const word = ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0);
    const digits = [18, 12, 6, 0].map((shift) => BASE64[(word >> shift) & 63]).join('');
    text += digits.slice(0, Math.min(4, bytes.length - at + 1)).padEnd(4, '=');
  }
  return text;
}
