import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { LogFormat, LogRecord } from '../../../src/platform/log.ts';
import { isJournal, LogOutput } from '../../../src/platform/log-output.ts';

const AT = new Date('2026-01-02T03:04:05.678Z');
const RECORD: LogRecord = {
  at: AT,
  level: 'warn',
  module: 'vsock_proxy::proxy',
  message: 'Client on cid: 16 port: 7:\nno address',
  fields: { event: 'failed', cid: 16, target: 'a\u202e.example:443', reason: 'no-upstream' },
};
const TEXT = '[2026-01-02T03:04:05Z WARN  vsock_proxy::proxy] Client on cid: 16 port: 7:\\nno address\n';

/** What is written to standard error, and to a journal that takes `taken` datagrams. */
function open(format: LogFormat, taken?: number) {
  const lines: string[] = [];
  const datagrams: string[] = [];
  const output = new LogOutput({
    format,
    write: (line) => lines.push(line) > 0,
    colour: false,
    ...(taken !== undefined && {
      sendToJournal(datagram) {
        if (datagrams.length === taken) throw new Error('EAGAIN');
        datagrams.push(datagram);
      },
    }),
  });
  return { output, lines, datagrams };
}

describe('the log as JSON', () => {
  it('is one object a line, with keys in a stable order and nothing invisible', () => {
    const { output, lines } = open('json');
    output.put(RECORD);
    assert.deepEqual(lines, [
      '{"time":"2026-01-02T03:04:05.678Z","level":"warn","module":"vsock_proxy::proxy",' +
        '"message":"Client on cid: 16 port: 7:\\\\nno address","event":"failed","cid":16,' +
        '"target":"a\\\\u{202e}.example:443","reason":"no-upstream"}\n',
    ]);
  });

  it('has what is no record as one, too', () => {
    const { output, lines } = open('json');
    output.put({ at: AT, level: 'error', message: 'Error: "x"' });
    const [line = ''] = lines;
    assert.deepEqual(JSON.parse(line), {
      time: AT.toISOString(),
      level: 'error',
      module: 'vsock_proxy',
      message: 'Error: "x"',
    });
  });
});

describe('the log in the journal', () => {
  it('has fields of its own, a priority and a message id, each on one line', () => {
    const { output, lines, datagrams } = open('journald', 1);
    output.put(RECORD);
    assert.deepEqual(datagrams[0]?.split('\n'), [
      'MESSAGE=Client on cid: 16 port: 7:\\nno address',
      'PRIORITY=4',
      'SYSLOG_IDENTIFIER=vsock-proxy',
      'VSOCK_MODULE=vsock_proxy::proxy',
      'MESSAGE_ID=09ee2c1e352b4dd59cab7b3945f096d5',
      'VSOCK_EVENT=failed',
      'VSOCK_CID=16',
      'VSOCK_TARGET=a\\u{202e}.example:443',
      'VSOCK_REASON=no-upstream',
      '',
    ]);
    assert.deepEqual(lines, []);
  });

  it('is text on standard error where the journal does not take it', () => {
    const { output, lines } = open('journald', 0);
    assert.equal(output.put(RECORD), true);
    assert.deepEqual(lines, [TEXT]);
  });

  it('is text where standard error is not the journal', () => {
    const { output, lines } = open('journald');
    output.put(RECORD);
    assert.deepEqual(lines, [TEXT]);
  });

  it('is where $JOURNAL_STREAM names the very stream', () => {
    const stream = { dev: 9, ino: 4711 };
    assert.equal(isJournal('9:4711', stream), true);
    for (const variable of [undefined, '', '9:47', '4711:9', '9:4711:'])
      assert.equal(isJournal(variable, stream), false);
  });
});

describe('the format of the log', () => {
  it('is that of the file, and that of the environment where the file has none', () => {
    const { output, lines } = open('text');
    for (const format of ['json', undefined] as const) {
      output.follow(format);
      output.put(RECORD);
    }
    assert.match(lines[0] ?? '', /^\{"time"/);
    assert.equal(lines[1], TEXT);
  });
});
