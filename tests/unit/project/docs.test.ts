/** What the documents say is true: their YAML is a configuration, and the table of keys is that of the schema. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import { renderConfiguration } from '../../../scripts/configuration-docs.ts';
import { inspectText } from '../../../src/config/load.ts';
import type { Schema } from '../../../src/config/schema/builder.ts';
import { fileSchema, partsOf } from '../../../src/config/schema/file.ts';

const ROOT = new URL('../../../', import.meta.url);

function read(path: string): string {
  return readFileSync(new URL(path, ROOT), 'utf8');
}

suite('every YAML example of the documents is a configuration', () => {
  const documents = ['README.md', ...readdirSync(new URL('docs', ROOT)).map((name) => `docs/${name}`)];
  const examples = documents
    .filter((path) => path.endsWith('.md'))
    .flatMap((path) =>
      [...read(path).matchAll(/^```ya?ml\n(.*?)^```$/gms)].map(([, text = ''], index) => ({ path, text, index })),
    );
  assert(examples.length >= 3, `${examples.length} examples`);
  const listing = examples.filter(({ text }) => /^allowlist:/m.test(text));
  assert(listing.length >= 3, `${listing.length} examples with an allowlist`);
  for (const { path, text, index } of listing) {
    test(`${path}, number ${index + 1}: a line appended to it is an entry of the allowlist`, () => {
      const loaded = inspectText(`${text}- {address: added.example, port: 8443}\n`, path, 'any');
      assert(!('problems' in loaded), 'problems' in loaded ? loaded.problems.map(({ line }) => line).join('\n') : '');
      assert.equal(loaded.settings.allowlist?.at(-1)?.address.text, 'added.example');
    });
  }
  for (const { path, text, index } of examples) {
    test(`${path}, number ${index + 1}`, () => {
      const loaded = inspectText(text, path, 'any');
      assert(!('problems' in loaded), 'problems' in loaded ? loaded.problems.map(({ line }) => line).join('\n') : '');
    });
  }
});

test('docs/configuration.md is what "make docs" writes', () => {
  assert.equal(read('docs/configuration.md'), renderConfiguration());
});

test('docs/configuration.md has a table of every map', () => {
  const text = read('scripts/configuration.md');
  const visit = (path: string, schema: Schema): void => {
    const { item, keys } = partsOf(schema);
    if (item !== undefined) visit(`${path}[]`, item);
    if (keys === undefined) return;
    // The text says that these are those of the file.
    if (!/^listeners\[\]\.(?:allow|deny)list\[\]$/.test(path)) {
      assert(text.includes(`\n<!-- table: ${path}${path === '' ? '' : ' '}-->\n`), `a table of ${path}`);
    }
    for (const [key, inner] of Object.entries(keys)) visit(path === '' ? key : `${path}.${key}`, inner);
  };
  visit('', fileSchema);
});
