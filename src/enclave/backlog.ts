/**
 * Bytes that wait to be sent, in order. They are in blocks, so that many short lines take no more memory than few long
 * ones.
 */

const BLOCK_BYTES = 8192;

export class Backlog {
  readonly #blocks: Buffer[] = [];
  /** The length of the last block. */
  #usedBytes = BLOCK_BYTES;
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  push(bytes: Buffer): void {
    this.#bytes += bytes.length;
    for (let rest = bytes; rest.length > 0; ) {
      if (this.#usedBytes === BLOCK_BYTES) {
        this.#blocks.push(Buffer.allocUnsafeSlow(BLOCK_BYTES));
        this.#usedBytes = 0;
      }
      const copied = rest.copy(this.#blocks.at(-1) ?? rest, this.#usedBytes);
      this.#usedBytes += copied;
      rest = rest.subarray(copied);
    }
  }

  /** The first block of bytes; undefined if there are none. */
  take(): Buffer | undefined {
    const block = this.#blocks.shift();
    if (block === undefined) return undefined;
    const taken = this.#blocks.length > 0 ? block : block.subarray(0, this.#usedBytes);
    if (this.#blocks.length === 0) this.#usedBytes = BLOCK_BYTES;
    this.#bytes -= taken.length;
    return taken;
  }
}
