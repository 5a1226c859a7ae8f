import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { denyAddresses } from '../../../src/access/denial.ts';
import { type AdmittedAddress, guardAddress, type RefusedAddress } from '../../../src/access/guard.ts';
import type { Client, NameRule } from '../../../src/access/rules.ts';
import { ip, nameRule, policy, port, target } from './fixture.ts';

const NAMED = nameRule('a.example 443');

/** Each address with the rule that admits it, or with the reason why it is refused. */
function verdicts(entries: readonly string[], namedBy: NameRule | undefined, ...addresses: readonly string[]) {
  return verdictsWith({ allow: entries }, namedBy, ...addresses);
}

interface Setting {
  readonly allow?: readonly string[];
  readonly deny?: readonly string[];
  readonly client?: Client;
}

function verdictsWith(
  { allow = [], deny = [], client = {} }: Setting,
  namedBy: NameRule | undefined,
  ...addresses: readonly string[]
) {
  const { admitted, refused } = guardAll({ allow, deny, client }, namedBy, ...addresses);
  return {
    admitted: admitted.map(({ address, rule }) => `${address.text} by ${rule.text}`),
    refused: refused.map(({ address, reason }) => `${address.text} ${reason}`),
  };
}

function guardAll(
  { allow = [], deny = [], client = {} }: Setting,
  namedBy: NameRule | undefined,
  ...addresses: readonly string[]
) {
  const admitted: AdmittedAddress[] = [];
  const refused: RefusedAddress[] = [];
  for (const text of addresses) {
    const guarded = guardAddress(policy(allow, deny), port(443), client, namedBy, ip(text));
    if ('reason' in guarded) refused.push(guarded);
    else admitted.push(guarded);
  }
  return { admitted, refused };
}

