/** Writes whole lines to a descriptor that may not accept them. */

/** @returns whether at least a part of the line was written */
export type WriteLine = (line: string) => boolean;

/**
 * Writes whole lines in order. The rest of a line is written before the next one, so that no line is torn.
 * @param write like write(2) on a non-blocking descriptor: returns how many bytes were written, and throws with an
 * `errno`
 */
export function lineWriter(write: (bytes: Uint8Array) => number): WriteLine {
  let rest: Uint8Array = new Uint8Array();
  return (line) => {
    rest = writeWhatFits(write, rest);
    if (rest.length > 0) return false;
    const bytes = Buffer.from(line);
    const left = writeWhatFits(write, bytes);
    if (left.length === bytes.length) return false;
    rest = left;
    return true;
  };
}

/** @returns the bytes that were not written */
function writeWhatFits(write: (bytes: Uint8Array) => number, bytes: Uint8Array): Uint8Array {
  let left = bytes;
  while (left.length > 0) {
    try {
      left = left.subarray(write(left));
    } catch (error) {
      // EAGAIN: the descriptor is full. EPIPE, EIO, ENOSPC, …: nobody reads it. There is no better place to report
      // this.
      if (error instanceof Error && 'errno' in error) break;
      throw error;
    }
  }
  return left;
}
