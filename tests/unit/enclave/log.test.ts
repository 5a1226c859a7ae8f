import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { Duplex, PassThrough } from 'node:stream';
import { afterEach, suite, test } from 'node:test';
import { setImmediate as turnOfEvents } from 'node:timers/promises';
import { Backlog } from '../../../src/enclave/backlog.ts';
import { LineSplitter, LONGEST_LINE_BYTES } from '../../../src/enclave/lines.ts';
import { openLogReceiver } from '../../../src/enclave/log-receiver.ts';
import { LogSender } from '../../../src/enclave/log-sender.ts';
import { systemClock } from '../../../src/platform/clock.ts';
import { ManualClock } from '../proxy/fixture.ts';

let cleanUps: (() => unknown)[] = [];
afterEach(() => {
  for (const cleanUp of cleanUps.splice(0)) cleanUp();
  cleanUps = [];
});

/** What was written, and a way to wait for it. */
class Written {
  text = '';
  isFull = false;
  refused = 0;
  #watchers: (() => void)[] = [];

  readonly write = (line: string): boolean => {
    if (this.isFull) this.refused += 1;
    else this.text += line;
    for (const watcher of this.#watchers) watcher();
    return !this.isFull;
  };

  get lines(): readonly string[] {
    return this.text.split('\n').slice(0, -1);
  }

  async until(isThere: (lines: readonly string[]) => boolean): Promise<void> {
    while (!isThere(this.lines)) await new Promise<void>((resolve) => this.#watchers.push(resolve));
  }
}

suite('bytes that become lines', () => {
  test('in pieces, with either end of line, and a rest', () => {
    const lines = new LineSplitter();
    assert.equal(lines.take(), undefined);
    lines.push(Buffer.from('on'));
    assert.equal(lines.take(), undefined);
    lines.push(Buffer.from('e\r\ntwo\n\nth'));
    assert.deepEqual([lines.take(), lines.take(), lines.take(), lines.take()].map(String), [
      'one',
      'two',
      '',
      'undefined',
    ]);
    assert.equal(String(lines.takeRest()), 'th');
    assert.equal(lines.takeRest(), undefined);
  });

  test('a line without end goes on in the next one', () => {
    const lines = new LineSplitter();
    lines.push(Buffer.alloc(3 * LONGEST_LINE_BYTES, 'x'));
    assert.equal(lines.take()?.length, LONGEST_LINE_BYTES);
    lines.push(Buffer.from('y\n'));
    assert.equal(lines.take()?.length, LONGEST_LINE_BYTES);
    assert.equal(lines.take()?.length, LONGEST_LINE_BYTES);
    assert.equal(String(lines.take()), 'y');
  });

  test('a line of exactly the greatest length is one', () => {
    const lines = new LineSplitter();
    lines.push(Buffer.from(`${'x'.repeat(LONGEST_LINE_BYTES)}\nnext\n`));
    assert.equal(lines.take()?.length, LONGEST_LINE_BYTES);
    assert.equal(String(lines.take()), 'next');
  });
});

suite('bytes that wait', () => {
  test('come back in their order, whatever pieces they came in', () => {
    const backlog = new Backlog();
    assert.equal(backlog.take(), undefined);
    const bytes = randomBytes(100_000);
    for (const [from, to] of [
      [0, 1],
      [1, 8191],
      [8191, 8193],
      [8193, 8193],
      [8193, 90_000],
      [90_000, 100_000],
    ] as const) {
      backlog.push(bytes.subarray(from, to));
      assert.equal(backlog.bytes, to);
    }
    const taken = [];
    for (let block = backlog.take(); block !== undefined; block = backlog.take()) taken.push(block);
    assert.deepEqual(Buffer.concat(taken), bytes);
    assert.equal(backlog.bytes, 0);
    backlog.push(Buffer.from('again'));
    assert.equal(String(backlog.take()), 'again');
    assert.equal(backlog.take(), undefined);
  });

  test('are in few pieces, however short the lines are', () => {
    const backlog = new Backlog();
    for (let index = 0; index < 256 * 1024; index += 1) backlog.push(Buffer.from('\n'));
    let pieces = 0;
    while (backlog.take() !== undefined) pieces += 1;
    assert.equal(pieces, 32);
  });
});

suite('the receiver of lines', () => {
  async function setUp(clock = new ManualClock()) {
    const written = new Written();
    const receiver = await openLogReceiver({ write: (client, line) => written.write(`${client}: ${line}\n`), clock });
    cleanUps.push(() => receiver.close());
    const open = async (introduction: Uint8Array | string): Promise<Socket> => {
      const { address } = receiver;
      assert(address.family === 'tcp');
      const socket = connect({ host: address.ip, port: address.port }).on('error', () => undefined);
      cleanUps.push(() => socket.destroy());
      socket.write(introduction);
      socket.resume();
      await once(socket, 'connect');
      return socket;
    };
    return { written, receiver, open, clock };
  }

  test('takes nobody’s word who does not know the secret', async () => {
    const { written, receiver, open } = await setUp();
    const secret = String(receiver.introduce('')).split(' ')[0] ?? '';
    for (const introduction of [
      'CID 16\nlies\n',
      '\nlies\n',
      `${secret}\nlies\n`,
      `${secret.slice(1)}x CID 16\nlies\n`,
    ]) {
      const socket = await open(introduction);
      await once(socket, 'close');
    }
    assert.equal(written.text, '');
  });

  test('writes each line with its client in front, and nothing that a terminal would obey', async () => {
    const { written, receiver, open } = await setUp();
    const socket = await open(receiver.introduce('CID 16'));
    socket.write('started\n\x1b[2Jcleared\r\n\nlast');
    socket.end();
    await written.until(({ length }) => length === 3);
    assert.deepEqual(written.lines, ['CID 16: started', 'CID 16: \\u{1b}[2Jcleared', 'CID 16: last']);
  });

  test('lets a client who sends more than its share wait, and nobody else', async () => {
    const { written, receiver, open, clock } = await setUp();
    const flood = await open(receiver.introduce('CID 16'));
    flood.write(Array.from({ length: 1500 }, (_, index) => `line ${index}\n`).join(''));
    await written.until(({ length }) => length === 1000);
    const other = await open(receiver.introduce('CID 17'));
    other.write('here\n');
    await written.until((lines) => lines.includes('CID 17: here'));
    assert.equal(written.lines.length, 1001);
    while (written.lines.length < 1501) {
      const before = written.lines.length;
      await clock.advance(100);
      assert(written.lines.length <= before + 26);
    }
    assert.equal(written.lines.at(-1), 'CID 16: line 1499');
  });

  test('lets a client who sends nothing but empty lines wait as well, and writes none of them', async () => {
    const { written, receiver, open, clock } = await setUp();
    const flood = await open(receiver.introduce('CID 16'));
    flood.write('\n'.repeat(1500));
    flood.write('end\n');
    const second = await open(receiver.introduce('CID 16'));
    second.write('second\n');
    const other = await open(receiver.introduce('CID 17'));
    other.write('here\n');
    await written.until(({ length }) => length === 1);
    assert.deepEqual(written.lines, ['CID 17: here']);
    for (let ms = 0; ms < 3000; ms += 100) await clock.advance(100);
    await written.until(({ length }) => length === 3);
    assert.deepEqual([...written.lines].sort(), ['CID 16: end', 'CID 16: second', 'CID 17: here']);
  });

  test('takes 16 connections of a client and no more, until one of them has ended', async () => {
    const { written, receiver, open } = await setUp();
    const sockets = await Promise.all(Array.from({ length: 16 }, () => open(receiver.introduce('CID 16'))));
    for (const [index, socket] of sockets.entries()) socket.write(`${index}\n`);
    await written.until(({ length }) => length === 16);
    await once(await open(receiver.introduce('CID 16')), 'close');
    const other = await open(receiver.introduce('CID 17'));
    other.write('here\n');
    await written.until((lines) => lines.includes('CID 17: here'));
    sockets[0]?.end('last');
    await once(sockets[0] ?? assert.fail(), 'close');
    (await open(receiver.introduce('CID 16'))).write('again\n');
    await written.until((lines) => lines.includes('CID 16: again'));
  });

  test('asks its clients to end when it closes, and takes what they still send', async () => {
    const { written, receiver } = await setUp();
    const { address } = receiver;
    assert(address.family === 'tcp');
    const socket = connect({ host: address.ip, port: address.port, allowHalfOpen: true });
    socket.write(receiver.introduce('CID 16'));
    socket.write('one\n');
    await written.until(({ length }) => length === 1);
    receiver.close();
    await once(socket.resume(), 'end');
    socket.end('two\n');
    await once(socket, 'close');
    await written.until(({ length }) => length === 2);
    assert.deepEqual(written.lines, ['CID 16: one', 'CID 16: two']);
  });

  test('does not wait for ever for who does not say who it is', async () => {
    const { open, clock } = await setUp();
    const socket = await open('');
    const closed = once(socket, 'close');
    while (!socket.closed) await clock.advance(10_000);
    await closed;
  });

  test('keeps a line that could not be written, and goes on with it', async () => {
    const { written, receiver, open, clock } = await setUp();
    const socket = await open(receiver.introduce('CID 16'));
    socket.write('one\n');
    await written.until(({ length }) => length === 1);
    written.isFull = true;
    socket.write('two\nthree\n');
    await written.until(() => written.refused > 0);
    await clock.advance(100);
    written.isFull = false;
    await clock.advance(100);
    await written.until(({ length }) => length === 3);
    assert.deepEqual(written.lines, ['CID 16: one', 'CID 16: two', 'CID 16: three']);
  });
});

suite('the sender of lines', () => {
  /** A parent whose connections the test reads. */
  async function setUp() {
    const written = new Written();
    const sockets: Socket[] = [];
    const server = createServer((socket) => {
      sockets.push(socket.on('error', () => undefined));
      socket.on('data', (bytes) => written.write(String(bytes)));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    cleanUps.push(() => server.close());
    cleanUps.push(() => sockets.map((socket) => socket.destroy()));
    const { port } = server.address() as AddressInfo;
    return { written, sockets, connect: () => connect({ host: '127.0.0.1', port }) };
  }

  test('keeps what is written before there is a connection, up to its bound, and counts what is lost', async () => {
    const { written, connect } = await setUp();
    const sender = new LogSender(systemClock);
    const line = `${'x'.repeat(1023)}\n`;
    for (let index = 0; index < 300; index += 1) sender.write(line);
    sender.start(connect);
    await written.until(({ length }) => length === 257);
    sender.write('after\n');
    await written.until((lines) => lines.includes('after'));
    assert.deepEqual(written.lines.slice(256), ['44 lines were lost: the parent did not take them', 'after']);
    await sender.finish(1000);
  });

  test('that loses lines says so, also if there is no later line', async () => {
    const { written, connect } = await setUp();
    const sender = new LogSender(systemClock);
    for (let index = 0; index < 300; index += 1) sender.write(`${'x'.repeat(1023)}\n`);
    sender.write('a text of\ntwo lines\n');
    sender.start(connect);
    await sender.finish(5000);
    assert.equal(written.lines.at(-1), '46 lines were lost: the parent did not take them');
  });

  test('connects again when the connection has ended', async () => {
    const { written, sockets, connect } = await setUp();
    const sender = new LogSender(systemClock);
    sender.start(connect);
    sender.write('one\n');
    await written.until(({ length }) => length === 1);
    sockets[0]?.destroy();
    const again = setInterval(() => sender.write('again\n'), 20);
    await written.until((lines) => lines.includes('again'));
    clearInterval(again);
    await sender.finish(1000);
    assert.equal(sockets.length, 2);
  });

  test('of a connection that the parent ends, nothing is lost: what comes after that is for the next one', async () => {
    const clock = new ManualClock();
    const sender = new LogSender(clock);
    const written: string[] = [];
    const sockets: Duplex[] = [];
    const taken: (() => void)[] = [];
    sender.start(() => {
      const index = sockets.length;
      const write = (chunk: Buffer, _: string, done: () => void) => {
        written.push(`${index}: ${chunk}`);
        taken.push(done);
      };
      const socket = new Duplex({ allowHalfOpen: false, read: () => undefined, write });
      sockets.push(socket);
      return socket;
    });
    sockets[0]?.emit('connect');
    sender.write('one\n');
    sender.write('two\n');
    sockets[0]?.push(null);
    await once(sockets[0] ?? assert.fail(), 'end');
    sender.write('three\n');
    await turnOfEvents();
    sender.write('four\n');
    while (!sockets[0]?.closed) {
      taken.shift()?.();
      await turnOfEvents();
    }
    await clock.advance(500);
    sockets[1]?.emit('connect');
    assert.deepEqual(written, ['0: one\n', '0: two\n', '1: three\nfour\n']);
  });

  test('sends the lines of a stream whole, and its last one without an end', async () => {
    const { written, connect } = await setUp();
    const sender = new LogSender(systemClock);
    const stream = new PassThrough();
    sender.pipe(stream);
    sender.start(connect);
    stream.write('half ');
    sender.write('between\n');
    stream.end('line\nlast');
    await sender.finish(5000);
    await written.until(({ length }) => length === 3);
    assert.deepEqual(written.lines, ['between', 'half line', 'last']);
  });

  test('has not finished before the parent has read everything, which it says by its own end', async () => {
    const clock = new ManualClock();
    const sender = new LogSender(clock);
    const socket = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done: () => void) => done() });
    sender.start(() => socket);
    socket.emit('connect');
    sender.write('last\n');
    let finished = false;
    const finishing = sender.finish(500).then(() => {
      finished = true;
    });
    await once(socket, 'finish');
    await turnOfEvents();
    assert.equal(finished, false);
    socket.push(null);
    await finishing;
  });

  test('does not wait for ever, neither for a stream that stays open nor for a parent that is not there', async () => {
    const clock = new ManualClock();
    const sender = new LogSender(clock);
    sender.pipe(new PassThrough());
    sender.write('never\n');
    const finished = sender.finish(500);
    await clock.advance(500);
    await finished;
  });
});
