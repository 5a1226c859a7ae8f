/** Whatever stands in a configuration file, the outcome is settings or one line of explanation. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseFile } from '../../src/config/load.ts';
import { VsockProxyError } from '../../src/errors.ts';

const ROUNDS = 3000;

const SEEDS = [
  'allowlist:\n- {address: kms.us-east-1.amazonaws.com, port: 443}\n- {address: 10.0.0.0/8, port: "8443"}\n',
  '# services\nallowlist:\n  - address: "2001:db8::1"\n    port: 443\n  - &a\n    address: bücher.example\n    port: 80\n  - *a\n' +
    'limits:\n  connections: 100\ntimeouts:\n  connect: 500ms\n  idle: 1h\n  drain: 5\n',
  '{"allowlist": [{"address": "a.example", "port": 1}], "limits": {}, "timeouts": {"idle": 0}}',
  '%YAML 1.2\n---\nallowlist: []\n...\n',
  'allowlist:\r\n- address: >-\r\n    a.example\r\n  port: !!int 443\r\n',
];

/** What mutations put in: YAML's own marks, values at the edge of every check, and hostile text. */
const FRAGMENTS = [
  ...'[]{}:,-?*&!|>%@`"\'#~\\ \t\r\n\0\u001b\u2028\u202e\u00ad\ufeff\ud800١',
  ...[
    '\n- ',
    ': ',
    '- - - ',
    '? ',
    '<<: ',
    '*a',
    '&a ',
    '&a [*a]',
    '!!binary ',
    '!!set ',
    '!!map ',
    '!x ',
    '---\n',
    '\n...\n',
    '"\\',
    '|2-\n',
  ],
  ...[
    'null',
    'true',
    '.inf',
    '.nan',
    '-0',
    '0',
    '65536',
    '1e400',
    '0x1bb',
    '0o17',
    '9'.repeat(40),
    '-443',
    '1.5',
    '0ms',
    '169h',
  ],
  ...['__proto__', 'constructor', 'toString', 'valueOf', 'toJSON', 'then', 'length', 'allowlist', 'address', 'port'],
  ...[
    '127.1',
    '[::1]',
    '*.example',
    'https://u:p@a/',
    '10.0.0.0/33',
    `${'a'.repeat(64)}.b`,
    'a.'.repeat(130),
    'xn--ä',
    '[',
    '{a: '.repeat(300),
  ],
];

/** Mulberry32: the same sequence for the same seed, everywhere. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function mutate(text: string, random: () => number): string {
  const below = (limit: number) => Math.floor(random() * limit);
  const from = below(text.length + 1);
  const to = Math.min(text.length, from + below(12));
  const fragment = FRAGMENTS[below(FRAGMENTS.length)] ?? '';
  switch (below(5)) {
    case 0:
      return text.slice(0, from) + fragment + text.slice(from);
    case 1:
      return text.slice(0, from) + fragment + text.slice(to);
    case 2:
      return text.slice(0, from) + text.slice(to);
    case 3:
      return text.slice(0, to) + text.slice(from);
    default: {
      // A whole value in place of another, which gets past the YAML parser more often than the rest.
      const value = /[:-] *[^\s,{}[\]]+/.exec(text.slice(from));
      if (value === null) return text.slice(0, from);
      const start = from + value.index + 1;
      return `${text.slice(0, start)} ${fragment}${text.slice(start + value[0].length - 1)}`;
    }
  }
}

test(`${ROUNDS} mutated files each give settings or one printable line with code "config"`, {
  timeout: 60_000,
}, (context) => {
  const random = randomFrom(20_260_102);
  const outcomes = new Map<string, number>();
  for (let round = 0; round < ROUNDS; round++) {
    let text = SEEDS[round % SEEDS.length] ?? '';
    for (let count = 1 + Math.floor(random() * 3); count > 0; count--) text = mutate(text, random);
    const outcome = outcomeOf(text);
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  }
  context.diagnostic(JSON.stringify(Object.fromEntries(outcomes)));
  // A fuzzer that reaches one layer only proves little.
  for (const outcome of [
    'settings',
    'Bad yaml format',
    'No allowlist field',
    'No address field',
    'No port field or invalid type',
    'another problem',
  ]) {
    assert((outcomes.get(outcome) ?? 0) > ROUNDS / 200, `${outcome}: ${outcomes.get(outcome)}`);
  }
});

function outcomeOf(text: string): string {
  try {
    const { allowlist, limits, timeouts } = parseFile(text, 'f.yaml').settings;
    const numbers = [
      limits.connections,
      timeouts.connect,
      timeouts.idle,
      timeouts.drain,
      ...allowlist.map((entry) => entry.port),
    ];
    assert(
      numbers.every((number) => Number.isSafeInteger(number) && number >= 0),
      text,
    );
    return 'settings';
  } catch (error) {
    assert(error instanceof VsockProxyError, `${JSON.stringify(text)} gave ${String(error)}`);
    assert.equal(error.code, 'config', JSON.stringify(text));
    assert.match(error.line, /^[^\p{C}\p{Zl}\p{Zp}]{1,1000}$/u, JSON.stringify(text));
    assert.match(error.line, /\(f\.yaml(?::[1-9]\d*)?\)/, JSON.stringify(text));
    const head = /^(?:Bad yaml format|No (?:allowlist|address) field|No port field or invalid type)/.exec(error.line);
    return head?.[0] ?? 'another problem';
  }
}
