import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { formatHost, type Hostname, parseHostname, parseIpAddress } from '../../../src/access/address.ts';
import { cidrCovers, cidrOf, constantCidr } from '../../../src/access/cidr.ts';
import { type AddressRange, AddressTable, LOOPBACK_RANGE, NAMES_RANGE } from '../../../src/enclave/address-table.ts';

function name(text: string): Hostname {
  const parsed = parseHostname(text);
  assert(typeof parsed === 'string', text);
  return parsed;
}

const A = name('a.example');
const B = name('b.example');
const C = name('c.example');

const SMALL: AddressRange = { cidr: constantCidr('198.18.0.0/29'), first: 0xc612_0002, count: 4 };

/** Room for two names, and four addresses. */
function smallTable(listed: readonly string[] = []): AddressTable {
  return new AddressTable(SMALL, listed.map(ip), 2);
}

function ip(text: string) {
  return parseIpAddress(text) ?? assert.fail(text);
}

/** What an address stands for, as text. */
function hostOf(table: AddressTable, text: string): string | undefined {
  const host = table.hostOf(text);
  return host && formatHost(host);
}

suite('addresses of names inside the enclave', () => {
  test('an address that was never given out stands for no name', () => {
    const names = new AddressTable(NAMES_RANGE);
    assert.equal(hostOf(names, '198.18.0.2'), undefined);
    assert.equal(hostOf(names, '127.0.0.1'), undefined);
    names.addressOf(A);
    assert.equal(hostOf(names, '198.18.0.3'), undefined);
  });

  test('a name keeps its address, and each has its own out of 198.18.0.0/15', () => {
    const names = new AddressTable(NAMES_RANGE);
    assert.equal(names.addressOf(A).text, '198.18.0.2');
    assert.equal(names.addressOf(B).text, '198.18.0.3');
    assert.equal(names.addressOf(A).text, '198.18.0.2');
    assert.equal(hostOf(names, '198.18.0.2'), A);
    assert.equal(hostOf(names, '198.18.0.3'), B);
  });

  test('a full table forgets the name that was used least lately, by a query or a connection', () => {
    const names = smallTable();
    const first = names.addressOf(A);
    const second = names.addressOf(B);
    hostOf(names, first.text);
    names.addressOf(C);
    assert.equal(hostOf(names, second.text), undefined);
    assert.equal(hostOf(names, first.text), A);
    assert.equal(names.size, 2);
  });

  test('the address of a forgotten name leads nowhere until all others have been given out', () => {
    const names = smallTable();
    const given = ['a', 'b', 'c', 'd'].map((label) => names.addressOf(name(`${label}.example`)).text);
    assert.equal(new Set(given).size, 4);
    assert.equal(hostOf(names, given[0] ?? ''), undefined);
    assert.equal(names.addressOf(name('e.example')).text, given[0]);
  });

  test('an address that stands for a name is passed over when the circle comes round to it', () => {
    const names = smallTable();
    const kept = names.addressOf(A);
    for (let index = 0; index < 50; index += 1) {
      names.addressOf(A);
      assert.notEqual(names.addressOf(name(`n${index}.example`)).text, kept.text);
    }
    assert.equal(hostOf(names, kept.text), A);
  });

  test('ten thousand names of a pattern: all known, each under its own address', () => {
    const names = new AddressTable(NAMES_RANGE);
    const all = Array.from({ length: 10_000 }, (_, index) => name(`n${index}.example`));
    const addresses = new Set(all.map((each) => names.addressOf(each).text));
    assert.equal(addresses.size, all.length);
    assert(all.every((each) => hostOf(names, names.addressOf(each).text) === each));
    for (const address of addresses) assert(cidrCovers(NAMES_RANGE.cidr, ip(address)), address);
  });

  test('a range is used up to its ends, but for the address of the link and those of broadcast', () => {
    for (const { cidr, first, count } of [NAMES_RANGE, LOOPBACK_RANGE]) {
      const table = new AddressTable({ cidr, first: first + count - 1, count: 1 });
      const last = table.addressOf(A);
      assert(cidrCovers(cidr, last), last.text);
      assert.notEqual(last.text, cidr.network.text);
    }
    assert.equal(
      new AddressTable({ ...NAMES_RANGE, first: NAMES_RANGE.first + NAMES_RANGE.count - 1 }).addressOf(A).text,
      '198.19.255.254',
    );
  });

  test('a listed address stands for itself, and for no name', () => {
    const names = smallTable(['169.254.169.254', '198.18.0.2', 'fd00:ec2::254']);
    assert.equal(hostOf(names, '169.254.169.254'), '169.254.169.254');
    assert.equal(hostOf(names, 'fd00:ec2::254'), 'fd00:ec2::254');
    assert.equal(hostOf(names, '169.254.169.253'), undefined);
    for (const label of ['a', 'b', 'c', 'd', 'e']) assert.notEqual(names.addressOf(name(label)).text, '198.18.0.2');
    assert.equal(hostOf(names, '198.18.0.2'), '198.18.0.2');
    assert.deepEqual(
      names.listed.map((each) => cidrOf(each).prefixLength),
      [32, 32, 128],
    );
  });
});
