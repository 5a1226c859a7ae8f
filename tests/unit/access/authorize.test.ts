import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parse } from 'yaml';
import { parseHost } from '../../../src/access/address.ts';
import { begin } from '../../../src/access/authorize.ts';
import type { Client } from '../../../src/access/rules.ts';
import { policy, port, request, target } from './fixture.ts';

const NOBODY: Client = {};

function denial(rules: readonly string[], written: string, client = NOBODY) {
  const state = begin(request(policy(rules), target(written), client));
  assert(state.kind === 'denied', `${written}: ${state.kind}`);
  return state;
}

/** `allowed by LINE`, `denied by LINE`, or the kind with the texts of its rules. */
function outcome(
  rules: readonly string[],
  written: string,
  { deny = [], client = NOBODY }: { readonly deny?: readonly string[]; readonly client?: Client } = {},
): string {
  const state = begin(request(policy(rules, deny), target(written), client));
  switch (state.kind) {
    case 'allowed':
      return `allowed by ${state.rule.place}`;
    case 'needs-addresses':
      return state.rule === undefined ? 'needs-addresses' : `allowed by ${state.rule.place}`;
    case 'needs-names':
      return `needs-names ${state.rules.map((rule) => rule.text).join(' ')}`;
    case 'denied':
      return state.rule === undefined ? 'denied' : `denied by ${state.rule.place}`;
    default:
      return state.kind;
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
    [['*.us-east-1.amazonaws.com 444'], `${KMS} 443`],
    [['*.amazonaws.com'], `${KMS} 443`],
    [['**'], '10.0.0.1 443'],
    [['** 443', '*.example 443'], '10.0.0.1 443'],
    [[`${KMS} 1-442,444-65535`], `${KMS} 443`],
    [[`${KMS} 443 16`], `${KMS} 443`],
    [['10.0.0.0/8 443 16'], '10.0.0.1 443'],
    [['10.0.0.0/8 443 16'], 'a.example 443'],
    [['a.example 443 16'], '10.0.0.1 443'],
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
    [['::ffff:10.0.0.0/104 443'], '10.9.8.7 443', 'allowed by allow.yaml:2'],
    [['kms.*.amazonaws.com 443'], `${KMS} 443`, 'allowed by allow.yaml:2'],
    [['*.example', '**.amazonaws.com'], `${KMS} 443`, 'allowed by allow.yaml:3'],
    [['** 443', `${KMS} 443`], `${KMS} 443`, 'allowed by allow.yaml:3'],
    [[`${KMS} 80,400-500`], `${KMS} 443`, 'allowed by allow.yaml:2'],
    [[KMS], `${KMS} 65535`, 'allowed by allow.yaml:2'],
  ] as const) {
    test(`${written} is ${expected} when ${rules.join(', ')} is listed`, () => {
      assert.equal(outcome(rules, written), expected);
    });
  }

  test('an IP or CIDR entry on the port may match what a name resolves to', () => {
    assert.equal(outcome(['10.0.0.1 443'], 'example.com 443'), 'needs-addresses');
    assert.equal(outcome(['other.example 443', '10.0.0.0/8 443'], 'example.com 443'), 'needs-addresses');
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

  test('names on its port may lead to an IP address, patterns may not: they cannot be resolved', () => {
    assert.equal(
      outcome(['** 443', 'a.example', 'b.example 400-500'], '10.0.0.1 443'),
      'needs-names a.example b.example',
    );
  });

  test('rules for other clients neither need an address nor names', () => {
    const rules = ['a.example 443 16', '10.0.0.0/8 443 16'];
    assert.equal(outcome(rules, '11.0.0.1 443', { client: { cid: 17 } }), 'denied');
    assert.equal(outcome(rules, 'b.example 443', { client: { cid: 17 } }), 'denied');
    assert.equal(outcome(rules, '11.0.0.1 443', { client: { cid: 16 } }), 'needs-names a.example');
    assert.equal(outcome(rules, 'b.example 443', { client: { cid: 16 } }), 'needs-addresses');
  });

  test('nothing else by coincidence: a name does not match another listed name, whatever both resolve to', () => {
    denial(['b.example 443', 'c.example 443'], 'a.example 443');
  });
});

