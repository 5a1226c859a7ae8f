import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import {
  formatHost,
  parseHost,
  parseHostname,
  parseIpAddress,
  parseTargetHost,
  parseTcpPort,
} from '../../../src/access/address.ts';
import { cidrCovers, embeddedIpv4, parseCidr } from '../../../src/access/cidr.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';
import { seeded } from '../../random.ts';
import { ip } from './fixture.ts';

function refusal(text: string): string {
  try {
    parseTargetHost(text);
  } catch (error) {
    assert(error instanceof VsockProxyError);
    assert.equal(error.code, 'argument');
    return error.line;
  }
  return assert.fail(`${text} was taken`);
}

suite('target host', () => {
  for (const [text, ...expected] of [
    ['', 'it is empty'],
    [' ', 'white space'],
    ['kms.example.com ', 'white space'],
    ['127.1', '"127.1" is another spelling of 127.0.0.1'],
    ['2130706433', '"2130706433" is another spelling of 127.0.0.1'],
    ['0x7f.1', 'another spelling of 127.0.0.1'],
    ['0x7f000001', 'another spelling of 127.0.0.1'],
    ['0177.0.0.1', 'another spelling of 127.0.0.1'],
    ['127.0.0.1.', 'another spelling of 127.0.0.1'],
    ['１２７.0.0.1', 'another spelling of 127.0.0.1'],
    ['127。1', 'another spelling of 127.0.0.1'],
    ['example.１', 'is not a host name'],
    ['256.1.1.1', 'ends in a number, but is not an IP address'],
    ['1.2.3.4.5', 'ends in a number'],
    ['example.0x1', 'ends in a number'],
    ['[::1]', 'has brackets', 'without brackets'],
    ['[::1]:443', 'has brackets'],
    ['fe80::1%eth0', 'has a zone'],
    ['1:2:3', 'is not an IPv6 address'],
    ['https://kms.example.com/path', 'is a URL', 'write the host only: "kms.example.com"'],
    ['HTTPS://user:word@kms.example.com:8443', 'is a URL', '"kms.example.com"'],
    ['https://[::1]:443/', 'is a URL', '"::1"'],
    ['://', 'not an IPv6'],
    ['kms.example.com:443', 'includes a port', 'write "kms.example.com" and 443 apart'],
    ['10.0.0.0/8', 'contains "/"'],
    ['kms.example.com/', 'contains "/"'],
    ['*.example.com', 'is a pattern'],
    ['exa%41mple.com', 'contains "%"'],
    ['exam\0ple.com', 'contains "\\0"'],
    ['exam"ple.com', 'contains "\\""'],
    ['user@example.com', 'contains "@"'],
    ['.', 'is not a host name'],
    ['a..b', 'empty label'],
    ['.example.com', 'empty label'],
    ['example.com..', 'empty label'],
    ['-a.com', 'has the label "-a"'],
    ['a-.com', 'has the label "a-"'],
    [`${'a'.repeat(64)}.com`, 'a label of 64 characters'],
    [`${'a.'.repeat(126)}bcd`, 'is 255 characters long'],
    ['漢'.repeat(200), 'label of'],
    ['漢'.repeat(507), 'is 507 characters long'],
    ['1.'.repeat(10_000), 'is 20000 characters long'],
    ['\u00ad', 'is not a host name'],
    ['m\u00fcnchen\u00ad\ue000.de', 'is not a host name. Hint: write it in ASCII, with xn--…'],
    ['xn--\u00e4', 'is not a host name'],
  ] as const) {
    test(`refused: ${JSON.stringify(text).slice(0, 50)} ${expected[0]}`, () => {
      const line = refusal(text);
      assert(line.startsWith('Remote address is not valid: '), line);
      for (const part of expected) assert(line.includes(part), line);
      assert.doesNotMatch(line, /[\p{C}\p{Zl}\p{Zp}]/u, 'one line without invisible characters');
    });
  }

  for (const cid of ['3', '16', '0', '65535']) {
    test(`known fault 16: ${cid} in place of the host looks like a CID, and the word order is told`, () => {
      assert.match(refusal(cid), /looks like a CID.*<local_port> <remote_addr> <remote_port>/);
    });
  }

  test('an endless value is cut in the message', () => {
    assert(refusal(`${'a'.repeat(100_000)}!`).length < 400);
  });

  for (const [text, name] of [
    ['kms.us-east-1.amazonaws.com', 'kms.us-east-1.amazonaws.com'],
    ['KMS.Example.COM.', 'kms.example.com'],
    ['localhost', 'localhost'],
    ['Bücher.example', 'xn--bcher-kva.example'],
    ['ｋｍｓ.example。com', 'kms.example.com'],
    ['k\u00adms.example.com', 'kms.example.com'],
    ['_sip._tcp.example.com', '_sip._tcp.example.com'],
    ['3com.com', '3com.com'],
    ['0x7g', '0x7g'],
    [`${'a'.repeat(63)}.com`, `${'a'.repeat(63)}.com`],
    [`${'a.'.repeat(126)}b`, `${'a.'.repeat(126)}b`],
  ] as const) {
    test(`${text.slice(0, 50)} is the name ${name.slice(0, 50)}`, () => {
      assert.deepEqual(parseTargetHost(text), { kind: 'name', name });
    });
  }

  for (const [text, canonical, family] of [
    ['10.1.2.3', '10.1.2.3', 4],
    ['::1', '::1', 6],
    ['2001:DB8:0:0:0::0001', '2001:db8::1', 6],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3', 6],
    ['::ffff:1.2.3.4', '1.2.3.4', 4],
    ['::FFFF:7f00:1', '127.0.0.1', 4],
    ['1::ffff:7f00:1', '1::ffff:7f00:1', 6],
    ['0:0:1::ffff:7f00:1', '::1:0:0:ffff:7f00:1', 6],
    ['::1:ffff:7f00:1', '::1:ffff:7f00:1', 6],
    ['0:0:0:0:0:ffff:0:0', '0.0.0.0', 4],
  ] as const) {
    test(`${text} is the IPv${family} address ${canonical}`, () => {
      const host = parseTargetHost(text);
      assert(host.kind === 'ip');
      assert.equal(host.ip.family, family);
      assert.equal(formatHost(host), canonical);
    });
  }
});

