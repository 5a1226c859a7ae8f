/** Looking through many names for one that leads somewhere. */

/** So many names are looked up at a time: fewer than one client may take of the queries that there may be (cache.ts). */
export const SEARCH_WIDTH = 16;

/**
 * Asks about the names in their order, a few at a time, until the answer for one is yes; then about no further one, and
 * nobody waits for those under way.
 * @returns the one; undefined when all have been asked about in vain
 * @throws what `leadsThere` throws
 */
export function searchNames<Name>(
  names: readonly Name[],
  leadsThere: (name: Name) => Promise<boolean>,
): Promise<Name | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<Name | undefined>();
  const waiting = names.values();
  let isFound = false;
  const work = async (): Promise<void> => {
    for (let next = waiting.next(); !next.done && !isFound; next = waiting.next()) {
      if (!(await leadsThere(next.value))) continue;
      isFound = true;
      resolve(next.value);
    }
  };
  Promise.all(Array.from({ length: SEARCH_WIDTH }, work)).then(() => resolve(undefined), reject);
  return promise;
}
