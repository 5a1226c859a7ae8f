/** The candidate that somebody who wrote `word` probably meant: at most two letters off, or undefined. */
export function closestWord(word: string, candidates: readonly string[]): string | undefined {
  const [best] = candidates
    .filter((candidate) => Math.abs(candidate.length - word.length) <= 2)
    .map((candidate) => ({ candidate, distance: editDistance(word.toLowerCase(), candidate.toLowerCase()) }))
    .filter(({ candidate, distance }) => distance <= 2 && distance < candidate.length / 2)
    .sort((a, b) => a.distance - b.distance);
  return best?.candidate;
}

/** Whether it is one of these words with at most two letters wrong, even where two are half of it. */
export function isNearly(word: string, candidates: readonly string[]): boolean {
  return candidates.some(
    (candidate) => editDistance(word.toLowerCase(), candidate.toLowerCase()) <= Math.min(2, candidate.length / 2),
  );
}

/** Whether one of these keys, rightly or wrongly spelt, is in the map. */
export function mentions(map: Readonly<Record<string, unknown>>, keys: readonly string[]): boolean {
  return Object.keys(map).some((key) => closestWord(key, keys) !== undefined);
}

/** Levenshtein: how many letters to insert, delete or replace. */
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
