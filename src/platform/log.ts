/**
 * Log lines in the format of Rust's env_logger, filtered by `RUST_LOG`. Users of AWS's proxy have scripts and
 * dashboards for this format:
 *
 *     [2026-01-02T03:04:05Z INFO  vsock_proxy::proxy] Proxy is now in listening state
 *
 * One record is one line, whatever it quotes. log-output.ts has the other forms.
 */
import { quoteBriefly } from './escape.ts';
import { parseRustRegex } from './rust-regex.ts';

const LEVELS = ['off', 'error', 'warn', 'info', 'debug', 'trace'] as const;
/** `off` is for filters only. */
export type Level = Exclude<(typeof LEVELS)[number], 'off'>;

/** The forms of records: log-output.ts. */
export const LOG_FORMATS = ['text', 'json', 'journald'] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

/** The module names of AWS's proxy: the start of the process, and everything after it. */
export type LogTarget = 'vsock_proxy' | 'vsock_proxy::proxy';

/** The events for which users may search. */
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

/** The fields of a record, for machines; its message says the same. The keys are those of JSON, and stable. */
export interface LogFields {
  readonly event?: LogEvent;
  /** In the form of the file: `vsock:3:8000`. */
  readonly listener?: string;
  /** `vsock:16:1052`. */
  readonly client?: string;
  /** The CID of the client. */
  readonly cid?: number;
  /** `host:port`, or a name alone. */
  readonly target?: string;
  /** `10.0.0.7:443`. */
  readonly server?: string;
  /** The close reason, as in the metrics. */
  readonly reason?: string;
  readonly errno?: string;
  /** The number of the connection in this process. */
  readonly connection?: number;
  readonly bytes_up?: number;
  readonly bytes_down?: number;
  readonly duration_ms?: number;
}

export interface Log {
  /** Whether records of this level are logged, for reports that are expensive to make. */
  enables(level: Level): boolean;
  error(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
}

export interface LogRecord {
  readonly at: Date;
  readonly level: Level;
  /** Absent: text output has no time and no level for this record. */
  readonly module?: LogTarget;
  readonly message: string;
  readonly fields?: LogFields;
}

/** Writes a record. Returns false if it is lost. Must not throw. */
export type LogSink = (record: LogRecord) => boolean;

/** The meaning of `RUST_LOG`. */
export interface LogFilter {
  /** The shortest target comes first, so that the last match is the most specific one. */
  readonly directives: readonly { readonly target: string; readonly level: number }[];
  readonly pattern: RegExp | undefined;
  /** One sentence for each part that is not valid. A typo in a log setting must not stop a proxy. */
  readonly warnings: readonly string[];
}

export interface LogOptions {
  readonly filter: LogFilter;
  readonly sink: LogSink;
  readonly now: () => Date;
}

/** Returns the {@link Log} of each target. */
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
 * Parses `RUST_LOG`: a comma-separated list of `level`, `target` or `target=level`, and optionally `/regex` at the end,
 * which a message must match. If it is unset, empty or invalid, only errors are logged. Source: the documentation of
 * the Rust crate env_logger.
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

/** @returns a directive, or the reason why the text is not valid */
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
 * Whether lines are coloured, by `RUST_LOG_STYLE`: `always`, `never`, or `auto`, which is also the meaning of all other
 * values. Source: the documentation of env_logger. NO_COLOR: https://no-color.org
 */
export function wantsColour(env: NodeJS.ProcessEnv, isTerminal: boolean): boolean {
  if (env.RUST_LOG_STYLE === 'always') return true;
  return env.RUST_LOG_STYLE !== 'never' && isTerminal && !env.NO_COLOR && env.TERM !== 'dumb';
}
