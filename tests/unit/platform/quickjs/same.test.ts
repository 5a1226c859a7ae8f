/** What Node.js has, and src/platform/quickjs has anew: both say the same. */
import './host.ts';
import assert from 'node:assert/strict';
import { isIP, isIPv4, isIPv6 } from 'node:net';
import { suite, test } from 'node:test';
import { domainToASCII } from 'node:url';
import { Bytes } from '../../../../src/platform/quickjs/bytes.ts';
import * as idna from '../../../../src/platform/quickjs/idna.ts';
import * as ip from '../../../../src/platform/quickjs/ip.ts';

/** The same sequence each time: a linear congruential generator. */
function* numbers(): Generator<number, never> {
  for (let state = 20261128; ; ) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state / 2 ** 32;
  }
}
const random = numbers();
const below = (limit: number): number => Math.floor(random.next().value * limit);
const pick = <T>(list: readonly T[]): T => list[below(list.length)] as T;
const textOf = (parts: readonly string[], most: number): string =>
  Array.from({ length: below(most + 1) }, () => pick(parts)).join('');

const ROUNDS = 20_000;

suite('IP addresses', () => {
  const written = [
    ...[
      '',
      '1.2.3.4',
      '255.255.255.255',
      '256.1.1.1',
      '01.2.3.4',
      '1.2.3',
      '1.2.3.4.',
      '1.2.3.4.5',
      ' 1.2.3.4',
      '0.0.0.0',
    ],
    ...[
      '::',
      '::1',
      '1::',
      '1:2:3:4:5:6:7:8',
      '1:2:3:4:5:6:7:8:9',
      '1:2:3:4:5:6:7::',
      '::2:3:4:5:6:7:8',
      ':::',
      '1::2::3',
    ],
    ...[
      '::ffff:1.2.3.4',
      '::1.2.3.256',
      '1.2.3.4::',
      '::1.2.3.4:5',
      '1:2:3:4:5:6:1.2.3.4',
      '1:2:3:4:5:6:7:1.2.3.4',
      '::01.2.3.4',
    ],
    ...['12345::', 'g::', 'fe80::1%eth0', 'fe80::1%', '%eth0', '::1%a b', ':1', '1:', 'FE80::ABCD'],
  ];
  const all = () => [...written, ...Array.from({ length: ROUNDS }, () => textOf(PARTS, 12))];
  const PARTS = [':', '::', '.', '0', '1', 'ab', 'ffff', '255', '256', '1.2.3.4', '00', '%a'];

  test('are told from other texts as Node.js does', () => {
    for (const text of all()) {
      assert.deepEqual(
        [ip.isIP(text), ip.isIPv4(text), ip.isIPv6(text)],
        [isIP(text), isIPv4(text), isIPv6(text)],
        JSON.stringify(text),
      );
    }
  });

  test('have the one spelling of the URL standard', () => {
    for (const text of all().filter((each) => /^[\da-f:.]*$/i.test(each))) {
      assert.equal(idna.domainToASCII(`[${text}]`), domainToASCII(`[${text}]`), JSON.stringify(text));
    }
  });
});

suite('host names', () => {
  test('in ASCII, and IPv4 addresses in all their spellings, are those of the URL standard', () => {
    const parts = [
      'a',
      'B',
      '-',
      '_',
      '.',
      '.',
      '0',
      '1',
      '9',
      '0x',
      'f',
      '07',
      '255',
      '256',
      '4294967295',
      '65536',
      'com',
    ];
    for (let round = 0; round < ROUNDS; round += 1) {
      const text = textOf(parts, 9);
      assert.equal(idna.domainToASCII(text), domainToASCII(text), JSON.stringify(text));
    }
  });

  test('beyond ASCII are no names', () => {
    assert.equal(idna.domainToASCII('bücher.example'), '');
    assert.equal(idna.domainToASCII('xn--bcher-kva.example'), 'xn--bcher-kva.example');
  });
});

suite('bytes', () => {
  const Own = Bytes as unknown as typeof Buffer;
  const both = <T>(action: (type: typeof Buffer) => T): void => assert.deepEqual(action(Own), action(Buffer));
  const plain = (bytes: Uint8Array): readonly number[] => [...bytes];
  const TEXTS = ['', 'a', 'häßlich', '\u{1f600}', '\xff\x80\0', 'abcdef'];

  test('of a text, and their text, in each encoding', () => {
    for (const text of TEXTS) {
      for (const encoding of ['utf8', 'latin1'] as const) {
        both((type) => plain(type.from(text, encoding)));
        both((type) => type.from(text, encoding).toString('latin1'));
        both((type) => type.byteLength(text, encoding));
      }
      for (const encoding of ['utf8', 'hex', 'base64', 'latin1'] as const) {
        both((type) => type.from(text).toString(encoding));
        both((type) => type.from(text).toString(encoding, 1, 3));
      }
    }
    both((type) => plain(type.from('00ffA0', 'hex')));
  });

  test('of other bytes: copied, or a view', () => {
    const source = new Uint8Array([1, 2, 3, 4, 5]);
    both((type) => plain(type.from(source)));
    both((type) => plain(type.from(source.buffer, 1, 3)));
    both((type) => plain(type.concat([type.from([1]), source])));
    both((type) => {
      const bytes = type.from(source);
      bytes.subarray(1, 3)[0] = 9;
      bytes.slice(3)[0] = 8;
      return plain(bytes);
    });
    assert(Own.isBuffer(Own.alloc(3).subarray(1)));
    assert.equal(Own.from([1, 2]).equals(new Uint8Array([1, 2])), true);
    assert.equal(Own.from([1, 2]).equals(new Uint8Array([1, 3])), false);
  });

  test('hold numbers, and nothing beyond their end', () => {
    both((type) => {
      const bytes = type.alloc(7);
      bytes.writeUInt8(0xfe, 0);
      bytes.writeUInt16BE(0xabcd, 1);
      bytes.writeUInt32BE(0xdeadbeef, 3);
      return [plain(bytes), bytes.readUInt8(0), bytes.readUInt16BE(1), bytes.readUInt32BE(3)];
    });
    for (const type of [Own, Buffer]) {
      assert.throws(() => type.alloc(3).readUInt16BE(2), RangeError);
      assert.throws(() => type.alloc(3).readUInt32BE(0), RangeError);
      assert.throws(() => type.alloc(3).readUInt8(3), RangeError);
      assert.throws(() => type.alloc(3).writeUInt16BE(1, 2), RangeError);
    }
  });

  test('take a text, as much as there is room for', () => {
    both((type) => {
      const bytes = type.alloc(4);
      const written = [bytes.write('ab', 1), bytes.write('xyz', 2, 'latin1')];
      return [...written, ...plain(bytes)];
    });
    both((type) => {
      const to = type.alloc(3);
      const copied = type.from([1, 2, 3, 4]).copy(to, 1, 1);
      return [copied, ...plain(to)];
    });
  });
});
