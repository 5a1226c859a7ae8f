/**
 * Log lines in the format of Rust's env_logger, filtered by `RUST_LOG`, because that is what people who
 * run the AWS proxy have scripts and dashboards for:
 *
 *     [2026-01-02T03:04:05Z INFO  vsock_proxy::proxy] Proxy is now in listening state
 *
 * One record is one line, whatever it quotes. Other forms: log-output.ts.
 */
import { quoteBriefly } from './escape.ts';
import { parseRustRegex } from './rust-regex.ts';

const LEVELS = ['off', 'error', 'warn', 'info', 'debug', 'trace'] as const;
/** Off only in filters. */
export type Level = Exclude<(typeof LEVELS)[number], 'off'>;

/** How records are written: log-output.ts. */
export const LOG_FORMATS = ['text', 'json', 'journald'] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

/** The reference's module names: the start of the process, and everything after. */
export type LogTarget = 'vsock_proxy' | 'vsock_proxy::proxy';

/** What records are of that somebody may look for. */
export type LogEvent =
  | 'accepted'
  | 'connected'
  | 'closed'
  | 'failed'
  | 'refused'
  | 'limit-reached'
  | 'accept-failed'
  | 'answer-stale'
  | 'name-failed'
  | 'reloaded'
  | 'reload-failed'
  | 'line';

/** What a record is about, for machines; its message says the same. Keys are those of JSON, and stay as they are. */
export interface LogFields {
  readonly event?: LogEvent;
  /** As the file writes it: `vsock:3:8000`. */
  readonly listener?: string;
  /** `vsock:16:1052`. */
  readonly client?: string;
  /** Of the client. */
  readonly cid?: number;
  /** `host:port`, or a name alone. */
  readonly target?: string;
  /** `10.0.0.7:443`. */
  readonly server?: string;
  /** Of the connection's end, as in the metrics. */
  readonly reason?: string;
  readonly errno?: string;
  /** Its number in this process. */
  readonly connection?: number;
  readonly bytes_up?: number;
  readonly bytes_down?: number;
  readonly duration_ms?: number;
}

export interface Log {
  /** Whether a record of this level can come through: for reports that cost something to gather. */
  enables(level: Level): boolean;
  error(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
}

export interface LogRecord {
  readonly at: Date;
  readonly level: Level;
  /** Absent: what is to be said without a time and a level, where text is written. */
  readonly module?: LogTarget;
  readonly message: string;
  readonly fields?: LogFields;
}

/** Takes a record; false when it is lost. Must not throw. */
export type LogSink = (record: LogRecord) => boolean;

/** What `RUST_LOG` asks for. */
export interface LogFilter {
  /** Shortest target first, so that the last match is the most particular one. */
  readonly directives: readonly { readonly target: string; readonly level: number }[];
  readonly pattern: RegExp | undefined;
  /** What was not understood, one sentence each. Never fatal: a typo in a log setting must not stop a proxy. */
  readonly warnings: readonly string[];
}

export interface LogOptions {
  readonly filter: LogFilter;
  readonly sink: LogSink;
  readonly now: () => Date;
}

/** Gives each target its {@link Log}. */
export type LogFor = (target: LogTarget) => Log;

export function openLog(options: LogOptions): LogFor {
  const { filter, sink, now } = options;
  let lost = 0;
  const put = (level: Level, module: LogTarget, message: string, fields?: LogFields) =>
    sink({ at: now(), level, module, message, ...(fields && { fields }) });
  return (target) => {
    const limit = filter.directives.findLast((directive) => target.startsWith(directive.target))?.level ?? 0;
    const enables = (level: Level) => LEVELS.indexOf(level) <= limit;
    const say = (level: Level) => (message: string, fields?: LogFields) => {
      if (!enables(level) || filter.pattern?.test(message) === false) return;
      if (lost > 0 && put('warn', target, `${lost} log lines were lost: standard error did not take them`)) lost = 0;
      if (!put(level, target, message, fields)) lost += 1;
    };
    return { enables, error: say('error'), warn: say('warn'), info: say('info'), debug: say('debug') };
  };
}

/**
 * Reads `RUST_LOG`: a comma list of `level`, `target` or `target=level`, and at the end optionally `/regex`, which
 * a message must match. Unset, empty or not understood at all means errors only.
 * Source: the documentation of the Rust crate env_logger.
 */
export function parseLogFilter(spec: string | undefined): LogFilter {
  const [list = '', regex, ...rest] = (spec ?? '').split('/');
  if (rest.length > 0) return errorsOnly([`invalid logging spec '${spec}', ignoring it (too many '/'s)`]);

  const directives: LogFilter['directives'][number][] = [];
  const warnings: string[] = [];
  for (const entry of list.split(',').map((text) => text.trim())) {
    if (entry === '') continue;
    const directive = parseDirective(entry);
    if (typeof directive === 'string') warnings.push(directive);
    else directives.push(directive);
  }
  directives.sort((a, b) => a.target.length - b.target.length);

  let pattern: RegExp | undefined;
  try {
    pattern = regex === undefined ? undefined : parseRustRegex(regex);
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    warnings.push(`invalid regex filter - ${quoteBriefly(regex ?? '')}: ${problem}, ignoring it`);
  }
  return { directives: directives.length > 0 ? directives : errorsOnly([]).directives, pattern, warnings };
}

/** @returns a directive, or why it is none */
function parseDirective(entry: string): LogFilter['directives'][number] | string {
  const [name = '', level, ...rest] = entry.split('=').map((text) => text.trim());
  if (rest.length > 0) return `invalid logging spec '${entry}', ignoring it`;
  if (level === undefined && levelNumber(name) >= 0) return { target: '', level: levelNumber(name) };
  if (level === undefined || level === '') return { target: name, level: LEVELS.indexOf('trace') };
  return levelNumber(level) >= 0
    ? { target: name, level: levelNumber(level) }
    : `invalid logging spec '${level}', ignoring it`;
}

function levelNumber(name: string): number {
  return (LEVELS as readonly string[]).indexOf(name.toLowerCase());
}

function errorsOnly(warnings: readonly string[]): LogFilter {
  return { directives: [{ target: '', level: LEVELS.indexOf('error') }], pattern: undefined, warnings };
}

/**
 * Whether lines are coloured, by `RUST_LOG_STYLE`: `always`, `never`, and `auto`, which everything else means, too.
 * Source: the documentation of env_logger. NO_COLOR: https://no-color.org
 */
export function wantsColour(env: NodeJS.ProcessEnv, isTerminal: boolean): boolean {
  if (env.RUST_LOG_STYLE === 'always') return true;
  return env.RUST_LOG_STYLE !== 'never' && isTerminal && !env.NO_COLOR && env.TERM !== 'dumb';
}
