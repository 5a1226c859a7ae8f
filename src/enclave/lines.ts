/** Splits a stream of bytes into lines of bounded length. */

/** A longer line is continued in the next one. */
export const LONGEST_LINE_BYTES = 8192;

const LF = 0x0a;
const CR = 0x0d;

export class LineSplitter {
  #rest: Buffer = Buffer.alloc(0);

  push(bytes: Uint8Array): void {
    this.#rest = this.#rest.length === 0 ? Buffer.from(bytes) : Buffer.concat([this.#rest, bytes]);
  }

  /** The next line without its end; undefined if no line is complete. */
  take(): Buffer | undefined {
    const end = this.#rest.subarray(0, LONGEST_LINE_BYTES + 1).indexOf(LF);
    if (end < 0 && this.#rest.length <= LONGEST_LINE_BYTES) return undefined;
    const line = this.#rest.subarray(0, end < 0 ? LONGEST_LINE_BYTES : end);
    this.#rest = this.#rest.subarray(end < 0 ? LONGEST_LINE_BYTES : end + 1);
    return line.at(-1) === CR ? line.subarray(0, -1) : line;
  }

  /** The bytes after the last line, which will not be completed. */
  takeRest(): Buffer | undefined {
    const rest = this.#rest;
    this.#rest = Buffer.alloc(0);
    return rest.length === 0 ? undefined : rest;
  }
}
