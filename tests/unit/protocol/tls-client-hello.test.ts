import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { after, before, suite, test } from 'node:test';
import { type ConnectionOptions, connect } from 'node:tls';
import { HEAD_LIMIT } from '../../../src/protocol/head.ts';
import {
  essence,
  type ParsedClientHello,
  parseClientHello,
  RECORD_LIMIT,
} from '../../../src/protocol/tls-client-hello.ts';
import { assertPrintable, head, latin1, parseEachPrefix } from './fixture.ts';
import {
  clientHello,
  extension,
  helloBody,
  intoRecords,
  message,
  record,
  serverName,
  u16,
  vector,
  withoutInessentials,
} from './hello.ts';

/** The verdict about the whole, and the same from every cut; what `more` asks for is never more than it takes. */
function verdict(bytes: Uint8Array): ParsedClientHello {
  const whole = parseEachPrefix(parseClientHello, bytes);
  for (let length = 0; length < bytes.length; length++) {
    const part = parseClientHello(bytes.subarray(0, length));
    if (part.kind !== 'more') break;
    assert.ok(part.atLeast > length && part.atLeast <= HEAD_LIMIT, `${part.atLeast} after ${length}`);
    if (whole.kind === 'name') assert.ok(part.atLeast <= bytes.length, `${part.atLeast} after ${length}`);
  }
  return whole;
}

const EMPTY = Buffer.alloc(0);
const GREASE = extension(0x2a2a, Buffer.from([0]));
const ENCRYPTED = extension(0xfe0d, Buffer.alloc(200, 7));
const HELLO = clientHello();

suite('the essence of a ClientHello', () => {
  const named = clientHello({ extensions: [extension(51, Buffer.alloc(1216, 1)), GREASE, serverName('b.example')] });

  test('is all that comes before its end, without what others would fill in otherwise', () => {
    const { bytes, except = [] } = essence(Buffer.concat([named, EMPTY, Buffer.from('early data')])) ?? {};
    assert.equal(bytes, named.length);
    assert.deepEqual(parseClientHello(withoutInessentials(named)), { kind: 'name', name: 'b.example' });
    assert.deepEqual(except.slice(0, 2), [11, 43], 'its random bytes');
    const name = named.indexOf('b.example');
    assert.ok(except.filter((bound) => bound <= name).length % 2 === 0, 'not the name');
    const left = except.reduce((sum, bound, i) => (i % 2 === 0 ? sum + bound : sum - bound), named.length);
    assert.ok(left < 100, `${left} bytes`);
  });

  test('has its name: another one of the same length is another ClientHello', () => {
    const other = Buffer.from(named.toString('latin1').replace('b.example', 'c.example'), 'latin1');
    assert.notDeepEqual(withoutInessentials(other), withoutInessentials(named));
  });

  test('cannot be told where it is spread over records', () => {
    assert.equal(essence(intoRecords(named, 100)), undefined);
  });
});

