import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { guardAddresses } from '../../src/policy/guard.ts';
import type { NameRule } from '../../src/policy/rules.ts';
import { ip, nameRule, policy, port } from './policy-fixture.ts';

const NAMED = nameRule('a.example 443');

/** Each address with the rule that admits it, or with why it is refused. */
function verdicts(entries: readonly string[], namedBy: NameRule | undefined, ...addresses: readonly string[]) {
  const { admitted, refused } = guardAddresses(policy(entries), port(443), {}, namedBy, addresses.map(ip));
  return {
    admitted: admitted.map(({ address, rule }) => `${address.text} by ${rule.text}`),
    refused: refused.map(({ address, reason }) => `${address.text} ${reason}`),
  };
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
});
