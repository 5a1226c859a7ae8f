/** Changes bytes at random: small, large, and with what the parser under test has a meaning for. */

/** One change of `bytes`, or a few; `others` lend parts, `fragments` are put in as they are. */
export function mutate(
  bytes: Uint8Array,
  random: () => number,
  others: readonly Uint8Array[],
  fragments: readonly Uint8Array[],
): Buffer {
  const below = (limit: number) => Math.floor(random() * limit);
  let mutant = Buffer.from(bytes);
  for (let count = random() < 0.6 ? 1 : 2 + below(3); count > 0; count--) {
    const from = below(mutant.length + 1);
    const to = Math.min(mutant.length, from + below(random() < 0.8 ? 8 : mutant.length + 1));
    const put = (...middle: readonly Uint8Array[]) =>
      Buffer.concat([mutant.subarray(0, from), ...middle, mutant.subarray(to)]);
    switch (below(8)) {
      case 0:
        mutant = put();
        break;
      case 1:
        mutant = put(mutant.subarray(from, to), mutant.subarray(from, to));
        break;
      case 2:
        mutant = put(Buffer.from([below(256)]));
        break;
      case 3:
        // One bit, or one more or less: lengths are the numbers that matter.
        if (from < mutant.length)
          mutant[from] = random() < 0.5 ? (mutant[from] ?? 0) ^ (1 << below(8)) : (mutant[from] ?? 0) + below(5) - 2;
        break;
      case 4: {
        const other = others[below(others.length)] ?? bytes;
        const start = below(other.length);
        mutant = put(other.subarray(start, start + below(64)));
        break;
      }
      case 5:
        mutant = mutant.subarray(0, from);
        break;
      default:
        mutant = put(
          ...(random() < 0.5 ? [mutant.subarray(from, to)] : []),
          fragments[below(fragments.length)] ?? bytes,
        );
    }
  }
  return mutant;
}
