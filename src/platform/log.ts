/**
 * Log lines in the format of Rust's env_logger, filtered by `RUST_LOG`, because that is what people who
 * run the AWS proxy have scripts and dashboards for:
 *
 *     [2026-01-02T03:04:05Z INFO  vsock_proxy::proxy] Proxy is now in listening state
 *
 * One record is one line, whatever it quotes.
 */
import { escapeControls, quoteBriefly } from './escape.ts';
import { parseRustRegex } from './rust-regex.ts';

const LEVELS = ['off', 'error', 'warn', 'info', 'debug', 'trace'] as const;
/** Off only in filters. */
export type Level = Exclude<(typeof LEVELS)[number], 'off'>;

/** The reference's module names: the start of the process, and everything after. */
export type LogTarget = 'vsock_proxy' | 'vsock_proxy::proxy';

export interface Log {
  /** Whether a record of this level can come through: for reports that cost something to gather. */
  enables(level: Level): boolean;
  error(message: string): void;
  warn(message: string): void;
  info(message: string): void;
  debug(message: string): void;
}

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
  /** Takes one whole line with its newline; false when the line is lost. Must not throw. */
  readonly write: (line: string) => boolean;
  readonly now: () => Date;
  readonly colour: boolean;
}

/** Gives each target its {@link Log}. */
export type LogFor = (target: LogTarget) => Log;

export function openLog(options: LogOptions): LogFor {
  const { filter, write, now, colour } = options;
  let lost = 0;
  const put = (level: Level, target: LogTarget, message: string) => {
    return write(`${head(now(), level, target, colour)} ${escapeControls(message)}\n`);
  };
  return (target) => {
    const limit = filter.directives.findLast((directive) => target.startsWith(directive.target))?.level ?? 0;
    const enables = (level: Level) => LEVELS.indexOf(level) <= limit;
    const say = (level: Level) => (message: string) => {
      if (!enables(level) || filter.pattern?.test(message) === false) return;
      if (lost > 0 && put('warn', target, `${lost} log lines were lost: standard error did not take them`)) lost = 0;
      if (!put(level, target, message)) lost += 1;
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

/** SGR parameters, as env_logger sets them. */
const COLOURS: Record<Level, readonly string[]> = {
  error: ['1', '31'],
  warn: ['33'],
  info: ['32'],
  debug: ['34'],
  trace: ['36'],
};
const GREY = ['38;5;8'];

function head(at: Date, level: Level, target: LogTarget, colour: boolean): string {
  const time = `${at.toISOString().slice(0, 19)}Z`;
  const name = level.toUpperCase().padEnd(5);
  if (!colour) return `[${time} ${name} ${target}]`;
  const paint = (codes: readonly string[], text: string) =>
    `${['0', ...codes].map((code) => `\x1b[${code}m`).join('')}${text}\x1b[0m`;
  return `${paint(GREY, '[')}${time} ${paint(COLOURS[level], name)} ${target}${paint(GREY, ']')}`;
}

/**
 * Whether lines are coloured, by `RUST_LOG_STYLE`: `always`, `never`, and `auto`, which everything else means, too.
 * Source: the documentation of env_logger. NO_COLOR: https://no-color.org
 */
export function wantsColour(env: NodeJS.ProcessEnv, isTerminal: boolean): boolean {
  if (env.RUST_LOG_STYLE === 'always') return true;
  return env.RUST_LOG_STYLE !== 'never' && isTerminal && !env.NO_COLOR && env.TERM !== 'dumb';
}
