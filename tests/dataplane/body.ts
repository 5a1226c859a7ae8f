/** Where a message body ends among the bytes of a stream: RFC 9112 sections 6 and 7. */
import type { Framing } from '../../src/protocol/framing.ts';

export class FakeBody {
  readonly #kind: Framing['kind'];
  /** Of the body, or of the chunk. */
  #left: number;
  #chunk: 'size' | 'data' | 'after data' | 'trailer' = 'size';
  #done: boolean;

  constructor(framing: Framing) {
    this.#kind = framing.kind;
    this.#left = framing.kind === 'length' ? framing.bytes : 0;
    this.#done = framing.kind === 'none' || (framing.kind === 'length' && framing.bytes === 0);
  }

  /** Never of a body that lasts until the end of its stream. */
  get done(): boolean {
    return this.#done;
  }

  /** Whether the stream may end here. */
  get mayEnd(): boolean {
    return this.#done || this.#kind === 'eof';
  }

  /** How many of the next bytes of the stream belong to the body and can go on; undefined when they make no sense. */
  take(bytes: Buffer): number | undefined {
    if (this.#kind === 'eof') return bytes.length;
    if (this.#kind === 'chunked') return this.#takeChunks(bytes);
    const taken = Math.min(this.#left, bytes.length);
    this.#left -= taken;
    this.#done = this.#left === 0;
    return taken;
  }

  #takeChunks(bytes: Buffer): number | undefined {
    let at = 0;
    while (!this.#done && at < bytes.length) {
      if (this.#chunk === 'data') {
        const taken = Math.min(this.#left, bytes.length - at);
        this.#left -= taken;
        at += taken;
        if (this.#left === 0) this.#chunk = 'after data';
        continue;
      }
      const end = bytes.indexOf('\r\n', at);
      if (end < 0) break;
      if (!this.#takeLine(bytes.toString('latin1', at, end))) return undefined;
      at = end + 2;
    }
    return at;
  }

  /** @returns whether it makes sense */
  #takeLine(line: string): boolean {
    switch (this.#chunk) {
      case 'size':
        if (!/^[\da-f]{1,8}$/i.test(line)) return false;
        this.#left = Number.parseInt(line, 16);
        this.#chunk = this.#left === 0 ? 'trailer' : 'data';
        return true;
      case 'trailer':
        this.#done = line === '';
        return true;
      default:
        this.#chunk = 'size';
        return line === '';
    }
  }
}
