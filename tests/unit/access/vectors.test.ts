import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import { parseHost } from '../../../src/access/address.ts';
import { findDenial } from '../../../src/access/authorize.ts';
import { parseRuleAddress } from '../../../src/access/rules.ts';
import { policy, port, request } from './fixture.ts';

/**
 * The result of Enclaver's filters for a host (`expected`), and the result of ours where it differs on purpose
 * (`strict`).
 */
interface Vector {
  readonly pattern?: string;
  readonly patterns?: readonly string[];
  readonly allow?: readonly string[];
  readonly deny?: readonly string[];
  readonly host: string;
  readonly expected: boolean;
  readonly strict?: boolean;
}

const VECTORS: readonly Vector[] = JSON.parse(
  readFileSync(new URL('../../vectors/domain-patterns.json', import.meta.url), 'utf8'),
);

/** A malformed rule stops the start, and a malformed host ends its connection. Neither allows anything. */
function isAllowed(allow: readonly string[], deny: readonly string[], host: string): boolean {
  const rulesAreValid = [...allow, ...deny].every((text) => parseRuleAddress(text).kind !== 'malformed');
  const target = parseHost(host);
  if (!rulesAreValid || target.kind === 'malformed') return false;
  return findDenial(request(policy(allow, deny), { host: target, port: port(443) }, {}, 'client')) === undefined;
}

suite('vectors', () => {
  for (const { pattern, patterns = [pattern ?? ''], allow = patterns, deny = [], host, expected, strict } of VECTORS) {
    const allowed = strict ?? expected;
    const but = deny.length === 0 ? '' : ` but ${deny.join(', ')}`;
    test(`${JSON.stringify(host)} is ${allowed ? 'allowed' : 'denied'} by ${allow.join(', ')}${but}`, () => {
      assert.equal(isAllowed(allow, deny, host), allowed);
    });
  }

  test('there are some of every kind', () => {
    assert(VECTORS.length >= 40);
    for (const outcome of [true, false]) {
      assert(VECTORS.some(({ expected, strict }) => expected === outcome && strict === !outcome));
    }
  });
});