suite('address guard', () => {
  for (const [address, reason] of [
    ['127.0.0.1', /is a loopback address/],
    ['127.255.255.254', /is a loopback address/],
    ['::1', /is a loopback address/],
    ['::ffff:127.0.0.1', /127\.0\.0\.1 is a loopback address/],
    ['64:ff9b::127.0.0.1', /stands for 127\.0\.0\.1, which is a loopback address/],
    ['2002:7f00:1::1', /stands for 127\.0\.0\.1/],
    ['::127.0.0.1', /stands for 127\.0\.0\.1/],
    ['169.254.169.254', /link-local.*metadata/],
    ['::ffff:169.254.169.254', /link-local/],
    ['64:ff9b::a9fe:a9fe', /stands for 169\.254\.169\.254/],
    ['169.254.0.1', /link-local/],
    ['fe80::1', /link-local/],
    ['febf::1', /link-local/],
    ['fd00:ec2::254', /metadata/],
    ['fd00:ec2::253', /instance itself/],
    ['0.0.0.0', /unspecified/],
    ['0.1.2.3', /unspecified/],
    ['::', /unspecified/],
    ['::ffff:0.0.0.0', /unspecified/],
    ['224.0.0.1', /multicast/],
    ['239.255.255.255', /multicast/],
    ['ff02::1', /multicast/],
    ['255.255.255.255', /broadcast/],
  ] as const) {
    test(`refused: a listed name that resolves to ${address}`, () => {
      const { admitted, refused } = verdicts(['a.example 443'], NAMED, address);
      assert.deepEqual(admitted, []);
      assert.match(refused[0] ?? '', reason);
    });
  }

  test('refused: every address of a name that is not listed, but for those that an IP or CIDR entry covers', () => {
    assert.deepEqual(verdicts(['10.0.0.0/8 443', '10.1.0.0/16 443'], undefined, '10.1.1.1', '11.1.1.1'), {
      admitted: ['10.1.1.1 by 10.0.0.0/8'],
      refused: ['11.1.1.1 is not in the allowlist for port 443'],
    });
  });

  test('refused: a loopback address that is listed for another port', () => {
    assert.deepEqual(verdicts(['127.0.0.1 444', 'a.example 443'], NAMED, '127.0.0.1').admitted, []);
  });

  test('refused: localhost that resolves to the metadata service or into the network of the instance', () => {
    for (const address of ['169.254.169.254', 'fd00:ec2::254', '0.0.0.0', '64:ff9b::127.0.0.1']) {
      assert.deepEqual(verdicts([], nameRule('localhost 443'), address).admitted, [], address);
    }
  });

  test('refused: a name that only ends like localhost', () => {
    assert.deepEqual(verdicts([], nameRule('notlocalhost 443'), '127.0.0.1').admitted, []);
  });

  for (const address of [
    '10.0.0.1',
    '172.16.0.1',
    '192.168.1.1',
    '100.64.0.1',
    '52.94.5.1',
    'fd12:3456::1',
    '2600:1f18::1',
    '64:ff9b::52.94.5.1',
    '128.0.0.1',
    '126.255.255.255',
    '169.253.255.255',
    '::2:0:0',
  ]) {
    test(`admitted: a listed name that resolves to ${address}`, () => {
      assert.deepEqual(verdicts(['a.example 443'], NAMED, address), {
        admitted: [`${address === '64:ff9b::52.94.5.1' ? '64:ff9b::345e:501' : address} by a.example`],
        refused: [],
      });
    });
  }

  test('admitted: guarded addresses that an IP or CIDR entry allows expressly on that port', () => {
    assert.deepEqual(
      verdicts(
        ['a.example 443', '127.0.0.1 443', '169.254.169.254/32 443'],
        NAMED,
        '127.0.0.1',
        '169.254.169.254',
        '127.0.0.2',
      ),
      {
        admitted: ['127.0.0.1 by 127.0.0.1', '169.254.169.254 by 169.254.169.254/32'],
        refused: ['127.0.0.2 is a loopback address'],
      },
    );
    assert.deepEqual(verdicts(['127.0.0.0/8 443'], undefined, '127.0.0.9').refused, []);
  });

  test('admitted: loopback addresses of localhost and of the names under it', () => {
    for (const name of ['localhost', 'db.localhost']) {
      assert.deepEqual(verdicts([], nameRule(`${name} 443`), '127.0.0.1', '::1').refused, [], name);
    }
  });

  test('one bad address does not spoil the others, and their order stays', () => {
    assert.deepEqual(verdicts([], NAMED, '10.0.0.2', '127.0.0.1', '2001:db8::1', '10.0.0.1'), {
      admitted: ['10.0.0.2 by a.example', '2001:db8::1 by a.example', '10.0.0.1 by a.example'],
      refused: ['127.0.0.1 is a loopback address'],
    });
  });

  for (const [deny, address, reason] of [
    ['10.0.0.1', '10.0.0.1', 'is denied by 10.0.0.1 (deny.yaml:2)'],
    ['10.0.0.0/8', '10.0.0.1', 'is denied by 10.0.0.0/8 (deny.yaml:2)'],
    ['10.0.0.0/8 400-500', '10.0.0.1', 'is denied by 10.0.0.0/8 (deny.yaml:2)'],
    ['10.0.0.0/8', '::ffff:10.0.0.1', 'is denied by 10.0.0.0/8 (deny.yaml:2)'],
    ['::ffff:10.0.0.0/104', '10.0.0.1', 'is denied by ::ffff:10.0.0.0/104 (deny.yaml:2)'],
    ['10.0.0.0/8', '64:ff9b::a00:1', 'stands for 10.0.0.1, which is denied by 10.0.0.0/8 (deny.yaml:2)'],
    ['10.0.0.0/8', '2002:a00:1::1', 'stands for 10.0.0.1, which is denied by 10.0.0.0/8 (deny.yaml:2)'],
    ['2001:db8::/32', '2001:db8::1', 'is denied by 2001:db8::/32 (deny.yaml:2)'],
    ['127.0.0.0/8', '127.0.0.1', 'is denied by 127.0.0.0/8 (deny.yaml:2)'],
  ] as const) {
    test(`refused: ${address} when ${deny} is denied, whatever allows it`, () => {
      const allow = ['0.0.0.0/0', '::/0', address];
      for (const namedBy of [NAMED, nameRule('localhost 443'), undefined]) {
        const { admitted, refused } = verdictsWith({ allow, deny: [deny] }, namedBy, address);
        assert.deepEqual(admitted, []);
        assert.deepEqual(
          refused.map((refusal) => refusal.slice(refusal.indexOf(' ') + 1)),
          [reason],
        );
      }
    });
  }

  test('refused: loopback addresses of every name that only a pattern lists', () => {
    for (const pattern of ['* 443', '** 443', '*.localhost 443', '**.localhost 443']) {
      assert.deepEqual(verdicts([pattern], nameRule(pattern), '127.0.0.1', '::1').admitted, [], pattern);
    }
  });

  test('refused: what an IP rule allows to other clients', () => {
    const allow = ['127.0.0.1 443 16', '10.0.0.0/8 443 16'];
    for (const client of [{}, { cid: 17 }]) {
      assert.deepEqual(verdictsWith({ allow, client }, NAMED, '127.0.0.1').admitted, []);
      assert.deepEqual(verdictsWith({ allow, client }, undefined, '10.0.0.1').admitted, []);
    }
    assert.deepEqual(verdictsWith({ allow, client: { cid: 16 } }, NAMED, '127.0.0.1').refused, []);
    assert.deepEqual(verdictsWith({ allow, client: { cid: 16 } }, undefined, '10.0.0.1').refused, []);
  });

  test('admitted: what is denied on another port or to another client', () => {
    const deny = ['10.0.0.1 80', '10.0.0.2 443 17', '*.example'];
    assert.deepEqual(verdictsWith({ deny, client: { cid: 16 } }, NAMED, '10.0.0.1', '10.0.0.2').refused, []);
    assert.deepEqual(verdictsWith({ deny, client: { cid: 17 } }, NAMED, '10.0.0.1', '10.0.0.2').refused, [
      '10.0.0.2 is denied to CID 17 by 10.0.0.2 (deny.yaml:3)',
    ]);
  });

  test('admitted: a denied IPv6 range does not reach the IPv4 address that is within', () => {
    assert.deepEqual(verdictsWith({ deny: ['64:ff9b::/96', '::/0'] }, NAMED, '10.0.0.1').refused, []);
  });
});

