/** Writes log records in one of three forms: text, JSON, or fields of the journal. */
import { escapeControls } from './escape.ts';
import type { WriteLine } from './line-writer.ts';
import type { Level, LogEvent, LogFormat, LogRecord, LogSink } from './log.ts';

/** The socket of the journal for records: systemd-journald.service(8). */
export const JOURNAL = '/run/systemd/journal/socket';

export interface LogOutputOptions {
  /** The format from the environment, which the file overrides. */
  readonly format: LogFormat;
  /** Writes one whole line with its newline. Returns false if the line is lost. Must not throw. */
  readonly write: WriteLine;
  readonly colour: boolean;
  /**
   * Sends one datagram to the journal, and throws if it is not accepted; absent if standard error is not the journal.
   */
  readonly sendToJournal?: (datagram: string) => void;
}

/** The log of this process. Its format may change while it runs. */
export class LogOutput {
  readonly #options: LogOutputOptions;
  #sink: LogSink;

  constructor(options: LogOutputOptions) {
    this.#options = options;
    this.#sink = this.#sinkFor(options.format);
  }

  readonly put: LogSink = (record) => this.#sink(record);

  /** Changes to the format of the file, if the file has one. */
  follow(format: LogFormat | undefined): void {
    this.#sink = this.#sinkFor(format ?? this.#options.format);
  }

  #sinkFor(format: LogFormat): LogSink {
    const { write, colour, sendToJournal } = this.#options;
    const text = textSink(write, colour);
    switch (format) {
      case 'text':
        return text;
      case 'json':
        return (record) => write(`${JSON.stringify(toJson(record))}\n`);
      case 'journald':
        return sendToJournal === undefined ? text : journalSink(sendToJournal, text);
    }
  }
}

/** Lines of env_logger. A record without a module is its own line. */
export function textSink(write: WriteLine, colour: boolean): LogSink {
  return ({ at, level, module, message }) =>
    write(module === undefined ? `${message}\n` : `${head(at, level, module, colour)} ${escapeControls(message)}\n`);
}

/** The keys in order; docs/diagnosis.md explains them. */
function toJson({ at, level, module = 'vsock_proxy', message, fields }: LogRecord): Readonly<Record<string, unknown>> {
  const safe = Object.entries(fields ?? {}).map(([key, value]) => [
    key,
    typeof value === 'string' ? escapeControls(value) : value,
  ]);
  return { time: at.toISOString(), level, module, message: escapeControls(message), ...Object.fromEntries(safe) };
}

/** Records that the journal does not accept go to standard error, which also leads there. */
function journalSink(send: (datagram: string) => void, otherwise: LogSink): LogSink {
  return (record) => {
    try {
      send(toJournal(record));
      return true;
    } catch {
      return otherwise(record);
    }
  };
}

/** The levels of syslog(3). */
const PRIORITIES: Readonly<Record<Level, number>> = { error: 3, warn: 4, info: 6, debug: 7, trace: 7 };

/** The ids for `journalctl MESSAGE_ID=…`. An id never changes. */
const MESSAGE_IDS: Readonly<Record<LogEvent, string>> = {
  accepted: 'f1797c10222f4535ad2b60883f300d93',
  connected: '609240b244ac46658c3b18a21e86e4cd',
  closed: 'de35b87df6494f83b197e56b0fa4385d',
  failed: '09ee2c1e352b4dd59cab7b3945f096d5',
  refused: '149eee1718234afe8116a85235c32cfa',
  'limit-reached': '9bef51f21b0f4520a47987bc92977eca',
  'accept-failed': '16943f851c4f4e59b0ecd709c42ba293',
  'answer-stale': '04116219c8314a5ba975a6364e9643da',
  'name-failed': 'fe288275770444b0867542b4f20efad2',
  reloaded: 'ee390ca2f3d4482baef2c75ecb46cb54',
  'reload-failed': 'bdb392d4d7064ca5b2f087198546f169',
  line: 'b1eb6675b7cb4fd6804ba5b280d1ec4f',
};

/** A record in the journal's own protocol: https://systemd.io/JOURNAL_NATIVE_PROTOCOL. No value contains a newline. */
function toJournal({ level, module = 'vsock_proxy', message, fields }: LogRecord): string {
  const values: (readonly [string, string | number])[] = [
    ['MESSAGE', message],
    ['PRIORITY', PRIORITIES[level]],
    ['SYSLOG_IDENTIFIER', 'vsock-proxy'],
    ['VSOCK_MODULE', module],
  ];
  if (fields?.event !== undefined) values.push(['MESSAGE_ID', MESSAGE_IDS[fields.event]]);
  for (const [key, value] of Object.entries(fields ?? {})) values.push([`VSOCK_${key.toUpperCase()}`, value]);
  return values.map(([key, value]) => `${key}=${escapeControls(String(value))}\n`).join('');
}

/** SGR parameters, as env_logger sets them. */
const COLOURS: Record<Level, readonly string[]> = {
  error: ['1', '31'],
  warn: ['33'],
  info: ['32'],
  debug: ['34'],
  trace: ['36'],
};
const GREY = ['38;5;8'];

function head(at: Date, level: Level, module: string, colour: boolean): string {
  const time = `${at.toISOString().slice(0, 19)}Z`;
  const name = level.toUpperCase().padEnd(5);
  if (!colour) return `[${time} ${name} ${module}]`;
  const paint = (codes: readonly string[], text: string) =>
    `${['0', ...codes].map((code) => `\x1b[${code}m`).join('')}${text}\x1b[0m`;
  return `${paint(GREY, '[')}${time} ${paint(COLOURS[level], name)} ${module}${paint(GREY, ']')}`;
}

/**
 * Whether a stream of this process is the journal: systemd.exec(5), `$JOURNAL_STREAM`. The variable alone is not
 * enough, because a process that starts a program with another standard error passes the variable on.
 */
export function isJournal(
  variable: string | undefined,
  stream: { readonly dev: number; readonly ino: number },
): boolean {
  return variable === `${stream.dev}:${stream.ino}`;
}
