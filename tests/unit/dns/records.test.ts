import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, suite, test } from 'node:test';
import * as packet from 'dns-packet';
import { parseHostname } from '../../../src/access/address.ts';
import {
  formatRecordReply,
  parseRecordReply,
  parseRecordRequest,
  type RecordReply,
  recordPath,
} from '../../../src/dns/record-exchange.ts';
import { createRecordLookUp } from '../../../src/dns/record-look-up.ts';
import { MAX_RECORD_QUERIES_OF_ONE, MAX_RECORDS, type RecordType } from '../../../src/dns/records.ts';

const cleanUps: (() => unknown)[] = [];
afterEach(() => {
  for (const cleanUp of cleanUps.splice(0)) cleanUp();
});

const SRV = { priority: 1, weight: 2, port: 27_017, name: 'a.example' };

/** A DNS server with these answers. It does not answer other queries. */
async function serve(answers: Readonly<Record<string, readonly packet.Answer[] | 'NXDOMAIN'>>) {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  cleanUps.push(() => socket.close());
  let asked = 0;
  socket.on('message', (message, { port }) => {
    asked += 1;
    const { id = 0, questions = [] } = packet.decode(message);
    const known = answers[`${questions[0]?.type} ${questions[0]?.name}`];
    if (known === undefined) return;
    const flags = packet.RECURSION_AVAILABLE | (known === 'NXDOMAIN' ? 3 : 0);
    const content = known === 'NXDOMAIN' ? [] : [...known];
    socket.send(packet.encode({ type: 'response', id, flags, questions, answers: content }), port);
  });
  const lookUp = createRecordLookUp({ servers: [`127.0.0.1:${socket.address().port}`], deadlineMs: 500 });
  return {
    asked: () => asked,
    lookUp: (text: string, type: RecordType, asker = 'CID 16') => {
      const name = parseHostname(text);
      assert(typeof name === 'string');
      return lookUp(name, type, asker);
    },
  };
}

suite('records', () => {
  test('that are not there: no such name, or a name without any', async () => {
    const { lookUp } = await serve({ 'SRV no.example': 'NXDOMAIN', 'TXT none.example': [] });
    assert.deepEqual(await lookUp('no.example', 'SRV'), { code: 'ENOTFOUND' });
    assert.deepEqual(await lookUp('none.example', 'TXT'), { type: 'TXT', records: [] });
  });

  test('that are too many are none', async () => {
    const many = Array.from({ length: MAX_RECORDS + 1 }, (): packet.Answer => {
      return { type: 'TXT', name: 'many.example', ttl: 1, data: 'x' };
    });
    const { lookUp } = await serve({ 'TXT many.example': many });
    assert.deepEqual(await lookUp('many.example', 'TXT'), { code: 'EMSGSIZE' });
  });

  test('of one asker are so many at a time, which costs no other asker anything', async () => {
    const { lookUp, asked } = await serve({ 'TXT a.example': [] });
    const hanging = Array.from({ length: MAX_RECORD_QUERIES_OF_ONE }, () => lookUp('silent.example', 'TXT'));
    assert.deepEqual(await lookUp('a.example', 'TXT'), { code: 'EBUSY' });
    assert.deepEqual(await lookUp('a.example', 'TXT', 'CID 17'), { type: 'TXT', records: [] });
    assert(asked() > 0);
    for (const outcome of await Promise.all(hanging)) assert.deepEqual(outcome, { code: 'ETIMEOUT' });
    assert.deepEqual(await lookUp('a.example', 'TXT'), { type: 'TXT', records: [] });
  });

  test('of services, and texts byte for byte', async () => {
    const { name: target, ...data } = SRV;
    const bytes = [Buffer.from('v=1'), Buffer.from([0xff, 0, 0x0a])];
    const { lookUp } = await serve({
      'SRV _s._tcp.a.example': [{ type: 'SRV', name: '_s._tcp.a.example', ttl: 1, data: { ...data, target } }],
      'TXT a.example': [{ type: 'TXT', name: 'a.example', ttl: 1, data: bytes }],
    });
    assert.deepEqual(await lookUp('_s._tcp.a.example', 'SRV'), { type: 'SRV', records: [SRV] });
    assert.deepEqual(await lookUp('a.example', 'TXT'), { type: 'TXT', records: [['v=1', '\xff\0\n']] });
  });
});