test('port: 0, 65536, signs, fractions, words and other digits are no TCP ports', () => {
  for (const text of [
    '',
    '0',
    '65536',
    '65979',
    '4294967739',
    '-1',
    '+443',
    '443.0',
    '4e2',
    '0x1bb',
    ' 443',
    'https',
    '٤٤٣',
  ]) {
    assert.equal(parseTcpPort(text), undefined, text);
  }
  for (const number of [1, 443, 65535]) assert.equal(parseTcpPort(String(number)), number);
});

test('IP address: names, brackets, zones and short forms are none', () => {
  for (const text of ['', 'localhost', '[::1]', '::1%lo', '127.1', '01.2.3.4', '1.2.3.4/32', '1.2.3.4\n']) {
    assert.equal(parseIpAddress(text), undefined, text);
  }
});

suite('CIDR', () => {
  for (const text of [
    '10.0.0.0/33',
    '::/129',
    '10.0.0.0/',
    '/8',
    '10.0.0/8',
    '10.0.0.0/8/8',
    'example.com/8',
    '10.0.0.0/-1',
    '::ffff:10.0.0.0/24',
    '::ffff:10.0.0.0/95',
    '::ffff:10.0.0.0/129',
    '127.1/8',
    '0x0a.0.0.0/8',
    '010.0.0.0/8',
    '[::1]/128',
    '*/8',
  ]) {
    test(`refused: ${text}`, () => assert('problem' in parseCidr(text)));
  }

  for (const [range, inside, outside] of [
    ['10.0.0.0/8', '10.255.255.255', '11.0.0.0'],
    ['10.1.2.3/8', '10.9.9.9', '9.255.255.255'],
    ['192.0.2.1/32', '192.0.2.1', '192.0.2.2'],
    ['0.0.0.0/0', '255.255.255.255', '::1'],
    ['2001:db8::/32', '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff', '2001:db9::'],
    ['::/0', 'ffff::', '1.2.3.4'],
    ['::1/128', '::1', '::2'],
    ['2001:db8::8000/113', '2001:db8::ffff', '2001:db8::7fff'],
    ['2001:db8:0:1::/64', '2001:db8:0:1:ffff::', '2001:db8:0:2::'],
    ['ffff:ffff:8000::/33', 'ffff:ffff:ffff::', 'ffff:ffff:7fff::'],
    ['128.0.0.0/1', '255.0.0.0', '127.255.255.255'],
    ['::ffff:10.0.0.0/104', '10.255.255.255', '11.0.0.0'],
    ['::ffff:0:0/96', '1.2.3.4', '::1.2.3.4'],
    ['10.0.0.0/8', '::ffff:10.1.1.1', '::10.1.1.1'],
  ] as const) {
    test(`${range} covers ${inside} and not ${outside}`, () => {
      const cidr = parseCidr(range);
      assert('network' in cidr);
      assert.equal(cidrCovers(cidr, ip(outside)), false);
      assert.equal(cidrCovers(cidr, ip(inside)), true);
    });
  }

  test('the IPv4 address within NAT64, 6to4 and compatible addresses is found', () => {
    assert.equal(embeddedIpv4(ip('64:ff9b::169.254.169.254'))?.text, '169.254.169.254');
    assert.equal(embeddedIpv4(ip('2002:7f00:1::9'))?.text, '127.0.0.1');
    assert.equal(embeddedIpv4(ip('2002:ffff:fffe::'))?.text, '255.255.255.254');
    assert.equal(embeddedIpv4(ip('::10.0.0.1'))?.text, '10.0.0.1');
    assert.equal(embeddedIpv4(ip('2001:db8::a00:1')), undefined);
    assert.equal(embeddedIpv4(ip('10.0.0.1')), undefined);
  });
});

test('a name is taken as it stands only where the long way makes the same of it', () => {
  const parts = ['a', 'z', '_', '0', '9', '-', '.', '.', 'xn--', '0x', 'A', 'ab--c', 'é', 'localhost', 'a'.repeat(62)];
  const random = seeded(5);
  let names = 0;
  for (let round = 0; round < 5000; round += 1) {
    const text = Array.from({ length: 1 + random() * 8 }, () => parts[Math.floor(random() * parts.length)]).join('');
    const host = parseHost(text);
    if (host.kind !== 'name') continue;
    names += 1;
    assert.equal(host.name, parseHostname(text), text);
  }
  assert(names > 500, `${names} were names`);
});
