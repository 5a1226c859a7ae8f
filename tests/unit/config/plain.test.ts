/** The reader of plain files returns what the parser returns, with the same lines, or leaves the file to the parser. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import { readPlain } from '../../../src/config/read/plain.ts';
import { parseAll, parseYaml, type YamlValue } from '../../../src/config/read/yaml.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';
import { seeded } from '../../random.ts';

const ROUNDS = 6000;
const FILES = [
  'vsock-proxy.yaml',
  ...['ip-ranges', 'one-region', 'private-network'].map((name) => `examples/${name}.yaml`),
];

/** Lines that probably fit at their place. The parser finds what is wrong with some of them. */
const INDENTS = ['', '', '', '  ', '  ', '    ', '      ', ' '];
const DASHES = ['', '', '- ', '- ', '-   ', '-', '- - '];
const KEYS = [
  'allowlist:',
  'address:',
  'port:',
  'limits:',
  'a:',
  'b_c:',
  'null:',
  'true:',
  '"q":',
  'Key:',
  'a1:',
  'a :',
  'a:b:',
  '? a',
];
const SCALARS = [
  ...[
    'a.example',
    'a',
    '443',
    '0',
    '007',
    '-1',
    '1.5',
    '1e5',
    '0x1f',
    '1_000',
    '9'.repeat(16),
    '10.0.0.0/8',
    '1.2.3.4',
    '10s',
    '1h',
  ],
  ...[
    'null',
    'True',
    'FALSE',
    '~',
    'yes',
    '.inf',
    'vsock:any:1',
    'unix:/run/x',
    'tcp:[::1]:1',
    'a:',
    'a: b',
    'a #b',
    'a#b',
    'a b',
  ],
  ...[
    '"x"',
    "'y'",
    '"a: b"',
    '"#"',
    '" #"',
    "'it''s'",
    '"\\x41"',
    '""',
    '*.a',
    '*a',
    '&a b',
    '!!str 1',
    '|',
    '>-',
    '@a',
    '`a',
    '%a',
    'é',
  ],
  ...[
    'kms.${region}.${domain}:443',
    '${a}',
    '2001:db8::1',
    '::1',
    'a.',
    'a-',
    '-',
    '--',
    '...',
    '---',
    'e',
    '1:2',
    '2026-01-01',
  ],
];
const FLOWS = [
  '{a: X}',
  '{address: X, port: 443}',
  '{ address: X, port: Y }',
  '{address: X,port: Y}',
  '{"address": X, port: Y}',
  '{a:X}',
  '{a: X, a: Y}',
];
const LISTS = [
  '[X]',
  '[X, Y]',
  '[ X,Y ]',
  '[X, ]',
  '[]',
  '{}',
  '[X: Y]',
  '[[X]]',
  '{a: [X, Y], b: X}',
  '{a: {b: X}}',
  '{a: X',
  '[X',
  '{a}',
  '{a: }',
  '[X] Y',
];
const ENDS = ['', '', '', '', ' ', ' # c', '  #', '#c', ' # "', '\t', '\r', ' }', ','];
const WHOLE = [
  '',
  ' ',
  '# c',
  '      # c',
  '  # {',
  '- {address: a.example, port: 443}',
  '- address: a.example\n  port: 443',
  '  - {address: b.example, port: 1}',
];

function makeText(random: () => number): string {
  const of = (choices: readonly string[]) => choices[Math.floor(random() * choices.length)] ?? '';
  // Mostly what fits, or hardly anything would.
  const usual = (choices: readonly string[], count: number) => of(random() < 0.97 ? choices.slice(0, count) : choices);
  const value = () => {
    const kind = random();
    if (kind < 0.5) return usual(SCALARS, 3);
    return usual(kind < 0.8 ? FLOWS : LISTS, 3)
      .replace('X', () => usual(SCALARS, 3))
      .replace('Y', () => usual(SCALARS, 3));
  };
  const lines = ['allowlist:'];
  let indent = of(['', '  ']);
  while (random() < 0.85) {
    const kind = random();
    if (random() < 0.1) indent = of(INDENTS);
    if (kind < 0.3) lines.push(of(WHOLE));
    else if (kind < 0.5) lines.push(`${indent}${usual(DASHES, 4)}${value()}${usual(ENDS, 6)}`);
    else if (kind < 0.6) lines.push(`${indent}${usual(DASHES, 4)}${usual(KEYS, 6)}${usual(ENDS, 6)}`);
    else if (kind < 0.75)
      lines.push(`${indent}- address: ${value()}`, `${indent}  ${usual(KEYS, 6)} ${value()}${usual(ENDS, 6)}`);
    else lines.push(`${indent}${usual(KEYS, 6)} ${value()}${usual(ENDS, 6)}`);
  }
  return lines.join('\n') + of(['\n', '\n', '', '\n\n', '\n# c']);
}