suite('ClientHello refused', () => {
  const cases: readonly (readonly [name: string, bytes: Uint8Array, problem: string])[] = [
    // Not TLS, known by the first byte
    ['HTTP in clear', latin1('G'), 'that is HTTP or another protocol in clear, not TLS. Hint: this listener routes by'],
    ['CONNECT', head('CONNECT a.example:443 HTTP/1.1', 'Host: a.example'), 'that is HTTP'],
    ['SSH', latin1('SSH-2.0-x\r\n'), 'that is HTTP or another protocol in clear'],
    ['an SSL 2.0 hello', Buffer.from('802e0103010015000000100000', 'hex'), 'that is SSL 2.0 or no TLS at all'],
    ['zeros', Buffer.alloc(9), 'that is not TLS (first byte 0)'],
    ['a line end', latin1('\r\n'), 'that is not TLS (first byte 13)'],
    // Records
    ['an alert', record(21, Buffer.from([2, 40])), 'that is not TLS (first byte 21)'],
    ['application data', record(23, HELLO), 'that is not TLS (first byte 23)'],
    ['record version 2.0', Buffer.from('160200', 'hex'), 'TLS record version 2.x is not supported'],
    ['record version 254 (DTLS)', Buffer.from('16feff', 'hex'), 'TLS record version 254.x is not supported'],
    ['an empty record', Buffer.from('1603010000', 'hex'), 'a TLS record is empty'],
    ['a record too long', Buffer.from('1603014001', 'hex'), 'a TLS record has 16385 bytes, more than 16384'],
    ['an empty second record', Buffer.concat([intoRecords(HELLO, 50).subarray(0, 55), record(22, EMPTY)]), 'is empty'],
    [
      'an alert between two records',
      Buffer.concat([intoRecords(HELLO, 50).subarray(0, 55), record(21, Buffer.from([1, 0]))]),
      'a TLS record of type 21 cuts the ClientHello',
    ],
    ['a record for each byte', intoRecords(HELLO, 1), `comes in more than ${RECORD_LIMIT} records`],
    // The message
    ['a ServerHello', record(22, message(2, helloBody())), 'is of type 2, not a ClientHello'],
    ['a HelloRequest', record(22, message(0, EMPTY)), 'is of type 0, not a ClientHello'],
    [
      'a message behind it',
      record(22, Buffer.concat([message(1, helloBody()), message(1, EMPTY)])),
      'something follows',
    ],
    ['a byte behind it', record(22, Buffer.concat([message(1, helloBody()), Buffer.alloc(1)])), 'something follows'],
    ['a hello larger than 16 KiB', record(22, message(1, Buffer.alloc(100), HEAD_LIMIT)), 'larger than 16384 bytes'],
    ['a hello of 16 MiB', record(22, message(1, Buffer.alloc(100), 0xffffff)), 'larger than 16384 bytes'],
    [
      'one byte more than 16 KiB with its headers',
      record(22, message(1, Buffer.alloc(HEAD_LIMIT - 8))).subarray(0, 9),
      'larger than 16384 bytes',
    ],
    ['an empty hello', record(22, message(1, EMPTY)), 'shorter than what is in it'],
    ['SSL 3.0', clientHello({ version: 0x0300 }), 'version 3.0 is not supported'],
    ['version 2.0', clientHello({ version: 0x0200 }), 'version 2.0 is not supported'],
    ['DTLS', clientHello({ version: 0xfefd }), 'version 254.253 is not supported'],
    ['a random cut short', record(22, message(1, helloBody().subarray(0, 33))), 'shorter than what is in it'],
    ['a session id of 33 bytes', clientHello({ session: vector(1, Buffer.alloc(33)) }), 'a session id of 33 bytes'],
    ['a session id beyond the end', clientHello({ session: Buffer.from([255]) }), 'shorter than what is in it'],
    ['no cipher suites', clientHello({ ciphers: u16(0) }), 'a list of cipher suites of 0 bytes'],
    ['half a cipher suite', clientHello({ ciphers: vector(2, Buffer.alloc(3)) }), 'a list of cipher suites of 3 bytes'],
    ['ciphers beyond the end', clientHello({ ciphers: u16(0xfffe) }), 'shorter than what is in it'],
    ['no compression methods', clientHello({ compression: vector(1) }), 'a list of compression methods of 0 bytes'],
    ['compression beyond the end', clientHello({ compression: Buffer.from([255]) }), 'shorter than what is in it'],
    [
      'one byte of extensions',
      clientHello({ extensions: 'none', rest: Buffer.from([0]) }),
      'shorter than what is in it',
    ],
    ['extensions too long', clientHello({ extensions: 'none', rest: u16(1) }), 'shorter than what is in it'],
    ['extensions too short', clientHello({ rest: Buffer.from([0]) }), 'something follows the extensions'],
    ['half an extension header', clientHello({ extensions: [serverName('a.example'), u16(10)] }), 'shorter than what'],
    ['an extension too long', clientHello({ extensions: [Buffer.concat([u16(10), u16(1)])] }), 'shorter than what'],
    // The name
    ['two names', clientHello({ extensions: [serverName('a.example', 'b.example')] }), 'more than one server name'],
    ['the same name twice', clientHello({ extensions: [serverName('a.example', 'a.example')] }), 'more than one'],
    [
      'two extensions with a name',
      clientHello({ extensions: [serverName('a.example'), GREASE, serverName('b.example')] }),
      'two server_name extensions',
    ],
    ['an empty extension', clientHello({ extensions: [extension(0)] }), 'the list of server names has a wrong length'],
    ['an empty list', clientHello({ extensions: [serverName()] }), 'the list of server names is empty'],
    ['a list too short', clientHello({ extensions: [extension(0, u16(2), Buffer.alloc(3))] }), 'a wrong length'],
    ['a list too long', clientHello({ extensions: [extension(0, u16(4), Buffer.alloc(3))] }), 'a wrong length'],
    [
      'name type 1',
      clientHello({ extensions: [extension(0, vector(2, Buffer.from([1, 0, 1, 97])))] }),
      'type 1 does not',
    ],
    [
      'a name too long',
      clientHello({ extensions: [extension(0, vector(2, Buffer.from([0, 0, 2, 97])))] }),
      'a wrong length',
    ],
    [
      'half a name length',
      clientHello({ extensions: [extension(0, vector(2, Buffer.from([0, 0])))] }),
      'a wrong length',
    ],
    ['an empty name', clientHello({ extensions: [serverName('')] }), '"" is not a server name'],
    [
      'a name with NUL',
      clientHello({ extensions: [serverName('a.example\0.b')] }),
      '"a.example\\0.b" is not a server name',
    ],
    ['a name with a space', clientHello({ extensions: [serverName('a example')] }), 'is not a server name'],
    ['a name with a line end', clientHello({ extensions: [serverName('a\r\nb')] }), '"a\\r\\nb" is not a server name'],
    ['a name with a port', clientHello({ extensions: [serverName('a.example:443')] }), 'is not a server name'],
    ['a pattern', clientHello({ extensions: [serverName('*.example')] }), 'is not a server name'],
    [
      'a name beyond ASCII',
      clientHello({ extensions: [serverName('\xfc.example')] }),
      '"ü.example" is not a server name',
    ],
    ['two dots at the end', clientHello({ extensions: [serverName('a.example..')] }), 'is not a server name'],
    ['nothing but a dot', clientHello({ extensions: [serverName('.')] }), 'is not a server name'],
    ['a dot at the beginning', clientHello({ extensions: [serverName('.example')] }), 'is not a server name'],
    ['254 characters', clientHello({ extensions: [serverName('a'.repeat(254))] }), 'is not a server name'],
  ];
  for (const [name, bytes, problem] of cases) {
    test(`for ${name}: ${problem}`, () => {
      const hello = verdict(bytes);
      assert(hello.kind === 'malformed', JSON.stringify(hello));
      assert.ok(hello.problem.includes(problem), hello.problem);
      assertPrintable(hello.problem);
    });
  }
});

