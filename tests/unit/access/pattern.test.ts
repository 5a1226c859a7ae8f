import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseHostname } from '../../../src/access/address.ts';
import { type NamePattern, parsePattern } from '../../../src/access/pattern.ts';
import { findRule } from '../../../src/access/rule-index.ts';
import type { Rule } from '../../../src/access/rules.ts';
import { matchesByDefinition } from './walk.ts';

function pattern(text: string): NamePattern {
  const parsed = parsePattern(text);
  assert('labels' in parsed, `${text} is a pattern`);
  return parsed;
}

function matches(text: string, written: string): boolean {
  const name = parseHostname(written);
  assert(typeof name === 'string', `${written} is a name`);
  return findRule([ruleOf(pattern(text))], { kind: 'name', name }, () => true) !== undefined;
}

function ruleOf(of: NamePattern): Rule {
  const text = of.labels.join('.');
  return { address: { kind: 'pattern', pattern: of }, ports: 'any', text, place: 'f.yaml:1' };
}

suite('pattern', () => {
  for (const [text, ...parts] of [
    ['foo*.com', '"foo*.com" has a "*" within the label "foo*"', 'one whole label'],
    ['*foo.com', 'has a "*" within the label "*foo"'],
    ['kms-*.amazonaws.com', 'has a "*" within the label "kms-*"', 'kms.*.amazonaws.com'],
    ['a.f*o.com', 'has a "*" within the label "f*o"'],
    ['***', 'has a "*" within the label "***"'],
    ['*.***.com', 'has a "*" within the label "***"'],
    ['xn--*.com', 'has a "*" within the label "xn--*"'],
    ['10.*', '"10.*" is a pattern of numbers', 'write a range of addresses like 10.0.0.0/8'],
    ['10.0.*.*', 'is a pattern of numbers'],
    ['*.0.0x7f.*', 'is a pattern of numbers'],
    ['１０.*', 'is a pattern of numbers'],
    ['**.1', '"**.1" ends in a number'],
    ['*.0x7f', '"*.0x7f" ends in a number'],
    ['*.１', 'is not a host name'],
    ['*..com', '"*..com" has an empty label'],
    ['.*.com', 'has an empty label'],
    ['*.com..', 'has an empty label'],
    ['*.-a.com', '"*.-a.com" has the label "-a"'],
    ['*.a b.com', 'contains " "'],
    ['*.a%62.com', 'contains "%"'],
    ['?.*.com', 'contains "?"'],
    ['＊.com', 'has the label "*"'],
    [`*.${'a'.repeat(64)}`, 'a label of 64 characters'],
    [`*.${'a.'.repeat(126)}b`, 'is 255 characters long'],
    [`${'*.'.repeat(100_000)}com`, 'characters long'],
  ] as const) {
    test(`refused: ${text.slice(0, 40)} ${parts[0]}`, () => {
      const parsed = parsePattern(text);
      assert('problem' in parsed);
      const line = `${parsed.problem}. Hint: ${parsed.hint}`;
      for (const part of parts) assert(line.includes(part), line);
      assert(line.length < 400);
    });
  }

  test('no character but the four that a pattern is split at separates labels after IDNA', () => {
    const lookalikes = Array.from({ length: 0x11_0000 }, (_, code) => String.fromCodePoint(code)).filter((character) =>
      /[.\u3002]/.test(character.normalize('NFKC')),
    );
    assert(lookalikes.length > 4);
    for (const character of lookalikes) {
      const parsed = parsePattern(`*.a${character}b.*`);
      if ('labels' in parsed) assert.deepEqual(parsed.labels, ['*', 'a', 'b', '*'], character);
      else assert(!'.\u3002\uff0e\uff61'.includes(character));
    }
  });

  for (const [text, labels] of [
    ['*', ['*']],
    ['**', ['**']],
    ['*.', ['*']],
    ['*.Example.COM.', ['*', 'example', 'com']],
    ['**.Bücher.example', ['**', 'xn--bcher-kva', 'example']],
    ['*。ｋｍｓ．example｡com', ['*', 'kms', 'example', 'com']],
    ['_sip.*.example', ['_sip', '*', 'example']],
    ['3com.*', ['3com', '*']],
    ['1.*.example', ['1', '*', 'example']],
    ['x.*.x', ['x', '*', 'x']],
  ] as const) {
    test(`${text} consists of ${labels.join(' ')}`, () => assert.deepEqual(pattern(text).labels, labels));
  }

  for (const [text, ...names] of [
    ['*.example.com', 'example.com', 'a.b.example.com', 'a.example.org', 'aexample.com', 'example.com.evil.org'],
    ['**.example.com', 'example.com', 'notexample.com', 'a.example.com.evil.org', 'com'],
    ['foo.*.com', 'foo.com', 'foo.a.b.com', 'bar.a.com', 'foo.a.org', 'x.foo.a.com'],
    ['foo.**.com', 'foo.com', 'bar.com', 'evil.example.com', 'x.foo.a.com', 'foo.a.org'],
    ['example.*', 'example', 'example.co.uk', 'www.example.com'],
    ['example.**', 'example', 'www.example.com'],
    ['*', 'a.b'],
    ['**.**', 'a'],
    ['*.**', 'a'],
    ['**.a.**', 'a', 'a.a', 'x.a', 'a.x', 'b.b.b'],
    ['**.a.b.**.c', 'x.a.b.c', 'a.b.x.c', 'x.a.x.b.x.c', 'x.a.b.x.c.d'],
    ['*.xn--bcher-kva.example', 'a.bucher.example'],
  ] as const) {
    for (const name of names) test(`${text} does not match ${name}`, () => assert.equal(matches(text, name), false));
  }

  for (const [text, ...names] of [
    ['*.example.com', 'a.example.com', 'A.EXAMPLE.COM.', 'com.example.com'],
    ['**.example.com', 'a.example.com', 'a.b.c.example.com', 'example.com.example.com'],
    ['foo.*.com', 'foo.bar.com', 'foo.foo.com'],
    ['foo.**.com', 'foo.a.com', 'foo.a.b.c.com', 'foo.com.com', 'foo.foo.com.com'],
    ['example.**', 'example.co.uk', 'example.com'],
    ['*', 'localhost'],
    ['**', 'a', 'a.b.c.d'],
    ['*.**', 'a.b', 'a.b.c'],
    ['**.a.**', 'x.a.y', 'a.a.a', 'x.a.a.a.y', 'x.y.a.z'],
    ['**.a.b.**.c', 'x.a.b.x.c', 'a.b.a.b.a.b.c.c', 'x.a.b.c.c'],
    ['*.Bücher.example', 'a.xn--bcher-kva.example', 'A.BÜCHER.example.'],
  ] as const) {
    for (const name of names) test(`${text} matches ${name}`, () => assert.equal(matches(text, name), true));
  }

  test('every pattern of up to five labels says of every name of up to six what its definition says', () => {
    const rules = sequences(['a', 'b', '*', '**'], 5).map((labels) => ruleOf({ labels }));
    let matched = 0;
    for (const labels of sequences(['a', 'b'], 6)) {
      const name = parseHostname(labels.join('.'));
      assert(typeof name === 'string');
      const found = new Set<Rule>();
      // Unsuitable, each of them: all that match are looked at.
      findRule(rules, { kind: 'name', name }, (rule) => found.add(rule) === undefined);
      matched += found.size;
      for (const rule of rules) {
        assert.equal(found.has(rule), matchesByDefinition(rule.text.split('.'), labels), `${rule.text} and ${name}`);
      }
    }
    assert(matched > 10_000, 'neither answer is rare');
  });

  test('the number of steps is bounded where every "**" might take any label', () => {
    const longest = Array<string>(126).fill('a').join('.');
    for (const text of [`${'**.a.'.repeat(30)}b`, `b.${'**.a.'.repeat(30)}a`, `${'**.'.repeat(60)}b`]) {
      assert.equal(matches(text, longest), false);
    }
  });
});

/** Every sequence of one to `longest` items. */
function sequences(symbols: readonly string[], longest: number): string[][] {
  if (longest === 0) return [];
  const shorter = sequences(symbols, longest - 1);
  return [
    ...symbols.map((symbol) => [symbol]),
    ...shorter.flatMap((sequence) => symbols.map((symbol) => [symbol, ...sequence])),
  ];
}
