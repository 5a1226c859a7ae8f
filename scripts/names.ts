/**
 * names.ts: checks that each name which a file of src/ exports has one meaning; part of `make lint`.
 *
 * Two declarations of a name are two meanings, or copies that may diverge. A type that folders share belongs into a
 * file that both may import: scripts/imports.ts.
 */
import { readdirSync, readFileSync } from 'node:fs';

const EXPORT = /^export (?:abstract |async )*(?:class|const|function\*?|interface|let|type) (\w+)/;

/**
 * @param files path → source
 * @returns one `path:line: text` for each declaration of a name that another file has declared
 */
export function findHomonyms(files: Readonly<Record<string, string>>): readonly string[] {
  const first = new Map<string, string>();
  return Object.entries(files).flatMap(([path, source]) =>
    source.split('\n').flatMap((line, index) => {
      const name = EXPORT.exec(line)?.[1];
      if (name === undefined) return [];
      const other = first.get(name) ?? path;
      first.set(name, other);
      return other === path
        ? []
        : [`${path}:${index + 1}: ${other} exports another ${name}. Hint: give one a name of its own`];
    }),
  );
}

if (import.meta.main) {
  const paths = readdirSync('src', { recursive: true, encoding: 'utf8' }).filter(
    // Those have the names of platform/system, whose place they take.
    (path) => path.endsWith('.ts') && !path.startsWith('platform/quickjs/'),
  );
  const files = Object.fromEntries(paths.sort().map((path) => [`src/${path}`, readFileSync(`src/${path}`, 'utf8')]));
  const homonyms = findHomonyms(files);
  for (const line of homonyms) process.stderr.write(`${line}\n`);
  if (homonyms.length > 0) process.exitCode = 1;
}
