import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parse } from 'yaml';
import { decideRoute, denyRoute } from '../../src/policy/decision.ts';
import { parseRuleAddress } from '../../src/policy/rules.ts';
import { policy, target } from './policy-fixture.ts';

function denial(rules: readonly string[], written: string) {
  const decision = decideRoute(policy(rules), target(written), {});
  assert(decision.kind === 'denied', `${written}: ${decision.kind}`);
  return decision;
}

/** `allowed by LINE`, or the kind with the texts of the rules that it carries. */
function outcome(rules: readonly string[], written: string): string {
  const decision = decideRoute(policy(rules), target(written), {});
  switch (decision.kind) {
    case 'allowed':
      return `allowed by ${decision.rule.place}`;
    case 'needs-names':
      return `needs-names ${decision.rules.map((rule) => rule.text).join(' ')}`;
    default:
      return decision.kind;
  }
}

const KMS = 'kms.us-east-1.amazonaws.com';

suite('route', () => {
  for (const [rules, written] of [
    [[], `${KMS} 443`],
    [[`${KMS} 444`], `${KMS} 443`],
    [['kms.us-west-1.amazonaws.com 443'], `${KMS} 443`],
    [['amazonaws.com 443'], `${KMS} 443`],
    [[`evil.${KMS} 443`], `${KMS} 443`],
    [['10.0.0.0/8 444'], 'example.com 443'],
    [['10.0.0.0/8 443'], '11.0.0.1 443'],
    [['10.0.0.1 444', 'example.com 444'], '10.0.0.1 443'],
    [['::/0 443'], '10.0.0.1 443'],
    [['0.0.0.0/0 443'], '2001:db8::1 443'],
    [['64:ff9b::/96 443'], '10.0.0.1 443'],
  ] as const) {
    test(`denied: ${written} when ${rules.join(', ') || 'nothing'} is listed`, () => {
      denial(rules, written);
    });
  }

  for (const [rules, written, expected] of [
    [[`${KMS} 443`], `${KMS} 443`, 'allowed by allow.yaml:2'],
    [[`${KMS.toUpperCase()}. 443`], `${KMS} 443`, 'allowed by allow.yaml:2'],
    [['bücher.example 443'], 'xn--bcher-kva.example 443', 'allowed by allow.yaml:2'],
    [['a.example 443', 'b.example 443', 'b.example 443'], 'b.example 443', 'allowed by allow.yaml:3'],
    [['b.example 80', 'b.example 443'], 'b.example 443', 'allowed by allow.yaml:3'],
    [['10.0.0.1 443'], '10.0.0.1 443', 'allowed by allow.yaml:2'],
    [['::ffff:10.0.0.1 443'], '10.0.0.1 443', 'allowed by allow.yaml:2'],
    [['10.0.0.1 443'], '::ffff:a00:1 443', 'allowed by allow.yaml:2'],
    [['2001:db8:0::1 443'], '2001:DB8::1 443', 'allowed by allow.yaml:2'],
    [['10.0.0.0/8 443'], '10.9.8.7 443', 'allowed by allow.yaml:2'],
    [['10.9.8.7 443', '10.0.0.0/8 443'], '10.9.8.7 443', 'allowed by allow.yaml:2'],
    [['127.0.0.1 443'], '127.0.0.1 443', 'allowed by allow.yaml:2'],
  ] as const) {
    test(`${written} is ${expected} when ${rules.join(', ')} is listed`, () => {
      assert.equal(outcome(rules, written), expected);
    });
  }

  test('an IP or CIDR entry on the port may match what a name resolves to', () => {
    assert.equal(outcome(['10.0.0.1 443'], 'example.com 443'), 'needs-address');
    assert.equal(outcome(['other.example 443', '10.0.0.0/8 443'], 'example.com 443'), 'needs-address');
  });

  test('a name that is listed needs no IP entry, whichever comes first', () => {
    assert.equal(outcome(['10.0.0.0/8 443', 'example.com 443'], 'example.com 443'), 'allowed by allow.yaml:3');
  });

  test('an IP address may match listed names on its port that resolve to it, asked in order', () => {
    const rules = ['b.example 443', 'a.example 80', '10.0.0.2 443', 'a.example 443'];
    assert.equal(outcome(rules, '10.0.0.1 443'), 'needs-names b.example a.example');
  });

  test('an IP address that is listed asks no names', () => {
    assert.equal(outcome(['b.example 443', '10.0.0.1 443'], '10.0.0.1 443'), 'allowed by allow.yaml:3');
  });

  test('nothing else by coincidence: a name does not match another listed name, whatever both resolve to', () => {
    denial(['b.example 443', 'c.example 443'], 'a.example 443');
  });
});

suite('denial', () => {
  test('says that the allowlist is empty', () => {
    assert.equal(
      denial([], 'a.example 443').reason,
      'The given address and port are not allowed: the allowlist is empty',
    );
  });

  test('names the entry that differs only in the port, with its place', () => {
    assert.equal(
      denial(['other.example 80', `${KMS} 443`], `${KMS} 8443`).reason,
      `The given address and port are not allowed: ${KMS} is listed for port 443 (allow.yaml:3), not for port 8443`,
    );
    assert.match(denial(['10.0.0.0/8 443'], '10.1.1.1 80').reason, /10\.0\.0\.0\/8 is listed for port 443/);
  });

  test('says that nothing matches, also after addresses were looked at', () => {
    const rules = policy(['10.0.0.0/8 443']);
    assert.equal(
      denyRoute(rules, target('a.example 443'), {}).reason,
      'The given address and port are not allowed: no entry of the allowlist matches a.example on port 443',
    );
  });

  for (const written of ['a.example 443', '10.0.0.1 80', '::1 80', '2001:db8:: 80']) {
    test(`suggests a line for ${written} that, added, allows it`, () => {
      const line = denial([], written).hint.replace(/^.*?- /, '- ');
      const [entry] = parse(line) as { address: string; port: number }[];
      assert(entry !== undefined);
      assert.equal(outcome([`${entry.address} ${entry.port}`], written), 'allowed by allow.yaml:2');
    });
  }
});

test('rule address: URLs and numeric spellings are refused as for a target', () => {
  for (const text of ['https://a.example', 'https://a.example/8', '127.1', '1', '10.0.0.0/33', 'a/b']) {
    assert.equal(parseRuleAddress(text).kind, 'malformed', text);
  }
});
