import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseHostname } from '../../../src/access/address.ts';
import { parseHosts } from '../../../src/dns/hosts.ts';
import { AddressTable, NAMES_RANGE } from '../../../src/enclave/address-table.ts';
import { openZone } from '../../../src/enclave/zone.ts';
import { policy, port } from '../access/fixture.ts';

interface Zone {
  /** The addresses of a name, in a line; undefined where it does not exist. */
  find(name: string): string | undefined;
  /** What was told as denied. */
  readonly denied: readonly string[];
  readonly table: AddressTable;
}

function zoneOf(allow: readonly string[], deny: readonly string[] = [], hosts = ''): Zone {
  const table = new AddressTable(NAMES_RANGE);
  const denied: string[] = [];
  const lookUp = openZone({
    table,
    hosts: parseHosts(hosts),
    policy: policy(allow, deny),
    ports: [80, 443].map(port),
    onDenied: (name, reason) => denied.push(`${name}: ${reason}`),
  });
  const find = (text: string) => {
    const name = parseHostname(text);
    assert(typeof name === 'string', text);
    assert.equal(lookUp(name, 'AAAA') === undefined, lookUp(name, 'A') === undefined);
    return lookUp(name, 'AAAA')
      ?.map((ip) => ip.text)
      .join(' ');
  };
  return { find, denied, table };
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