suite('ClientHello without a name', () => {
  const cases: readonly (readonly [name: string, bytes: Uint8Array, problem: string])[] = [
    ['no extensions at all', clientHello({ extensions: 'none' }), 'names no server (no SNI)'],
    ['an empty list of extensions', clientHello({ extensions: [] }), 'names no server (no SNI)'],
    ['other extensions', clientHello({ extensions: [GREASE, extension(16)] }), 'names no server (no SNI)'],
    [
      'a name in the encrypted part only',
      clientHello({ extensions: [ENCRYPTED] }),
      'encrypted only (ECH without outer SNI)',
    ],
    ['an IPv4 address', clientHello({ extensions: [serverName('192.0.2.1')] }), 'the IP address "192.0.2.1"'],
    [
      'an IPv4 address with a dot at its end',
      clientHello({ extensions: [serverName('192.0.2.1.')] }),
      'the IP address "192.0.2.1"',
    ],
    ['an IPv6 address', clientHello({ extensions: [serverName('2001:db8::1')] }), 'the IP address "2001:db8::1"'],
  ];
  for (const [name, bytes, problem] of cases) {
    test(`because of ${name}: ${problem}`, () => {
      const hello = verdict(bytes);
      assert(hello.kind === 'no-name', JSON.stringify(hello));
      assert.ok(hello.problem.includes(problem), hello.problem);
      assertPrintable(hello.problem);
    });
  }
});

suite('ClientHello with a name', () => {
  const padding = HEAD_LIMIT - clientHello({ extensions: [serverName('a.example'), extension(21)] }).length;
  const cases: readonly (readonly [name: string, bytes: Uint8Array, serverName?: string])[] = [
    ['the least that has one', clientHello({ session: vector(1) })],
    ['TLS 1.0', clientHello({ version: 0x0301 })],
    ['any minor version in the record', record(22, message(1, helloBody()), 0x0300)],
    ['GREASE before and behind', clientHello({ extensions: [GREASE, serverName('a.example'), GREASE] })],
    ['Encrypted ClientHello: the outer name', clientHello({ extensions: [ENCRYPTED, serverName('a.example')] })],
    [
      'a post-quantum key share',
      clientHello({ extensions: [extension(51, Buffer.alloc(1216)), serverName('a.example')] }),
    ],
    [
      'as large as a head can be',
      clientHello({ extensions: [serverName('a.example'), extension(21, Buffer.alloc(padding))] }),
    ],
    ['in two records', intoRecords(HELLO, 60)],
    ['in records that cut the headers', intoRecords(HELLO, 3)],
    [
      'upper case and underscores, as sent',
      clientHello({ extensions: [serverName('A_b-C.1.Example')] }),
      'A_b-C.1.Example',
    ],
    ['253 characters', clientHello({ extensions: [serverName('a'.repeat(253))] }), 'a'.repeat(253)],
  ];
  for (const [name, bytes, expected = 'a.example'] of cases) {
    test(name, () => {
      assert.deepEqual(verdict(bytes), { kind: 'name', name: expected });
    });
  }
});

