/** What the end-to-end tests say of the machines that they run on. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { PLATFORMS, platformOf } from '../../e2e/platforms.ts';

const DIRECTORY = new URL('../../e2e/', import.meta.url);
const FILES = readdirSync(DIRECTORY, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.test.ts'));
const NAMES: readonly string[] = [...Object.keys(PLATFORMS), 'all', 'none'];

test('each file of end-to-end tests says in its head on which platforms it runs', () => {
  assert(FILES.length > 0);
  for (const file of FILES) {
    const said = /^ \* Platforms: (.+)$/m.exec(readFileSync(new URL(file, DIRECTORY), 'utf8'))?.[1]?.split(' ') ?? [];
    assert(said.length > 0, `${file} says nothing`);
    for (const name of said) assert(NAMES.includes(name), `${file}: ${name}`);
  }
});

test('a platform that there is not is refused, with the names of those that there are', () => {
  assert.throws(() => platformOf('toString'), /there is no platform toString\. Hint: bookworm, linux-5\.10, trixie/);
});
