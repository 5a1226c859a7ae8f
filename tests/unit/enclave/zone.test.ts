import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseHostname } from '../../../src/access/address.ts';
import { parseHosts } from '../../../src/dns/hosts.ts';
import { AddressTable, NAMES_RANGE } from '../../../src/enclave/address-table.ts';
import type { LookUp } from '../../../src/enclave/dns-message.ts';
import type { FoundRecords } from '../../../src/enclave/parent-records.ts';
import { openZone } from '../../../src/enclave/zone.ts';
import { policy, port } from '../access/fixture.ts';

interface Zone {
  /** The addresses of a name, in a line; undefined where it does not exist. */
  find(name: string): string | undefined;
  /** What was told as denied. */
  readonly denied: readonly string[];
  /** What the look-up says, whatever it is. */
  readonly look: (name: string, type: string) => ReturnType<LookUp>;
  /** What the parent was asked for. */
  readonly asked: readonly string[];
  readonly table: AddressTable;
}

function zoneOf(
  allow: readonly string[],
  deny: readonly string[] = [],
  hosts = '',
  found: FoundRecords = undefined,
): Zone {
  const table = new AddressTable(NAMES_RANGE);
  const denied: string[] = [];
  const asked: string[] = [];
  const lookUp = openZone({
    table,
    hosts: parseHosts(hosts),
    policy: policy(allow, deny),
    ports: [80, 443].map(port),
    lookUpRecords(name, type) {
      asked.push(`${type} ${name}`);
      return Promise.resolve(found);
    },
    onDenied: (name, reason) => denied.push(`${name}: ${reason}`),
  });
  const look = (text: string, type: string) => {
    const name = parseHostname(text);
    assert(typeof name === 'string', text);
    return lookUp(name, type);
  };
  const find = (text: string) => {
    const addresses = look(text, 'AAAA');
    assert.equal(addresses === undefined, look(text, 'A') === undefined);
    assert(addresses === undefined || Array.isArray(addresses));
    return addresses?.map((ip) => ip.text).join(' ');
  };
  return { find, look, asked, denied, table };
}

suite('names that do not exist inside the enclave', () => {
  test('those that nothing allows, each with the reason, and no address is spent on them', () => {
    const { find, denied, table } = zoneOf(['kms.*.amazonaws.com']);
    assert.equal(find('amazonaws.com'), undefined);
    assert.equal(find('kms.amazonaws.com'), undefined);
    assert.equal(find('kms.a.b.amazonaws.com'), undefined);
    assert.equal(denied[0], 'amazonaws.com: no entry of egress.allow matches it');
    assert.deepEqual([denied.length, table.size], [3, 0]);
  });

  test('a denied one under an allowed pattern, however it is spelt', () => {
    const { find, denied } = zoneOf(['**.mycorp.com'], ['auth.mycorp.com']);
    assert.equal(find('auth.mycorp.com'), undefined);
    assert.equal(find('AUTH.MyCorp.com.'), undefined);
    assert.match(denied.join('\n'), /is denied by auth\.mycorp\.com \(deny\.yaml:2\)/);
    assert.notEqual(find('www.mycorp.com'), undefined);
  });

  test('one that is denied on every port that is listened on, but not one that is denied on some of them', () => {
    const { find, denied } = zoneOf(['**.example'], ['db.example 80,443', 'www.example 80']);
    assert.equal(find('db.example'), undefined);
    assert.match(denied.join('\n'), /db\.example on port \d+ is denied by db\.example/);
    assert.notEqual(find('www.example'), undefined);
  });

  test('rules for addresses allow no name, and names for addresses are not told of', () => {
    const { find, denied } = zoneOf(['10.0.0.0/8', '0.0.0.0/0']);
    assert.equal(find('internal.example'), undefined);
    assert.equal(find('2.0.18.198.in-addr.arpa'), undefined);
    assert.equal(denied.length, 1);
  });
});

suite('names that exist inside the enclave', () => {
  test('those that are allowed on any of the ports, each under its own address', () => {
    const { find, denied } = zoneOf(['**.example 443', 'plain.test 80']);
    assert.equal(find('a.example'), '198.18.0.2');
    assert.equal(find('plain.test'), '198.18.0.3');
    assert.equal(find('A.Example.'), '198.18.0.2');
    assert.deepEqual(denied, []);
  });

  test('the hosts file goes first, and localhost is there in any case', () => {
    const { find, table } = zoneOf(['**.example'], [], '127.0.0.1 ranges.example box\n');
    assert.equal(find('ranges.example'), '127.0.0.1');
    assert.equal(find('box'), '127.0.0.1');
    assert.equal(find('localhost'), '127.0.0.1 ::1');
    assert.equal(find('app.localhost'), '127.0.0.1 ::1');
    assert.equal(table.size, 0);
  });
});

suite('records inside the enclave', () => {
  const DENIED = [
    'other.example',
    '_mongodb._tcp.other.example',
    'denied.example',
    '_mongodb._tcp.denied.example',
    'a.denied.example',
    'ample',
  ];

  test('of names that nothing allows, or that are denied, nobody is asked for', () => {
    const { look, asked, denied } = zoneOf(
      ['a.example', '*.denied.example', 'denied.example'],
      ['**.denied.example', 'denied.example'],
    );
    for (const name of DENIED) {
      for (const type of ['SRV', 'TXT']) assert.equal(look(name, type), undefined, name);
    }
    assert.deepEqual(asked, []);
    assert.match(denied.join(), /other\.example: no entry of egress\.allow matches it/);
  });

  test('of other types, the name has none, and nobody is asked', () => {
    const { look, asked } = zoneOf(['a.example']);
    for (const type of ['MX', 'CAA', 'NAPTR', 'UNKNOWN_65']) assert(Array.isArray(look('a.example', type)), type);
    assert.equal(look('_mongodb._tcp.a.example', 'MX'), undefined);
    assert.deepEqual(asked, []);
  });

  test('of what the enclave itself is called, there are none', () => {
    const { look, asked } = zoneOf(['**'], [], '127.0.0.1 box.example\n');
    assert(Array.isArray(look('box.example', 'TXT')));
    assert(Array.isArray(look('localhost', 'SRV')));
    assert.deepEqual(asked, []);
  });

  test('of allowed names on any port, of their services, and of what a pattern allows, the parent is asked', async () => {
    const set = { type: 'TXT', records: [['x']] } as const;
    const { look, asked } = zoneOf(['a.example 27017', '**.corp.example'], ['a.example 22'], '', set);
    for (const [name, type] of [
      ['a.example', 'TXT'],
      ['_mongodb._tcp.A.example', 'SRV'],
      ['_ldap._tcp.corp.example', 'SRV'],
      ['_ldap._tcp.dc._msdcs.corp.example', 'SRV'],
    ] as const) {
      assert.equal(await look(name, type), set);
    }
    assert.deepEqual(asked, [
      'TXT a.example',
      'SRV _mongodb._tcp.a.example',
      'SRV _ldap._tcp.corp.example',
      'SRV _ldap._tcp.dc._msdcs.corp.example',
    ]);
  });

  test('that the parent does not find: the name exists where it has an address here', async () => {
    const { look } = zoneOf(['a.example']);
    assert.deepEqual(await look('a.example', 'TXT'), []);
    assert.equal(await look('_mongodb._tcp.a.example', 'SRV'), undefined);
    assert.equal(await zoneOf(['a.example'], [], '', 'failed').look('a.example', 'TXT'), 'failed');
  });
});