suite('deny', () => {
  for (const [allow, deny, written] of [
    [['a.example 443'], ['a.example'], 'a.example 443'],
    [['a.example 443'], ['a.example 443'], 'a.example 443'],
    [['a.example 443'], ['*.example'], 'a.example 443'],
    [['a.example 443'], ['**'], 'a.example 443'],
    [['**'], ['**.evil.example'], 'a.b.evil.example 443'],
    [['10.0.0.0/8'], ['**.evil.example'], 'a.evil.example 443'],
    [['10.0.0.1 443'], ['10.0.0.1'], '10.0.0.1 443'],
    [['10.0.0.1 443'], ['10.0.0.0/8 400-500'], '10.0.0.1 443'],
    [['10.0.0.1 443'], ['::ffff:10.0.0.0/104'], '10.0.0.1 443'],
    [['a.example 443'], ['10.0.0.1'], '10.0.0.1 443'],
    [['::/0'], ['10.0.0.0/8'], '64:ff9b::10.0.0.1 443'],
    [['64:ff9b::10.0.0.1 443'], ['10.0.0.0/8'], '64:ff9b::10.0.0.1 443'],
    [['::/0'], ['10.0.0.0/8'], '2002:a00:1::1 443'],
    [['::/0'], ['127.0.0.0/8'], '::127.0.0.1 443'],
  ] as const) {
    test(`${written} is denied by ${deny[0]}, though ${allow.join(', ')} is allowed`, () => {
      assert.equal(outcome(allow, written, { deny }), 'denied by deny.yaml:2');
    });
  }

  for (const host of [
    'evil.example',
    'EVIL.Example',
    'evil.example.',
    'evil。example',
    'ｅｖｉｌ.example',
    'ev\u00adil.example',
    'BÜSE.example',
    'bu\u0308se.example',
    'xn--bse-hoa.example',
    'XN--BSE-HOA.example.',
    '10.0.0.1',
    '::ffff:10.0.0.1',
    '::FFFF:0a00:0001',
    '0:0:0:0:0:ffff:a00:1',
    '64:ff9b::a00:1',
    '2001:DB8::1',
    '2001:db8:0:0:0:0:0:1',
    '2001:db8::0.0.0.1',
  ]) {
    test(`no spelling slips past: ${JSON.stringify(host)}`, () => {
      const deny = ['evil.example', 'büse.example', '10.0.0.1', '2001:db8::1'];
      const parsed = parseHost(host);
      assert(parsed.kind !== 'malformed');
      const asked = { host: parsed, port: port(443) };
      const state = begin(request(policy(['**', '0.0.0.0/0', '::/0'], deny), asked, NOBODY, 'client'));
      assert(state.kind === 'denied');
      assert.notEqual(state.rule, undefined);
    });
  }

  for (const host of [
    '10.1',
    '0xa.1',
    '012.0.0.1',
    '167772161',
    '0x0a000001',
    '１０.0.0.1',
    '10.0.0.1.',
    '[::ffff:10.0.0.1]',
    '2001:db8::1%1',
    'evil%2eexample',
    'evil.example\0',
    '',
  ]) {
    test(`no spelling slips past: ${JSON.stringify(host)} is none of a host`, () => {
      assert.equal(parseHost(host).kind, 'malformed');
    });
  }

  test('is for its port, its name and its clients only', () => {
    const deny = ['a.example 80', '*.b.example', 'c.example any 16'];
    for (const written of ['a.example 443', 'b.example 443', 'x.a.example 443', 'c.example 443']) {
      assert.equal(outcome(['**'], written, { deny }), 'allowed by allow.yaml:2');
    }
    assert.equal(outcome(['**'], 'c.example 443', { deny, client: { cid: 17 } }), 'allowed by allow.yaml:2');
    assert.equal(outcome(['**'], 'c.example 443', { deny, client: { cid: 16 } }), 'denied by deny.yaml:4');
  });

  test('a denied name opens no IP address that it resolves to', () => {
    const deny = ['*.evil.example', 'c.example 443'];
    const rules = ['a.evil.example 443', 'b.example 443', 'c.example 443'];
    assert.equal(outcome(rules, '10.0.0.1 443', { deny }), 'needs-names b.example');
    assert.equal(outcome(['a.evil.example 443'], '10.0.0.1 443', { deny }), 'denied');
  });

  test('an IP rule waits for what a name resolves to', () => {
    assert.equal(outcome(['a.example 443'], 'a.example 443', { deny: ['10.0.0.0/8'] }), 'allowed by allow.yaml:2');
    assert.equal(outcome(['10.0.0.0/8'], 'a.example 443', { deny: ['10.0.0.0/8'] }), 'needs-addresses');
  });

  test('alone allows nothing', () => {
    assert.equal(outcome([], 'a.example 443', { deny: ['b.example'] }), 'denied');
  });
});

