import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { type Level, type LogTarget, openLog, parseLogFilter, wantsColour } from '../../../src/platform/log.ts';
import { textSink } from '../../../src/platform/log-output.ts';
import { parseRustRegex } from '../../../src/platform/rust-regex.ts';

const LEVELS = ['error', 'warn', 'info', 'debug', 'trace'] satisfies Level[];
const NOW = new Date('2026-01-02T03:04:05.678Z');

/** The lines that come through of one record of each level. */
function written(spec: string | undefined, target: LogTarget, message = 'text'): string[] {
  const lines: string[] = [];
  const log = openLog({
    filter: parseLogFilter(spec),
    sink: textSink((line) => lines.push(line) > 0, false),
    now: () => NOW,
  })(target);
  log.error(message);
  log.warn(message);
  log.info(message);
  log.debug(message);
  return lines;
}

function levels(spec: string | undefined, target: LogTarget): string {
  return written(spec, target)
    .map((line) => line.split(' ')[1])
    .join(' ');
}

/** One row of tests/vectors/rust-log.json, which native/tests/forwarder has, too. */
interface Vector {
  readonly spec: string;
  /** The most verbose level that comes through, of each target. */
  readonly vsock_proxy: string;
  readonly 'vsock_proxy::proxy': string;
  readonly warning?: string;
  /** What messages have to match. */
  readonly regex?: string;
}

const VECTORS: readonly Vector[] = JSON.parse(
  readFileSync(new URL('../../vectors/rust-log.json', import.meta.url), 'utf8'),
);

describe('RUST_LOG', () => {
  for (const vector of VECTORS) {
    it(`'${vector.spec}' lets through: ${vector.vsock_proxy}, ${vector['vsock_proxy::proxy']}`, () => {
      const filter = parseLogFilter(vector.spec);
      for (const target of ['vsock_proxy', 'vsock_proxy::proxy'] as const) {
        const log = openLog({ filter, sink: () => true, now: () => NOW })(target);
        assert.equal(LEVELS.findLast((level) => log.enables(level)) ?? 'off', vector[target]);
      }
      assert.deepEqual(filter.warnings, vector.warning === undefined ? [] : [vector.warning]);
      const pattern = vector.regex ?? (vector.spec.endsWith('/') ? '' : undefined);
      assert.deepEqual(filter.pattern, pattern === undefined ? undefined : parseRustRegex(pattern));
    });
  }

  it('unset is as if it were empty', () => {
    assert.deepEqual(parseLogFilter(undefined), parseLogFilter(''));
  });

  it('has a message match what stands behind the slash', () => {
    assert.equal(levels('info/text', 'vsock_proxy'), 'ERROR WARN INFO');
    assert.equal(levels('info/^tex.$', 'vsock_proxy'), 'ERROR WARN INFO');
    assert.equal(levels('info/other', 'vsock_proxy'), '');
  });

  it('is warned about and otherwise ignored where it is no regular expression', () => {
    assert.equal(levels('info/[a', 'vsock_proxy'), 'ERROR WARN INFO');
    const [warning, ...more] = parseLogFilter('info/[a').warnings;
    assert.equal(warning, 'invalid regex filter - "[a": unclosed character class, ignoring it');
    assert.deepEqual(more, []);
  });
});

describe('a log line', () => {
  it('has the form of env_logger, with the level padded to five letters', () => {
    assert.deepEqual(written('info', 'vsock_proxy::proxy'), [
      '[2026-01-02T03:04:05Z ERROR vsock_proxy::proxy] text\n',
      '[2026-01-02T03:04:05Z WARN  vsock_proxy::proxy] text\n',
      '[2026-01-02T03:04:05Z INFO  vsock_proxy::proxy] text\n',
    ]);
  });

  it('stays one line, without terminal commands, whatever it quotes', () => {
    const hostile = 'a\nb\r\n\x1b[31mred\x07 \u202eright-to-left \u2028 \x00 \x7f \u{e0001} ü"\\';
    const [line] = written('error', 'vsock_proxy', hostile);
    assert.equal(
      line,
      '[2026-01-02T03:04:05Z ERROR vsock_proxy] ' +
        'a\\nb\\r\\n\\u{1b}[31mred\\u{7} \\u{202e}right-to-left \\u{2028} \\0 \\u{7f} \\u{e0001} ü"\\\n',
    );
  });

  it('has colours if they are asked for', () => {
    const lines: string[] = [];
    const write = (line: string) => lines.push(line) > 0;
    openLog({ filter: parseLogFilter('warn'), sink: textSink(write, true), now: () => NOW })('vsock_proxy').warn(
      'text',
    );
    assert.deepEqual(lines, [
      '\x1b[0m\x1b[38;5;8m[\x1b[0m2026-01-02T03:04:05Z \x1b[0m\x1b[33mWARN \x1b[0m vsock_proxy\x1b[0m\x1b[38;5;8m]\x1b[0m text\n',
    ]);
  });

  it('has colours on a terminal, or as RUST_LOG_STYLE says', () => {
    for (const [env, onTerminal, elsewhere] of [
      [{}, true, false],
      [{ RUST_LOG_STYLE: 'auto' }, true, false],
      [{ RUST_LOG_STYLE: 'no such style' }, true, false],
      [{ RUST_LOG_STYLE: 'always', NO_COLOR: '1', TERM: 'dumb' }, true, true],
      [{ RUST_LOG_STYLE: 'never' }, false, false],
      [{ NO_COLOR: '1' }, false, false],
      [{ NO_COLOR: '' }, true, false],
      [{ TERM: 'dumb' }, false, false],
    ] as const) {
      assert.deepEqual([wantsColour(env, true), wantsColour(env, false)], [onTerminal, elsewhere], JSON.stringify(env));
    }
  });

  it('tells which levels are of use', () => {
    const options = { sink: () => true, now: () => NOW };
    const log = openLog({ ...options, filter: parseLogFilter('vsock_proxy=info') })('vsock_proxy::proxy');
    const enabled = LEVELS.filter((level) => log.enables(level));
    assert.deepEqual(enabled, ['error', 'warn', 'info']);
  });
});

describe('lines that were lost', () => {
  it('are counted and told of when writing works again', () => {
    const lines: string[] = [];
    let full = false;
    const write = (line: string) => !full && lines.push(line.slice(line.indexOf(']') + 2)) > 0;
    const log = openLog({ filter: parseLogFilter('info'), sink: textSink(write, false), now: () => NOW })(
      'vsock_proxy',
    );
    log.info('one');
    full = true;
    log.info('two');
    log.debug('not wanted anyway');
    log.info('three');
    full = false;
    log.info('four');
    log.info('five');
    assert.deepEqual(lines, ['one\n', '2 log lines were lost: standard error did not take them\n', 'four\n', 'five\n']);
  });
});
