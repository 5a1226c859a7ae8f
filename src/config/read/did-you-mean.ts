/** The candidate that the author of `word` probably meant, at most two edits away; or undefined. */
export function closestWord(word: string, candidates: readonly string[]): string | undefined {
  const [best] = candidates
    .filter((candidate) => Math.abs(candidate.length - word.length) <= 2)
    .map((candidate) => ({ candidate, distance: editDistance(word.toLowerCase(), candidate.toLowerCase()) }))
    .filter(({ candidate, distance }) => distance <= 2 && distance < candidate.length / 2)
    .sort((a, b) => a.distance - b.distance);
  return best?.candidate;
}

/** Whether the word is at most two edits away from one of these words, even if two edits are half of it. */
export function isNearly(word: string, candidates: readonly string[]): boolean {
  return candidates.some(
    (candidate) => editDistance(word.toLowerCase(), candidate.toLowerCase()) <= Math.min(2, candidate.length / 2),
  );
}

/** Whether the map has one of these keys, spelt correctly or not. */
export function mentions(map: Readonly<Record<string, unknown>>, keys: readonly string[]): boolean {
  return Object.keys(map).some((key) => closestWord(key, keys) !== undefined);
}

/** The Levenshtein distance: the number of letters to insert, delete or replace. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (const letter of from) {
    const next = [(row[0] ?? 0) + 1];
    for (let i = 1; i <= to.length; i++) {
      const replaced = (row[i - 1] ?? 0) + (letter === to[i - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[i] ?? 0) + 1, (next[i - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
