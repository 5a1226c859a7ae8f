import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { findRule } from '../../../src/access/rule-index.ts';
import { parseRuleAddress, usesCids } from '../../../src/access/rules.ts';
import { policy, target } from './fixture.ts';

suite('rule address', () => {
  for (const [text, problem] of [
    ['', 'it is empty'],
    ['https://a.example', 'is a URL'],
    ['https://*.example', 'is a URL'],
    ['https://a.example/8', 'is a URL'],
    ['*.example.com:443', 'includes a port'],
    ['*.example.com/8', 'is not a range of addresses'],
    ['*.example.com/', 'contains "/"'],
    ['* .example.com', 'contains white space'],
    ['kms*.example.com', '"*" within the label "kms*"'],
    ['10.*', 'is a pattern of numbers'],
    ['2001:db8::*', 'is not an IPv6 address'],
    ['[::1]', 'has brackets'],
    ['fe80::1%eth0', 'has a zone'],
    ['127.1', 'another spelling of 127.0.0.1'],
    ['0x7f.1', 'another spelling of 127.0.0.1'],
    ['2130706433', 'another spelling of 127.0.0.1'],
    ['1', 'another spelling of 0.0.0.1'],
    ['127.1/8', 'is not a range of addresses'],
    ['10.0.0.0/33', 'is not a range of addresses'],
    ['a/b', 'contains "/"'],
  ] as const) {
    test(`refused: "${text}" ${problem}`, () => {
      const address = parseRuleAddress(text);
      assert(address.kind === 'malformed');
      assert(address.problem.includes(problem), address.problem);
    });
  }

  test('refused without delay, however long it is', () => {
    for (const text of ['*', '*.', ':*', '*:', '%', 'a/']) {
      assert.equal(parseRuleAddress(`${text.repeat(500_000)}:/`).kind, 'malformed');
    }
  });

  for (const [text, kind] of [
    ['a.example', 'name'],
    ['10.0.0.1', 'ip'],
    ['::ffff:10.0.0.1', 'ip'],
    ['10.1.2.3/8', 'cidr'],
    ['2001:db8::/32', 'cidr'],
    ['*', 'pattern'],
    ['**.example.com', 'pattern'],
  ] as const) {
    test(`${text} is one of kind ${kind}`, () => assert.equal(parseRuleAddress(text).kind, kind));
  }
});

suite('search for a rule', () => {
  const { allow } = policy([
    '** 443',
    'a.example 80',
    '10.0.0.0/8 443',
    'a.example 443 16',
    'a.example 443',
    '10.1.0.0/16',
    '10.1.1.1 443',
    '*.example',
  ]);
  const found = (host: string) => findRule(allow, target(`${host} 443`).host, () => true)?.place;

  for (const [host, place] of [
    ['11.0.0.1', undefined],
    ['::1', undefined],
    ['64:ff9b::10.1.1.1', undefined],
    ['b.example', 'allow.yaml:2'],
    ['a.example', 'allow.yaml:3'],
    ['10.1.1.2', 'allow.yaml:4'],
    ['10.1.1.1', 'allow.yaml:8'],
  ] as const) {
    test(`${host}: ${place ?? 'none'}`, () => assert.equal(found(host), place));
  }

  test('passes over what does not suit, also the exact name for a pattern', () => {
    const { host } = target('a.example 443');
    assert.equal(findRule(allow, host, ({ cids }) => cids !== undefined)?.place, 'allow.yaml:5');
    assert.equal(findRule(allow, host, ({ address }) => address.kind === 'pattern')?.place, 'allow.yaml:2');
    assert.equal(findRule(allow, host, ({ ports }) => ports === 'any')?.text, '*.example');
    assert.equal(
      findRule(allow, host, () => false),
      undefined,
    );
  });
});

test('a policy uses CIDs if any rule does, to allow or to deny', () => {
  assert.equal(usesCids(policy([])), false);
  assert.equal(usesCids(policy(['a.example 443', '**'], ['10.0.0.0/8'])), false);
  assert.equal(usesCids(policy(['a.example 443', 'b.example 443 16'])), true);
  assert.equal(usesCids(policy(['a.example'], ['a.example any 16'])), true);
});