test('what the client sends behind its ClientHello changes nothing', () => {
  const behind = Buffer.concat([HELLO, record(20, Buffer.from([1])), record(23, Buffer.alloc(50)), latin1('GET')]);
  for (let length = HELLO.length; length <= behind.length; length++) {
    assert.deepEqual(parseClientHello(behind.subarray(0, length)), { kind: 'name', name: 'a.example' });
  }
});

suite('ClientHello of a real client', { timeout: 60_000 }, () => {
  let server: Server;
  before(async () => {
    server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  after(() => server.close());
  const port = () => (server.address() as AddressInfo).port;

  /** What the next client sends, up to where the parser has seen enough. */
  async function capture(): Promise<Buffer> {
    const [socket] = await once(server, 'connection');
    let bytes: Buffer = EMPTY;
    for await (const chunk of socket) {
      bytes = Buffer.concat([bytes, chunk]);
      if (parseClientHello(bytes).kind !== 'more') break;
    }
    socket.destroy();
    return bytes;
  }

  function check(bytes: Buffer, expected: ParsedClientHello): void {
    assert.deepEqual(verdict(bytes), expected);
    if (bytes.readUInt16BE(3) !== bytes.length - 5) return;
    for (const size of [Math.ceil((bytes.length - 5) / RECORD_LIMIT), 100, 511]) {
      assert.deepEqual(verdict(intoRecords(bytes, size)), expected);
    }
  }

  const NAMELESS = parseClientHello(clientHello({ extensions: [] }));
  const NAMED = { kind: 'name', name: 'kms.eu-west-1.amazonaws.com' } as const;

  const clients: readonly (readonly [name: string, options: ConnectionOptions, leastBytes: number])[] = [
    ['TLS 1.2', { maxVersion: 'TLSv1.2' }, 150],
    ['TLS 1.3', { minVersion: 'TLSv1.3' }, 200],
    ['TLS 1.3 with a post-quantum key share', { minVersion: 'TLSv1.3', ecdhCurve: 'X25519MLKEM768' }, 1216],
    ['many protocols', { ALPNProtocols: Array.from({ length: 200 }, (_, i) => `protocol-number-${i}`) }, 3000],
  ];
  for (const [name, options, least] of clients) {
    for (const servername of [NAMED.name, undefined]) {
      test(`node:tls, ${name}, ${servername === undefined ? 'without' : 'with'} a name`, async () => {
        const captured = capture();
        const named: ConnectionOptions = servername === undefined ? {} : { servername };
        const client = connect({ host: '127.0.0.1', port: port(), ...options, ...named });
        client.on('error', () => client.destroy());
        const bytes = await captured;
        client.destroy();
        if (servername !== undefined) assert.deepEqual(parseClientHello(withoutInessentials(bytes)), NAMED);
        assert.ok(bytes.length > least, `${bytes.length} bytes`);
        check(bytes, servername === undefined ? NAMELESS : NAMED);
      });
    }
  }

  for (const [expected, ...args] of [
    ['name', '-tls1_2', '-servername', NAMED.name],
    ['name', '-tls1_3', '-servername', NAMED.name],
    ['name', '-tls1', '-cipher', 'ALL:@SECLEVEL=0', '-servername', NAMED.name],
    ['name', '-max_send_frag', '512', '-alpn', 'x'.repeat(255), '-servername', NAMED.name, '-groups', 'P-521:P-384'],
    ['no-name', '-tls1_2', '-noservername'],
    ['no-name', '-tls1_3', '-noservername'],
    ['no-name', '-servername', '192.0.2.1'],
  ] as const) {
    test(`openssl s_client ${args.join(' ').replace(/x{20,}/, 'x…')}: ${expected}`, async () => {
      const captured = capture();
      const client = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${port()}`, ...args], { stdio: 'ignore' });
      const ended = once(client, 'exit');
      const bytes = await captured;
      await ended;
      const hello = verdict(bytes);
      assert.equal(hello.kind, expected);
      check(bytes, expected === 'name' ? NAMED : hello);
      const records = bytes.readUInt16BE(3) === bytes.length - 5 ? 1 : 2;
      assert.equal(records, args[0] === '-max_send_frag' ? 2 : 1, `${bytes.length} bytes`);
    });
  }
});
