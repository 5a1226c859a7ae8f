/** Searches many names for one that leads to an address. */

/** How many names are looked up at the same time. It is less than the queries that one client may take (cache.ts). */
export const SEARCH_WIDTH = 16;

/**
 * Checks the names in their order, a few at a time, until `leadsThere` is true for one. Then it checks no further name,
 * and does not wait for checks that are running.
 * @returns that name; undefined if there is none
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
