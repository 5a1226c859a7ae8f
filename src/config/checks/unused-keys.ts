/** Lists keys of a valid file that the program does not use, for the log. */
import type { PlanNote } from '../../plan.ts';
import { writtenPath } from '../problems.ts';
import { asList, asMap, type KeyPath } from '../read/untyped.ts';
import { type EnclaverKey, enclaverKeys, INSTEAD } from '../schema/enclaver.ts';

/** @param placeOf returns the `file:line` of a path */
export function findUnused(value: unknown, placeOf: (path: KeyPath) => string): readonly PlanNote[] {
  const file = asMap(value) ?? {};
  const unused = Object.keys(file).filter(isEnclaverKey);
  const paths: KeyPath[] = unused.map((key) => [key]);
  for (const [index, entry] of asList(file.ingress).entries()) {
    if ('healthcheck' in (asMap(entry) ?? {})) paths.push(['ingress', index, 'healthcheck']);
  }
  const [first] = paths;
  if (first === undefined) return [];
  const text = `${placeOf(first)}: of Enclaver, and not used here: ${paths.map(writtenPath).join(', ')}`;
  const warnings = unused.flatMap((key): PlanNote[] => {
    const instead = INSTEAD[key];
    if (instead === undefined) return [];
    return [{ level: 'warn', text: `${placeOf([key])}: ${key} is not used here. Hint: ${instead}` }];
  });
  return [{ level: 'info', text }, ...warnings];
}

function isEnclaverKey(key: string): key is EnclaverKey {
  return Object.hasOwn(enclaverKeys, key);
}
