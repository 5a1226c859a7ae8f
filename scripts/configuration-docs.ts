/**
 * configuration-docs.ts [--check]: writes docs/configuration.md from scripts/configuration.md and the schema, or checks
 * that it is up to date.
 *
 * In the text, `<!-- table: PATH -->` becomes the table of the keys of the map at this path, such as `listeners[].limits`,
 * and `<!-- file: PATH -->` a file of the project.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileSchema, isRequiredKey, metaOf, partsOf } from '../src/config/schema/file.ts';

type Schema = Parameters<typeof partsOf>[0];

const ROOT = new URL('..', import.meta.url);
const TARGET = 'docs/configuration.md';

export function renderConfiguration(): string {
  const notice = '<!-- Made by "make docs" from scripts/configuration.md and src/config: do not edit it here. -->\n\n';
  const text = read('scripts/configuration.md')
    .replace(/^<!-- table: (.*?) ?-->$/gm, (_, path: string) => renderTable(mapAt(path)))
    .replace(/^<!-- file: (\S+) -->$/gm, (_, path: string) => `\`\`\`yaml\n${read(path).trimEnd()}\n\`\`\``);
  return notice + text;
}

/** The keys of a map, one key in each row. */
function renderTable(map: Schema): string {
  const { keys } = partsOf(map);
  if (keys === undefined) throw new Error('only maps have tables');
  const rows = Object.entries(keys).map(([name, key]) =>
    row(`\`${name}\``, describeType(key), describeDefault(key), metaOf(key).description),
  );
  return [row('key', 'value', 'default', 'meaning'), '|---|---|---|---|', ...rows].join('\n');
}

function row(...cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

function describeType(schema: Schema): string {
  const { item, most, keys } = partsOf(schema);
  if (keys !== undefined) return 'map';
  if (item !== undefined) return `list${most === undefined ? '' : ` of at most ${most}`}: ${describeType(item)}`;
  return metaOf(schema).type ?? 'text';
}

function describeDefault(schema: Schema): string {
  if (isRequiredKey(schema)) return '**required**';
  const { keys, default: written } = partsOf(schema);
  return metaOf(schema).absent ?? (keys === undefined ? `\`${written}\`` : 'as its keys say');
}

/** The map at a path such as `listeners[].limits`; the empty path is the file itself. */
function mapAt(path: string): Schema {
  let schema: Schema = fileSchema;
  for (const [step] of path.matchAll(/\w+|\[\]/g)) {
    const { item, keys = {} } = partsOf(schema);
    const inner = step === '[]' ? item : keys[step];
    if (inner === undefined) throw new Error(`${path}: the schema has no ${step}`);
    schema = inner;
  }
  return schema;
}

function read(path: string): string {
  return readFileSync(new URL(path, ROOT), 'utf8');
}

if (import.meta.main) {
  const rendered = renderConfiguration();
  if (!process.argv.includes('--check')) {
    writeFileSync(new URL(TARGET, ROOT), rendered);
  } else if (read(TARGET) !== rendered) {
    process.stderr.write(`${TARGET} is not what the schema says. Hint: make docs\n`);
    process.exitCode = 1;
  }
}
