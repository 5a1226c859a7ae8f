import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Level, type LogTarget, openLog, parseLogFilter } from '../../../src/platform/log.ts';

const NOW = new Date('2026-01-02T03:04:05.678Z');

/** The lines that come through of one record of each level. */
function written(spec: string | undefined, target: LogTarget, message = 'text'): string[] {
  const lines: string[] = [];
  const log = openLog({
    filter: parseLogFilter(spec),
    write: (line) => lines.push(line) > 0,
    now: () => NOW,
    colour: false,
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

describe('RUST_LOG', () => {
  const cases: readonly (readonly [spec: string | undefined, start: string, proxy: string])[] = [
    [undefined, 'ERROR', 'ERROR'],
    ['', 'ERROR', 'ERROR'],
    [' , ,', 'ERROR', 'ERROR'],
    ['off', '', ''],
    ['error', 'ERROR', 'ERROR'],
    ['warn', 'ERROR WARN', 'ERROR WARN'],
    ['INFO', 'ERROR WARN INFO', 'ERROR WARN INFO'],
    ['Debug', 'ERROR WARN INFO DEBUG', 'ERROR WARN INFO DEBUG'],
    ['trace', 'ERROR WARN INFO DEBUG', 'ERROR WARN INFO DEBUG'],
    ['vsock_proxy', 'ERROR WARN INFO DEBUG', 'ERROR WARN INFO DEBUG'],
    ['vsock_proxy=', 'ERROR WARN INFO DEBUG', 'ERROR WARN INFO DEBUG'],
    ['vsock_proxy=warn', 'ERROR WARN', 'ERROR WARN'],
    ['vsock_proxy::proxy=info', '', 'ERROR WARN INFO'],
    ['vsock_proxy::proxy=info,warn', 'ERROR WARN', 'ERROR WARN INFO'],
    [' vsock_proxy = info , vsock_proxy::proxy = off ', 'ERROR WARN INFO', ''],
    ['vsock', 'ERROR WARN INFO DEBUG', 'ERROR WARN INFO DEBUG'],
    ['proxy=debug', '', ''],
    ['hyper=debug', '', ''],
    ['warn,info', 'ERROR WARN INFO', 'ERROR WARN INFO'],
    ['info/text', 'ERROR WARN INFO', 'ERROR WARN INFO'],
    ['info/^tex.$', 'ERROR WARN INFO', 'ERROR WARN INFO'],
    ['info/other', '', ''],
    ['/text', 'ERROR', 'ERROR'],
  ];
  for (const [spec, start, proxy] of cases) {
    it(`${spec === undefined ? 'unset' : `'${spec}'`} lets through: ${start || 'nothing'}, ${proxy || 'nothing'}`, () => {
      assert.equal(levels(spec, 'vsock_proxy'), start);
      assert.equal(levels(spec, 'vsock_proxy::proxy'), proxy);
      assert.deepEqual(parseLogFilter(spec).warnings, []);
    });
  }

  const wrong: readonly (readonly [spec: string, proxy: string, warning: RegExp])[] = [
    ['vsock_proxy=loud', 'ERROR', /^invalid logging spec 'loud'$/],
    ['vsock_proxy=loud,info', 'ERROR WARN INFO', /^invalid logging spec 'loud'$/],
    ['a=b=c,warn', 'ERROR WARN', /^invalid logging spec 'a=b=c'$/],
    ['info/a/b', 'ERROR', /^invalid logging spec 'info\/a\/b' \(too many '\/'s\)$/],
    ['info/[a', 'ERROR WARN INFO', /^invalid regex filter - .*Unterminated character class/],
  ];
  for (const [spec, proxy, warning] of wrong) {
    it(`'${spec}' is warned about and otherwise ignored`, () => {
      assert.equal(levels(spec, 'vsock_proxy::proxy'), proxy);
      const { warnings } = parseLogFilter(spec);
      assert.equal(warnings.length, 1);
      assert.match(warnings[0] ?? '', warning);
    });
  }
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
    openLog({ filter: parseLogFilter('warn'), write, now: () => NOW, colour: true })('vsock_proxy').warn('text');
    assert.deepEqual(lines, [
      '\x1b[90m[\x1b[0m2026-01-02T03:04:05Z \x1b[33mWARN \x1b[0m vsock_proxy\x1b[90m]\x1b[0m text\n',
    ]);
  });

  it('tells which levels are of use', () => {
    const options = { write: () => true, now: () => NOW, colour: false };
    const log = openLog({ ...options, filter: parseLogFilter('vsock_proxy=info') })('vsock_proxy::proxy');
    const enabled = (['error', 'warn', 'info', 'debug', 'trace'] satisfies Level[]).filter((level) =>
      log.enables(level),
    );
    assert.deepEqual(enabled, ['error', 'warn', 'info']);
  });
});

describe('lines that were lost', () => {
  it('are counted and told of when writing works again', () => {
    const lines: string[] = [];
    let full = false;
    const write = (line: string) => !full && lines.push(line.slice(line.indexOf(']') + 2)) > 0;
    const log = openLog({ filter: parseLogFilter('info'), write, now: () => NOW, colour: false })('vsock_proxy');
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
