import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { afterEach, suite, test } from 'node:test';
import { parseHostname } from '../../../src/access/address.ts';
import { formatRecordReply, MAX_REPLY_BYTES, parseRecordRequest } from '../../../src/dns/record-exchange.ts';
import { ParentRecords } from '../../../src/enclave/parent-records.ts';
import { ManualClock, recordLog, settle } from '../proxy/fixture.ts';

const cleanUps: (() => unknown)[] = [];
afterEach(() => {
  for (const cleanUp of cleanUps.splice(0)) cleanUp();
});

/** A parent that does this with each connection, once it has been asked. */
async function setUp(answer: (socket: Socket, asked: string) => unknown) {
  const server = createServer((socket) => {
    cleanUps.push(() => socket.destroy());
    socket.on('error', () => socket.destroy());
    socket.once('data', (asked) => answer(socket, String(asked)));
  }).listen(0, '127.0.0.1');
  cleanUps.push(() => server.close());
  await once(server, 'listening');
  const logged = recordLog('warn');
  const clock = new ManualClock();
  const records = new ParentRecords(logged.logFor('vsock_proxy'), clock);
  const { port } = server.address() as AddressInfo;
  records.start({ family: 'tcp', ip: '127.0.0.1', port });
  const name = parseHostname('a.example');
  assert(typeof name === 'string');
  return { lookUp: () => records.lookUp(name, 'TXT'), records, name, clock, logged, server };
}

suite('a parent that gives no answer', () => {
  for (const [what, answer, expected] of [
    [
      'does not allow it',
      (socket) => socket.end(formatRecordReply({ denied: 'a.example is not allowed' })),
      /does not allow them: a\.example is not/,
    ],
    ['is older', (socket) => socket.end('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n'), /HTTP status 400/],
    ['cannot tell', (socket) => socket.end(formatRecordReply({ code: 'ETIMEOUT' })), /ETIMEOUT/],
    ['speaks no HTTP', (socket) => socket.end('hello\r\n\r\n'), /not an HTTP\/1\.1 status line/],
    ['ends at once', (socket) => socket.destroy(), /ECONNRESET/],
    ['ends in the middle', (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[]'), /ECONNRESET/],
    ['does not end', (socket) => socket.write(`HTTP/1.1 200 OK\r\n\r\n${' '.repeat(MAX_REPLY_BYTES + 1)}`), /EMSGSIZE/],
  ] as readonly (readonly [string, (socket: Socket) => unknown, RegExp])[]) {
    test(`it ${what}: nobody knows, which is said once`, async () => {
      const { lookUp, logged } = await setUp(answer);
      assert.deepEqual([await lookUp(), await lookUp()], ['failed', 'failed']);
      const lines = logged.take();
      assert.equal(lines.length, 1);
      assert.match(
        lines.join(),
        /^WARN The parent has no answer about TXT records of a\.example: .*Hint: its file may/,
      );
      assert.match(lines.join(), expected);
    });
  }

  test('it says nothing for 4.5 s, or is not there', async () => {
    const { promise: asked, resolve } = Promise.withResolvers<void>();
    const silent = await setUp(() => resolve());
    const found = silent.lookUp();
    await asked;
    await silent.clock.advance(4500);
    assert.equal(await found, 'failed');
    assert.match(silent.logged.take().join(), /ETIMEDOUT/);
    const absent = await setUp(() => undefined);
    absent.server.close();
    await once(absent.server, 'close');
    assert.equal(await absent.lookUp(), 'failed');
    assert.match(absent.logged.take().join(), /ECONNREFUSED/);
  });

  test('it is asked 64 questions at a time, and nothing before it can be asked', async () => {
    const { lookUp, clock } = await setUp(() => undefined);
    const hanging = Array.from({ length: 64 }, lookUp);
    assert.equal(await lookUp(), 'failed');
    for (let i = 0; i < 20; i += 1) await settle();
    await clock.advance(4500);
    assert.deepEqual(new Set(await Promise.all(hanging)), new Set(['failed']));
    const name = parseHostname('a.example');
    assert(typeof name === 'string');
    assert.equal(await new ParentRecords(recordLog('warn').logFor('vsock_proxy'), clock).lookUp(name, 'SRV'), 'failed');
  });
});

test('a parent that answers: records, or that there is no such name; a later failure is told of again', async () => {
  let reply = formatRecordReply({ code: 'ETIMEOUT' });
  let request = '';
  const { lookUp, logged } = await setUp((socket, asked) => {
    request = asked;
    socket.end(reply);
  });
  assert.equal(await lookUp(), 'failed');
  assert.deepEqual(parseRecordRequest(Buffer.from(request)), { name: 'a.example', type: 'TXT' });
  reply = formatRecordReply({ type: 'TXT', records: [['x']] });
  assert.deepEqual(await lookUp(), { type: 'TXT', records: [['x']] });
  reply = formatRecordReply({ code: 'ENOTFOUND' });
  assert.equal(await lookUp(), undefined);
  assert.equal(logged.take().length, 1);
  reply = formatRecordReply({ code: 'ESERVFAIL' });
  assert.equal(await lookUp(), 'failed');
  assert.match(logged.take().join(), /ESERVFAIL/);
});
