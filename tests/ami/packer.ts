/** The template for Packer, as Debian's one can read it: that of 2020, the last that is free software. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PROJECT } from './root.ts';

export const PACKER = join(PROJECT, 'packaging/ami/packer');

/** Name and text of each file of the template. */
export function template(): readonly (readonly [string, string])[] {
  return readdirSync(PACKER).map((name) => [name, readFileSync(join(PACKER, name), 'utf8')] as const);
}

/** Without the file that Packer 1.6 does not know, and what else stands between the lines that say so. */
export function forOldPacker(): readonly (readonly [string, string])[] {
  const newer = /^ *# newer\n[\s\S]*?^ *# end of newer\n/gm;
  return template()
    .filter(([name]) => name !== 'plugins.pkr.hcl')
    .map(([name, text]) => [name, text.replaceAll(newer, '')] as const);
}
