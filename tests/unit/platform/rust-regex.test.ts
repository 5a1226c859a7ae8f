import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseRustRegex } from '../../../src/platform/rust-regex.ts';

const LINE = 'Bound to cid: 3 port: 8000';

describe('an expression of Rust matches what it matches there', () => {
  for (const [expression, text, matches] of [
    ['(?i)accepted', 'Accepted x', true],
    ['(?i)accepted|x', 'X', true],
    ['(a(?i)b|c)d', 'Cd', true],
    ['(a(?i)b|c)D', 'Cd', false],
    ['(?P<x>Bound)', LINE, true],
    ['(?<x>Bound)', LINE, true],
    ['\\p{Lu}ound', LINE, true],
    ['\\x{42}ound', LINE, true],
    ['(?s)B.*', LINE, true],
    ['0\\z', LINE, true],
    ['\\ABound', LINE, true],
    ['B++', LINE, true],
    ['\\d+ port', LINE, true],
    ['[[:alpha:]]+ to', LINE, true],
    ['[a-z&&[^b]]ound', 'zound', true],
    ['[a-z&&[^b]]ound', 'bound', false],
    ['[a-c--b]x', 'bx', false],
    ['[a-c--b]x', 'ax', true],
    ['[a-c~~b-d]x', 'dx', true],
    ['[a-c~~b-d]x', 'bx', false],
    ['[]a]x', ']x', true],
    ['[^]a]x', ']x', false],
    ['a{,2}b', 'aab', true],
    ['cid: 3 port: \\d{4}$', LINE, true],
    ['\\"H\\"', 'say "H"', true],
    ['(?x) Bound \\s to # c', LINE, true],
    ['a-b]}', 'a-b]}', true],
    ['\\bto\\b', LINE, true],
    ['\\<to\\>', LINE, true],
    ['^Bound', LINE, true],
    ['^*Bound', LINE, true],
    ['(?-i)Bound', LINE, true],
    ['(?i-s:bound)', LINE, true],
    ['(?im-s)bound', LINE, true],
    ['', LINE, true],
    ['a||b', 'z', true],
    ['()', LINE, true],
    ['\\p{Greek}', 'α', true],
    ['\\pL', 'a', true],
    ['[\\d.-]+', '1-2', true],
    ['[a-]x', '-x', true],
    ['[-a]x', '-x', true],
    ['\\.', 'a.b', true],
    ['[.]', 'a', false],
    ['ü.x', 'üax', true],
    ['[0-9a-f]{3}', '12f', true],
    ['x*?', '', true],
    ['\\-', '-', true],
    ['[\\]]', ']', true],
    ['(?U)a+', 'a', true],
    ['\\u{42}ound', LINE, true],
    ['é', 'é', true],
    ['[^\\s]', 'a', true],
    ['IP "10\\.9', 'Using IP "10.9.0.1"', true],
  ] as const) {
    it(`${expression} and ${text}: ${matches}`, () => assert.equal(parseRustRegex(expression).test(text), matches));
  }
});

describe('what means nothing in Rust is refused with the reason', () => {
  for (const [expression, reason] of [
    ['(', /^unclosed group$/],
    ['(?:', /^unclosed group$/],
    [')', /^unopened group$/],
    ['*', /^repetition operator missing expression$/],
    ['a|*', /^repetition operator missing expression$/],
    ['+a', /^repetition operator missing expression$/],
    ['{2}', /^repetition operator missing expression$/],
    ['a{', /^repetition operator missing expression$/],
    ['a{3,1}', /numbers out of order/],
    ['[a-Z]', /^invalid character class range, the start must be <= the end$/],
    ['[\\d-z]', /^invalid range boundary, must be a literal$/],
    ['[', /^unclosed character class$/],
    ['[]', /^unclosed character class$/],
    ['[a', /^unclosed character class$/],
    ['[[:foo:]]', /^unknown class foo$/],
    ['(?!x)', /^look-around is not supported$/],
    ['(?=x)', /^look-around is not supported$/],
    ['(?<=x)', /^look-around is not supported$/],
    ['(?<!x)', /^look-around is not supported$/],
    ['(?P=x)', /^unrecognized group$/],
    ['(?z)', /^unrecognized flag$/],
    ['(?)', /^missing flag$/],
    ['(?-)', /^unrecognized flag$/],
    ['(?ii)', /[Rr]epeated flag/],
    ['\\1', /^unrecognized escape sequence \\1$/],
    ['\\k<a>', /^unrecognized escape sequence \\k$/],
    ['\\q', /^unrecognized escape sequence \\q$/],
    ['\\b{x}', /^unrecognized escape sequence \\b\{x\}$/],
    ['\\', /^incomplete escape sequence$/],
    ['\\p{Nope}', /^Unicode property not found$/],
    ['\\x{110000}', /Invalid Unicode escape/],
  ] as const) {
    it(expression, () => assert.throws(() => parseRustRegex(expression), { message: reason }));
  }
});

it('whatever it is given, it makes an expression or says why not', () => {
  const parts = [
    'a',
    'B',
    '(',
    ')',
    '[',
    ']',
    '|',
    '*',
    '+?',
    '{2}',
    '{',
    '}',
    '\\',
    '\\d',
    '^',
    '$',
    '-',
    '&&',
    '--',
    '~~',
    '(?i)',
    '(?P<x>',
    '[:alpha:]',
    '\\p{L',
    '.',
    ' ',
    '#',
    '(?x)',
    'ü',
    '\ud800',
  ];
  let taken = 0;
  for (let round = 0; round < 5000; round += 1) {
    const text = Array.from(
      { length: 1 + (round % 7) },
      (_, index) => parts[(round * 31 + index * index * 17 + (round >> 3) * index) % parts.length],
    ).join('');
    try {
      parseRustRegex(text);
      taken += 1;
    } catch (error) {
      assert(error instanceof Error && error.message !== '', text);
    }
  }
  assert(taken > 100 && taken < 4900, `${taken}`);
});
