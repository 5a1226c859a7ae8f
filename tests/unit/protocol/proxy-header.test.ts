import assert from 'node:assert/strict';
import { test } from 'node:test';
import { proxyHeader } from '../../../src/protocol/proxy-header.ts';

const SIGNATURE = '0d0a0d0a000d0a515549540a';
const at = (ip: string, port: number) => ({ ip, port });

const cases: readonly (readonly [name: string, ...Parameters<typeof proxyHeader>, header: string])[] = [
  ['a client without IP address (vsock, unix)', undefined, at('192.0.2.1', 443), '21 00 0000'],
  ['a listener without IP address', at('192.0.2.1', 443), undefined, '21 00 0000'],
  ['neither with an IP address', undefined, undefined, '21 00 0000'],
  ['a text that is no address', at('localhost', 1), at('192.0.2.1', 443), '21 00 0000'],
  ['IPv4', at('192.0.2.1', 56324), at('198.51.100.255', 443), '21 11 000c c0000201 c63364ff dc04 01bb'],
  [
    'IPv6',
    at('2001:db8::1', 1),
    at('::1', 65535),
    '21 21 0024 20010db8000000000000000000000001 00000000000000000000000000000001 0001 ffff',
  ],
  [
    'IPv6 without a gap',
    at('1:2:3:4:5:6:7:8', 1),
    at('1::', 2),
    '21 21 0024 00010002000300040005000600070008 00010000000000000000000000000000 0001 0002',
  ],
  [
    'all zeros, and a zone',
    at('fe80::a%eth0.100', 1),
    at('::', 2),
    '21 21 0024 fe80000000000000000000000000000a 00000000000000000000000000000000 0001 0002',
  ],
  [
    'IPv4 client, IPv6 listener: mapped',
    at('192.0.2.1', 1),
    at('2001:db8::1', 2),
    '21 21 0024 00000000000000000000ffffc0000201 20010db8000000000000000000000001 0001 0002',
  ],
  [
    'two IPv4 addresses in IPv6 disguise',
    at('::ffff:192.0.2.1', 1),
    at('::ffff:c000:202', 2),
    '21 11 000c c0000201 c0000202 0001 0002',
  ],
  [
    'one of two in IPv6 disguise',
    at('::ffff:192.0.2.1', 1),
    at('192.0.2.2', 2),
    '21 11 000c c0000201 c0000202 0001 0002',
  ],
];
for (const [name, client, local, header] of cases) {
  test(`PROXY header for ${name}`, () => {
    assert.equal(proxyHeader(client, local).toString('hex'), SIGNATURE + header.replaceAll(' ', ''));
  });
}
