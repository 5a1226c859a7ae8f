/** Measurements of the process itself. */
import { readFileSync } from '../platform/system/files.ts';
import { ENGINE, type ProcessUse, readUse } from '../platform/system/process.ts';

export interface ProcessFigures extends ProcessUse {
  /** The JavaScript engine with its version, and the architecture. */
  readonly engine: Readonly<Record<string, string>>;
  /** Undefined if /proc does not say. */
  readonly descriptorLimit: number | undefined;
  /** The longest delay since the last call. */
  readonly loopDelaySeconds: number;
}

const PERIOD_MS = 100;

/**
 * Measures the delay of the event loop from now on, with a timer 10 times a second. The monitor of Node.js takes 300
 * KiB.
 */
export class ProcessWatch {
  readonly #timer: NodeJS.Timeout;
  #last = performance.now();
  #longestMs = 0;

  constructor() {
    this.#timer = setInterval(() => this.#look(), PERIOD_MS).unref();
  }

  #look(): void {
    const now = performance.now();
    this.#longestMs = Math.max(this.#longestMs, now - this.#last - PERIOD_MS);
    this.#last = now;
  }

  read(): ProcessFigures {
    const longestMs = this.#longestMs;
    this.#longestMs = 0;
    return {
      ...readUse(),
      engine: ENGINE,
      descriptorLimit: descriptorLimit(),
      loopDelaySeconds: longestMs / 1000,
    };
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

/** The soft limit, from /proc/self/limits. */
function descriptorLimit(): number | undefined {
  try {
    const [, limit] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
    return limit === undefined ? undefined : Number(limit);
  } catch {
    return undefined;
  }
}
