import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type Hostname, parseHostname } from '../../../src/access/address.ts';
import { NameTable } from '../../../src/enclave/address-table.ts';

function name(text: string): Hostname {
  const parsed = parseHostname(text);
  assert(typeof parsed === 'string', text);
  return parsed;
}

const A = name('a.example');
const B = name('b.example');
const C = name('c.example');

/** Room for two names, and four addresses. */
function smallTable(): NameTable {
  return new NameTable({ capacity: 2, first: 0x7f40_0001, addresses: 4 });
}

suite('addresses of names inside the enclave', () => {
  test('an address that was never given out stands for no name', () => {
    const names = new NameTable();
    assert.equal(names.nameOf('127.64.0.1'), undefined);
    assert.equal(names.nameOf('127.0.0.1'), undefined);
    names.addressOf(A);
    assert.equal(names.nameOf('127.64.0.2'), undefined);
  });

  test('a name keeps its address, and each has its own out of 127.64.0.0/10', () => {
    const names = new NameTable();
    assert.equal(names.addressOf(A).text, '127.64.0.1');
    assert.equal(names.addressOf(B).text, '127.64.0.2');
    assert.equal(names.addressOf(A).text, '127.64.0.1');
    assert.equal(names.nameOf('127.64.0.1'), A);
    assert.equal(names.nameOf('127.64.0.2'), B);
  });

  test('a full table forgets the name that was used least lately, by a query or a connection', () => {
    const names = smallTable();
    const first = names.addressOf(A);
    const second = names.addressOf(B);
    names.nameOf(first.text);
    names.addressOf(C);
    assert.equal(names.nameOf(second.text), undefined);
    assert.equal(names.nameOf(first.text), A);
    assert.equal(names.size, 2);
  });

  test('the address of a forgotten name leads nowhere until all others have been given out', () => {
    const names = smallTable();
    const given = ['a', 'b', 'c', 'd'].map((label) => names.addressOf(name(`${label}.example`)).text);
    assert.equal(new Set(given).size, 4);
    assert.equal(names.nameOf(given[0] ?? ''), undefined);
    assert.equal(names.addressOf(name('e.example')).text, given[0]);
  });

  test('an address that stands for a name is passed over when the circle comes round to it', () => {
    const names = smallTable();
    const kept = names.addressOf(A);
    for (let index = 0; index < 50; index += 1) {
      names.addressOf(A);
      assert.notEqual(names.addressOf(name(`n${index}.example`)).text, kept.text);
    }
    assert.equal(names.nameOf(kept.text), A);
  });

  test('ten thousand names of a pattern: all known, each under its own address', () => {
    const names = new NameTable();
    const all = Array.from({ length: 10_000 }, (_, index) => name(`n${index}.example`));
    const addresses = new Set(all.map((each) => names.addressOf(each).text));
    assert.equal(addresses.size, all.length);
    assert(all.every((each) => names.nameOf(names.addressOf(each).text) === each));
    for (const address of addresses) assert.match(address, /^127\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\./);
  });
});
