/**
 * The log of a process, as its environment says. At first it is standard error, which also takes text that is not a
 * record.
 */
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
  /** Whether standard error is a terminal. */
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
   * @param level the level without RUST_LOG, whose own default is errors only
   * @param alsoTo also receives each line; then lines have no colours, because they are not only for a terminal
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

  /** Changes to the format of the file, if the file has one. */
  follow(format: LogFormat | undefined): void {
    this.#output.follow(format);
  }

  /** Writes a record that no filter stops. @returns whether it was written */
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

  /** @returns undefined if the text is not a format */
  #format(): LogFormat | undefined {
    const text = this.#options.env.VSOCK_PROXY_LOG_FORMAT || 'text';
    return LOG_FORMATS.find((format) => format === text);
  }
}
