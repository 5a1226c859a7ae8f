/** The log of a process, by its environment: at first standard error, which also takes what is no record. */
import type { Environment } from './platform/environment.ts';
import { escapeControls, quoteBriefly } from './platform/escape.ts';
import type { WriteLine } from './platform/line-writer.ts';
import {
  type Level,
  LOG_FORMATS,
  type LogFor,
  type LogFormat,
  type LogRecord,
  openLog,
  parseLogFilter,
  wantsColour,
} from './platform/log.ts';
import { LogOutput, type LogOutputOptions } from './platform/log-output.ts';

export interface ProcessLogOptions extends Pick<LogOutputOptions, 'sendToJournal'> {
  readonly env: Environment;
  /** Writes to standard error. */
  readonly write: WriteLine;
  /** Whether that is a terminal. */
  readonly isTerminal: () => boolean;
}

export class ProcessLog {
  readonly #options: ProcessLogOptions;
  #output: LogOutput;

  constructor(options: ProcessLogOptions) {
    this.#options = options;
    this.#output = this.#outputTo(options.write);
  }

  /**
   * @param level without RUST_LOG; its own default is errors only
   * @param alsoTo takes each line besides; then lines have no colours, for a terminal is not the only one that shows them
   */
  open(level?: Level, alsoTo?: (line: string) => void): LogFor {
    const { env, write } = this.#options;
    if (alsoTo !== undefined) {
      const toBoth: WriteLine = (line) => {
        alsoTo(line);
        return write(line);
      };
      this.#output = this.#outputTo(toBoth);
    }
    const filter = parseLogFilter(env.RUST_LOG ?? level);
    const warnings = filter.warnings.map(escapeControls);
    if (this.#format() === undefined) {
      const known = LOG_FORMATS.join(', ');
      warnings.push(
        `VSOCK_PROXY_LOG_FORMAT=${quoteBriefly(env.VSOCK_PROXY_LOG_FORMAT ?? '')} is none of ${known}: text`,
      );
    }
    for (const warning of warnings) this.put({ at: new Date(), level: 'warn', message: `warning: ${warning}` });
    return openLog({ filter, sink: this.#output.put, now: () => new Date() });
  }

  /** From now on, in the format that the file asks for, if it does. */
  follow(format: LogFormat | undefined): void {
    this.#output.follow(format);
  }

  /** A record that no filter sees. @returns whether it was taken */
  put(record: LogRecord): boolean {
    return this.#output.put(record);
  }

  #outputTo(write: WriteLine): LogOutput {
    const { env, isTerminal, sendToJournal } = this.#options;
    return new LogOutput({
      format: this.#format() ?? 'text',
      write,
      colour: write === this.#options.write && wantsColour(env, isTerminal()),
      ...(sendToJournal !== undefined && { sendToJournal }),
    });
  }

  /** @returns undefined where it is no format */
  #format(): LogFormat | undefined {
    const text = this.#options.env.VSOCK_PROXY_LOG_FORMAT || 'text';
    return LOG_FORMATS.find((format) => format === text);
  }
}
