/** Whole lines for a descriptor that may not take them. */

/** @returns whether the line was taken, at least in part */
export type WriteLine = (line: string) => boolean;

/**
 * Writes whole lines in order. What a line could not get rid of goes out before the next one, so that no line is torn.
 * @param write like write(2) on a descriptor that does not block: how many bytes were taken; throws with an `errno`
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

/** @returns what did not fit */
function writeWhatFits(write: (bytes: Uint8Array) => number, bytes: Uint8Array): Uint8Array {
  let left = bytes;
  while (left.length > 0) {
    try {
      left = left.subarray(write(left));
    } catch (error) {
      // EAGAIN: full. EPIPE, EIO, ENOSPC, …: nobody reads it (any more). There is no better place to complain.
      if (error instanceof Error && 'errno' in error) break;
      throw error;
    }
  }
  return left;
}
