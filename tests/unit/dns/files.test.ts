import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type Hostname, parseHostname } from '../../../src/access/address.ts';
import { parseHosts } from '../../../src/dns/hosts.ts';
import { createHostsFile } from '../../../src/dns/hosts-file.ts';
import { expandName, parseSearchList } from '../../../src/dns/resolvconf.ts';

function name(text: string): Hostname {
  const parsed = parseHostname(text);
  assert(typeof parsed === 'string');
  return parsed;
}

suite('hosts file', () => {
  test('lines that make no sense are passed over', () => {
    const text = [
      '# 10.0.0.9 a.example',
      'a.example 10.0.0.9',
      '10.0.0 a.example',
      '127.1 a.example',
      'fe80::1%eth0 a.example',
      '10.0.0.1',
      '10.0.0.2 bad_!name a.example',
      '\u0000\u0001',
      '',
    ].join('\n');
    assert.deepEqual(
      [...parseHosts(text)].map(([host, ips]) => [host, ips.map((ip) => ip.text)]),
      [['a.example', ['10.0.0.2']]],
    );
  });

  test('tabs, Windows line ends, aliases, comments, case and mapped addresses are understood', () => {
    const table = parseHosts('10.0.0.1\tA.Example  b # c\r\n::ffff:10.0.0.2 b\r\n');
    const written = [...table].map(([host, ips]) => `${host} ${ips.map((ip) => ip.text).join(' ')}`);
    assert.deepEqual(written, ['a.example 10.0.0.1', 'b 10.0.0.1 10.0.0.2']);
  });
});

suite('hosts file that cannot be read', () => {
  test('for want of something: its names are not asked of anybody else', async () => {
    // Opens, and fails to be read.
    const lookUp = createHostsFile('/proc/self/mem');
    for (let i = 0; i < 2; i += 1) {
      await assert.rejects(lookUp(name('a.example')), { code: 'resolve-failed', errno: 'EIO' });
    }
  });

  test('because it is not there or no file: it holds no names', async () => {
    for (const path of ['/nowhere/hosts', '/proc/self/mem/hosts', '/proc']) {
      assert.deepEqual(await createHostsFile(path)(name('a.example')), []);
    }
  });
});

suite('search list', () => {
  for (const [text, domains, ndots] of [
    ['', [], 1],
    ['nameserver 10.0.0.2\n', [], 1],
    ['search a.example b.example', ['a.example', 'b.example'], 1],
    ['search\ta.example \r\n', ['a.example'], 1],
    ['domain a.example', ['a.example'], 1],
    ['domain a.example\nsearch b.example', ['b.example'], 1],
    ['search b.example\ndomain a.example c.example', ['a.example'], 1],
    ['search A.Example. . -bad-', ['a.example'], 1],
    ['# search a.example\n; search b.example', [], 1],
    ['searching a.example', [], 1],
    ['options ndots:5 timeout:1', [], 5],
    ['options ndots:2\noptions rotate ndots:3', [], 3],
    ['options ndots:99', [], 15],
    ['options ndots:x ndots: ndots:-1', [], 1],
  ] as const) {
    test(`${JSON.stringify(text)} is ${domains.join(' ') || 'nothing'}, ndots ${ndots}`, () => {
      assert.deepEqual(parseSearchList(text), { domains, ndots });
    });
  }

  test('completions that become too long for a name are left out', () => {
    const long = name(`${'a.'.repeat(120)}example`);
    assert.deepEqual(expandName(long, { domains: [name('corp.example')], ndots: 1 }), [long]);
  });

  test('ndots:0 tries a single label as it is first', () => {
    const search = { domains: [name('corp.example')], ndots: 0 };
    assert.deepEqual(expandName(name('db'), search), ['db', 'db.corp.example']);
  });
});