function* pathsOf(value: unknown, path: readonly PropertyKey[] = []): Generator<readonly PropertyKey[]> {
  yield path;
  yield [...path, 'nothing'];
  yield [...path, 99];
  if (typeof value !== 'object' || value === null) return;
  for (const [key, inner] of Object.entries(value))
    yield* pathsOf(inner, [...path, Array.isArray(value) ? Number(key) : key]);
}

/** @returns whether the text was plain */
function compare(text: string): boolean {
  const plain = readPlain(text);
  if (plain === undefined) return false;
  const shown = JSON.stringify(text);
  let parsed: YamlValue;
  try {
    parsed = parseAll(text, 'f.yaml');
  } catch (error) {
    assert.fail(`${shown} is no YAML: ${String(error)}`);
  }
  assert.deepEqual(plain.value, parsed.value, shown);
  assert.equal(JSON.stringify(plain.value), JSON.stringify(parsed.value), shown);
  for (const path of pathsOf(plain.value))
    assert.equal(plain.lineAt(path), parsed.lineAt(path), `${shown} at ${path.join('.')}`);
  return true;
}

suite('plain files', () => {
  for (const name of FILES) {
    test(`${name} is one`, () => {
      assert(compare(readFileSync(new URL(`../../../configs/${name}`, import.meta.url), 'utf8')));
    });
  }

  test(`${ROUNDS} made-up files are read as the parser reads them, or not at all`, (context) => {
    const random = seeded(20_261_127);
    let plain = 0;
    for (let round = 0; round < ROUNDS; round += 1) if (compare(makeText(random))) plain += 1;
    context.diagnostic(`${plain} of ${ROUNDS} are plain`);
    assert(plain > ROUNDS / 20 && plain < ROUNDS * 0.9, `${plain} are plain`);
  });

  for (const [what, text] of [
    ['nothing', ''],
    ['a comment alone', '# a\n'],
    ['a key without a value', 'allowlist:\nlimits: {}\n'],
    ['an item without a value', 'allowlist:\n- \n'],
    ['text that goes on in the next line', 'allowlist:\n- a\n  b\n'],
    ['a second document', 'a: 1\n---\nb: 1\n'],
    ['a tab', 'a:\t1\n'],
    ['a key twice', 'a: 1\na: 1\n'],
    ['an alias', 'a: &x 1\nb: *x\n'],
    ['an item that is indented less', 'a:\n  - x\n - y\n'],
    ['umlauts', 'a: ü\n'],
    ['a key of an entry behind a blank line', 'allowlist:\n- address: a.example\n  port: 1\n\n  cids: [1]\n'],
  ] as const) {
    test(`left to the parser: ${what}`, () => {
      assert.equal(readPlain(text), undefined);
    });
  }

  const ones = (count: number) => Array.from({ length: count }, () => '1').join(',');
  const MANY = ones(150_000);
  for (const [what, text] of [
    ['in brackets', `limits: {a: 1}\nallowlist: [${ones(200_001)}]\n`],
    ['in lines, in the second list', `allowlist: [${MANY}]\n# c\ndenylist:\n\n- 1\n${'- 1\n'.repeat(50_000)}`],
    ['within an entry', `allowlist:\n- address: a.example\n  cids: [${MANY}]\n- address: b\n  port: [${MANY}]\n`],
    ['within an entry in braces', `allowlist:\n- {a: [${MANY}]}\n- {a: x, b: [${MANY}], c: [${MANY}]}\n- 1\n`],
    ['below a map', `egress:\n  deny: [${MANY}]\n  allow:\n    - 1\n    - 1\n${'    - 1\n'.repeat(50_000)}`],
  ] as const) {
    test(`too many entries are refused as the parser refuses them: ${what}`, () => {
      assert(readPlain(text) !== undefined);
      const refusal = (parse: typeof parseYaml) => {
        try {
          parse(text, 'f.yaml');
        } catch (error) {
          return error instanceof VsockProxyError ? error.line : assert.fail(String(error));
        }
        return assert.fail('they were taken');
      };
      const line = refusal(parseYaml);
      assert.match(line, /^Bad yaml format: its lists have more than 200000 entries \(f\.yaml:\d+\)\. Hint: use/);
      assert.equal(line, refusal(parseAll));
    });
  }

  test('one entry of the usual form too many is refused before the parser, which takes long, has a say', () => {
    const text = `allowlist:\n${'- {address: a.example, port: 443}\n'.repeat(200_001)}`;
    const begin = performance.now();
    assert.throws(() => parseYaml(text, 'f.yaml'), /its lists have more than 200000 entries/);
    assert(performance.now() - begin < 5000);
  });
});