suite('what an enclave asks its parent for', () => {
  const request = (line: string, rest = 'Host: parent\r\n\r\n') => Buffer.from(`${line}\r\n${rest}`);

  test('is nothing else: other paths, types, methods and names, more than one head, and less', () => {
    const right = 'GET /dns-records?name=a.example&type=SRV HTTP/1.1';
    assert(parseRecordRequest(request(right)) !== undefined);
    for (const bytes of [
      ...['POST', 'CONNECT', 'get'].map((method) => request(right.replace('GET', method))),
      request(right.replace('SRV', 'MX')),
      request(right.replace('a.example', 'a example')),
      request(right.replace('a.example', 'a.example&name=b.example')),
      request(right.replace('a.example', 'a'.repeat(254))),
      request(right.replace('a.example', '')),
      request(right.replace('/dns', '/dns/../dns')),
      request(right.replace('1.1', '1.0')),
      request(right, 'Host: parent\r\n\r\nx'),
      request(right, 'Host: parent\r\n'),
      request(right, ' folded\n\r\n'),
      Buffer.from(right),
    ]) {
      assert.equal(parseRecordRequest(bytes), undefined, String(bytes));
    }
  });

  test('is understood as it was meant', () => {
    const asked = { name: '_mongodb._tcp.a.example', type: 'SRV' } as const;
    assert.deepEqual(parseRecordRequest(request(`GET ${recordPath(asked)} HTTP/1.1`)), asked);
  });
});

suite('what the parent answers', () => {
  const read = (reply: RecordReply, type: RecordType) => {
    const [head = '', body = ''] = formatRecordReply(reply).toString().split('\r\n\r\n');
    assert.match(head, new RegExp(`\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close$`));
    return parseRecordReply(type, Number(head.split(' ')[1]), body);
  };

  test('comes over as it is, failures too', () => {
    for (const [type, reply] of [
      ['SRV', { denied: 'a.example is not allowed' }],
      ['SRV', { code: 'ENOTFOUND' }],
      ['TXT', { code: 'ETIMEOUT' }],
      ['SRV', { type: 'SRV', records: [SRV] }],
      ['TXT', { type: 'TXT', records: [['v=1', '\xff\0\n"\\'], []] }],
      ['TXT', { type: 'TXT', records: [] }],
    ] as const) {
      assert.deepEqual(read(reply, type), reply);
    }
  });

  test('is not believed where it makes no sense', () => {
    for (const [type, body] of [
      ['SRV', ''],
      ['SRV', '{}'],
      ['SRV', '[null]'],
      ['SRV', '[["x"]]'],
      ['SRV', JSON.stringify([{ ...SRV, port: 65_536 }])],
      ['SRV', JSON.stringify([{ ...SRV, weight: -1 }])],
      ['SRV', JSON.stringify([{ ...SRV, priority: 1.5 }])],
      ['SRV', JSON.stringify([{ ...SRV, name: 'a b' }])],
      ['SRV', JSON.stringify([{ ...SRV, name: undefined }])],
      ['TXT', JSON.stringify([SRV])],
      ['TXT', '["x"]'],
      ['TXT', '[["\u0100"]]'],
      ['TXT', JSON.stringify([['x'.repeat(256)]])],
      ['TXT', JSON.stringify(Array(MAX_RECORDS + 1).fill(['x']))],
    ] as const) {
      assert.deepEqual(parseRecordReply(type, 200, body), { code: 'EBADRESP' }, body);
    }
    assert.deepEqual(parseRecordReply('SRV', 400, '[]'), { code: 'HTTP status 400' });
    assert.deepEqual(parseRecordReply('SRV', 0, '[]'), { code: 'HTTP status 0' });
  });
});