suite('target that a client asks for', () => {
  const decide = (allow: readonly string[], written: string, client = NOBODY) => {
    const state = begin(request(policy(allow), target(written), client, 'client'));
    return 'rule' in state ? state.rule?.place : state.kind;
  };

  test('denied: a name that is not listed, whatever addresses are: it is never resolved', () => {
    assert.equal(decide(['0.0.0.0/0', '::/0', '10.0.0.1 443'], 'secret.evil.example 443'), 'denied');
  });

  test('denied: an IP address that is not listed, whatever names are', () => {
    assert.equal(decide(['**', 'a.example 443'], '10.0.0.1 443'), 'denied');
  });

  test('allowed: a name by a name or a pattern, an IP address by an address or a range', () => {
    const rules = ['a.example 443', '*.b.example 443', '10.0.0.1 443', '11.0.0.0/8 443'];
    assert.equal(decide(rules, 'a.example 443'), 'allow.yaml:2');
    assert.equal(decide(rules, 'x.b.example 443'), 'allow.yaml:3');
    assert.equal(decide(rules, '10.0.0.1 443'), 'allow.yaml:4');
    assert.equal(decide(rules, '11.1.1.1 443'), 'allow.yaml:5');
  });

  for (const [client, expected] of [
    [{}, 'denied'],
    [{ cid: 18 }, 'denied'],
    [{ cid: 0 }, 'denied'],
    [{ cid: 16 }, 'allow.yaml:2'],
    [{ cid: 17 }, 'allow.yaml:2'],
    [{ cid: 20 }, 'allow.yaml:3'],
  ] as const) {
    test(`a rule with CIDs is for these only: ${JSON.stringify(client)} is ${expected}`, () => {
      assert.equal(decide(['a.example 443 16,17', '*.example 400-500 20'], 'a.example 443', client), expected);
    });
  }
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

  test('names the ports of an entry, however they are given', () => {
    const reason = (rule: string) => denial([rule], 'a.example 80').reason.replace(/^.*: /, '');
    assert.equal(
      reason('a.example 443,1024-2048'),
      'a.example is listed for ports 443 and 1024–2048 (allow.yaml:2), not for port 80',
    );
    assert.equal(reason('*.example 443'), '*.example is listed for port 443 (allow.yaml:2), not for port 80');
  });

  test('names the CIDs of an entry that is for other clients, before one for other ports', () => {
    const rules = ['a.example 80', 'a.example 443 16', '*.example 444 17'];
    const { reason, hint } = denial(rules, 'a.example 443', { cid: 17 });
    assert.equal(
      reason,
      'The given address and port are not allowed: a.example is listed for CID 16 (allow.yaml:3), not for CID 17',
    );
    assert.equal(hint, 'if it may be reached from there, add 17 to its cids');
  });

  test('says that a client without CID has none', () => {
    const { reason, hint } = denial(['a.example 443 16,17'], 'a.example 443');
    assert.equal(
      reason,
      'The given address and port are not allowed: a.example is listed for CIDs 16 and 17 (allow.yaml:2), and the client has no CID',
    );
    assert.equal(hint, 'clients over TCP or a unix socket need a rule without cids');
  });

  test('names the deny rule with its place, and suggests no line that would not help', () => {
    for (const [deny, written, why] of [
      ['a.example', 'a.example 443', 'a.example on port 443 is denied by a.example (deny.yaml:2)'],
      ['*.example', 'a.example 443', 'a.example on port 443 is denied by *.example (deny.yaml:2)'],
      ['10.0.0.0/8 443', '10.1.1.1 443', '10.1.1.1 on port 443 is denied by 10.0.0.0/8 (deny.yaml:2)'],
      [
        'a.example any 16,17',
        'a.example 443',
        'a.example on port 443 is denied to CIDs 16 and 17 by a.example (deny.yaml:2)',
      ],
      [
        '10.0.0.0/8',
        '64:ff9b::a00:1 443',
        '64:ff9b::a00:1 on port 443 stands for 10.0.0.1, which is denied by 10.0.0.0/8 (deny.yaml:2)',
      ],
    ] as const) {
      const rules = policy(['**', '::/0', '0.0.0.0/0'], [deny]);
      const state = begin(request(rules, target(written), { cid: 16 }, 'client'));
      assert(state.kind === 'denied');
      assert.equal(state.reason, `The given address and port are not allowed: ${why}`);
      assert.match(state.hint, /^deny goes before allow: .*narrow or remove the rule/);
      assert.equal(state.rule?.place, 'deny.yaml:2');
    }
  });

  test('says that nothing matches', () => {
    const state = begin(request(policy(['10.0.0.0/8 443']), target('a.example 443'), NOBODY, 'client'));
    assert.equal(
      'reason' in state && state.reason,
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

    test(`suggests a line of egress.allow for ${written} that, added, allows it`, () => {
      const egress = { ...policy(['localhost', '0.0.0.0/0', '::/0']), allowKey: 'egress.allow' } as const;
      const rules = written === '10.0.0.1 80' || written === '2001:db8:: 80' ? { ...egress, allow: [] } : egress;
      const state = begin(request(rules, target(written), NOBODY, 'client'));
      assert(state.kind === 'denied', state.kind);
      assert.doesNotMatch(state.reason, /allowlist/);
      assert.match(state.hint, /^if it is to be reached, add this line to egress\.allow: - /);
      const [entry] = parse(state.hint.replace(/^.*?- /, '- ')) as string[];
      assert.equal(outcome([`${entry}`], written), 'allowed by allow.yaml:2');
    });
  }
});
