/** Turns entries of the file into rules with their places. */
import type { PortSet } from '../access/ports.ts';
import type { Rule } from '../access/rules.ts';
import type { LoadedFile } from './load.ts';
import type { KeyPath } from './read/untyped.ts';
import type { WrittenAddress } from './schema/rule.ts';

export interface Entry {
  readonly address: WrittenAddress;
  readonly port?: PortSet | undefined;
  readonly cids?: readonly number[] | undefined;
}

export function onAnyPort(address: WrittenAddress): Entry {
  return { address };
}

export function rulesOf(file: LoadedFile, path: KeyPath, entries: readonly Entry[] = []): readonly Rule[] {
  return entries.map(({ address, port, cids }, index) => ({
    address: address.means,
    ports: port ?? 'any',
    ...(cids && { cids }),
    text: address.text,
    place: file.placeOf([...path, index]),
  }));
}