suite('denial of all addresses of a name', () => {
  const denial = (setting: Setting, namedBy: NameRule | undefined, ...addresses: readonly string[]) => {
    const { refused } = guardAll(setting, namedBy, ...addresses);
    return denyAddresses(policy([]), target('a.example 443'), namedBy !== undefined, refused);
  };

  test('says what is wrong with each', () => {
    assert.equal(
      denial({}, NAMED, '127.0.0.1', '::').reason,
      'The given address and port are not allowed: none of the addresses of a.example may be used: ' +
        '127.0.0.1 is a loopback address, :: is an unspecified address',
    );
  });

  test('advises to list a guarded address, or the name that is not listed, or to mend the deny rule', () => {
    assert.equal(denial({}, NAMED, '127.0.0.1').hint, 'list an address itself if it is meant to be used');
    assert.match(denial({}, undefined, '10.0.0.1').hint, /add this line .* - \{address: a\.example, port: 443\}$/);
    const { hint, rule } = denial({ deny: ['10.0.0.0/8'] }, NAMED, '127.0.0.1', '10.0.0.1');
    assert.match(hint, /narrow or remove the rule that denies it$/);
    assert.equal(rule?.place, 'deny.yaml:2');
  });

  for (const [rule, address] of [
    ['0.0.0.0/0', '127.0.0.1'],
    ['0.0.0.0/0', '169.254.169.254'],
    ['128.0.0.0/1', '169.254.169.254'],
    ['126.0.0.0/7', '127.0.0.1'],
    ['::/0', 'fd00:ec2::254'],
    ['::/0', '::1'],
    ['64:ff9b::/96', '64:ff9b::a9fe:a9fe'],
  ] as const) {
    test(`refused: ${address}, for ${rule} covers it without meaning it`, () => {
      for (const namedBy of [NAMED, undefined]) {
        const { admitted, refused } = verdicts(['a.example 443', `${rule} 443`], namedBy, address);
        assert.deepEqual(admitted, []);
        assert.equal(refused.length, 1);
      }
    });
  }

  for (const [rule, address] of [
    ['127.0.0.0/8', '127.0.0.1'],
    ['169.254.169.254/32', '169.254.169.254'],
    ['169.254.169.254', '169.254.169.254'],
    ['fd00:ec2::/64', 'fd00:ec2::254'],
    ['64:ff9b::a9fe:a9fe/128', '64:ff9b::a9fe:a9fe'],
  ] as const) {
    test(`admitted: ${address}, for ${rule} means it`, () => {
      assert.deepEqual(verdicts([`${rule} 443`], undefined, address).admitted, [`${address} by ${rule}`]);
    });
  }
});
