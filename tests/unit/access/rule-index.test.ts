/** The index of rules finds the same rules as a walk over the list, in the same order. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { TargetHost } from '../../../src/access/address.ts';
import { findRule } from '../../../src/access/rule-index.ts';
import type { Rule } from '../../../src/access/rules.ts';
import { seeded } from '../../random.ts';
import { policy, target } from './fixture.ts';
import { walkRules } from './walk.ts';

const LISTS = 400;
const HOSTS = 30;

/** All matching rules, in the order of the index. */
function offered(rules: readonly Rule[], host: TargetHost): readonly string[] {
  const found: string[] = [];
  findRule(rules, host, (rule) => {
    found.push(rule.place);
    return false;
  });
  return found;
}

suite('index of rules', () => {
  const generators = (random: () => number) => {
    const below = (limit: number) => Math.floor(random() * limit);
    const label = () => ['a', 'b', 'c'][below(3)] ?? '';
    const labels = (most: number, make: () => string) => Array.from({ length: 1 + below(most) }, make).join('.');
    const wild = () => (random() < 0.5 ? (random() < 0.5 ? '*' : '**') : label());
    // Few bits that differ: ranges within ranges, at every end of a word.
    const word = () => [0, 1, 0x7fff, 0x8000, 0xffff][below(5)] ?? 0;
    const ipv4 = () => [10, [0, 127, 128, 255][below(4)], [0, 1, 255][below(3)], [0, 1, 128, 255][below(4)]].join('.');
    const ipv6 = () =>
      `2001:${[word(), word(), word(), word(), word(), word(), word()].map((each) => each.toString(16)).join(':')}`;
    const host = () => [labels(5, label), ipv4(), ipv6()][below(3)] ?? '';
    const address = () => {
      const pattern = labels(5, wild);
      const forms = [
        host(),
        pattern.includes('*') ? pattern : `*.${pattern}`,
        `${ipv4()}/${below(33)}`,
        `${ipv6()}/${below(129)}`,
      ];
      return forms[below(4)] ?? '';
    };
    return { below, host, address };
  };

  test('offers every rule that matches, exact ones first, each kind in the order of the list', () => {
    const random = seeded(17);
    const { below, host, address } = generators(random);
    let most = 0;
    for (let list = 0; list < LISTS; list += 1) {
      const { allow } = policy(Array.from({ length: below(60) }, address));
      for (let each = 0; each < HOSTS; each += 1) {
        const asked = target(`${host()} 443`).host;
        const expected = walkRules(allow, asked).map(({ place }) => place);
        assert.deepEqual(
          offered(allow, asked),
          expected,
          JSON.stringify({ asked, rules: allow.map(({ text }) => text) }),
        );
        most = Math.max(most, expected.length);
      }
    }
    assert(most > 8, 'many rules match at once');
  });

  test('returns the first suitable one', () => {
    const random = seeded(18);
    const { below, host, address } = generators(random);
    for (let list = 0; list < LISTS; list += 1) {
      const { allow } = policy(Array.from({ length: below(60) }, () => `${address()} ${80 + below(3)}`));
      const suits = ({ ports }: Rule) => ports !== 'any' && ports[0]?.from === 81;
      for (let each = 0; each < HOSTS; each += 1) {
        const asked = target(`${host()} 443`).host;
        assert.equal(findRule(allow, asked, suits), walkRules(allow, asked).find(suits));
      }
    }
  });

  test('the widest and the narrowest ranges, and the addresses at their ends', () => {
    const { allow } = policy(['::/0', '0.0.0.0/0', '10.0.0.0/31', '10.0.0.0/32', '2001:db8::/127', '2001:db8::/128']);
    for (const [host, ...places] of [
      ['0.0.0.0', 3],
      ['255.255.255.255', 3],
      ['10.0.0.0', 3, 4, 5],
      ['10.0.0.1', 3, 4],
      ['10.0.0.2', 3],
      ['9.255.255.255', 3],
      ['::', 2],
      ['ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 2],
      ['2001:db8::', 2, 6, 7],
      ['2001:db8::1', 2, 6],
      ['2001:db8::2', 2],
    ] as const) {
      assert.deepEqual(
        offered(allow, target(`${host} 443`).host),
        places.map((line) => `allow.yaml:${line}`),
        host,
      );
    }
  });

  test('an empty list has nothing', () => {
    for (const host of ['a.example', '10.0.0.1', '::1']) assert.deepEqual(offered([], target(`${host} 443`).host), []);
  });
});
