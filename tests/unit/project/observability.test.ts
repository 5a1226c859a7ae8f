/** packaging/observability: the files are what they are made from, and name nothing that is not there. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { PANELS, renderDashboard } from '../../../scripts/dashboard.ts';
import { FAMILY_NAMES } from '../../../src/observe/metrics.ts';

const pathOf = (name: string) => fileURLToPath(new URL(`../../../packaging/observability/${name}`, import.meta.url));
const read = (name: string) => readFileSync(pathOf(name), 'utf8');

/** Of the merging of enclaves. */
const OTHERS = ['vsock_proxy_enclave_up'];

function unknownIn(text: string): readonly string[] {
  const names = text.match(/\b(?:vsock_proxy|process)_[a-z_]+/g) ?? [];
  assert.ok(names.length > 0);
  return names
    .filter((name) => !OTHERS.includes(name))
    .filter((name) => !FAMILY_NAMES.has(name) && !FAMILY_NAMES.has(name.replace(/_(bucket|sum|count)$/, '')));
}

test('dashboard.json is what scripts/dashboard.ts prints', () => {
  assert.equal(read('dashboard.json'), renderDashboard(), 'make configs');
});

test('alerts and dashboard name metrics that there are', () => {
  const queries = PANELS.flatMap((panel) => panel.queries.map(([expression]) => expression)).join('\n');
  const rules = [...read('alerts.yaml').matchAll(/expr: (?:>-\n)?([\s\S]*?)\n\s+(?:for|labels):/g)].map(
    ([, rule]) => rule,
  );
  assert.ok(rules.length > 5);
  assert.deepEqual(unknownIn(queries), []);
  assert.deepEqual(unknownIn(rules.join('\n')), []);
});

for (const [what, name] of [
  ['rules', 'alerts.yaml'],
  ['config', 'scrape.yaml'],
] as const) {
  test(`promtool check ${what} finds nothing to say of ${name}`, () => {
    const { status, stdout, stderr } = spawnSync('promtool', ['check', what, pathOf(name)], { encoding: 'utf8' });
    assert.equal(status, 0, `${stdout}${stderr} (without promtool: apt-get install prometheus)`);
    assert.match(stdout, /SUCCESS/);
  });
}

test('docs/diagnosis.md has every metric', () => {
  const text = readFileSync(fileURLToPath(new URL('../../../docs/diagnosis.md', import.meta.url)), 'utf8');
  for (const name of [...FAMILY_NAMES, ...OTHERS]) assert(text.includes(`\`${name}\``), name);
});
