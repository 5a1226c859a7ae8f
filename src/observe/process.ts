/** Measurements of the process itself. */
import { readdirSync, readFileSync } from 'node:fs';
import { arch } from 'node:os';

export interface ProcessFigures {
  /** The version of Node.js. */
  readonly node: string;
  readonly arch: string;
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  /** Undefined if /proc does not say. */
  readonly descriptors: number | undefined;
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
    const { user, system } = process.cpuUsage();
    const longestMs = this.#longestMs;
    this.#longestMs = 0;
    return {
      node: process.versions.node,
      arch: arch(),
      cpuSeconds: (user + system) / 1e6,
      residentBytes: process.memoryUsage.rss(),
      descriptors: countDescriptors(),
      descriptorLimit: descriptorLimit(),
      loopDelaySeconds: longestMs / 1000,
    };
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

function countDescriptors(): number | undefined {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return undefined;
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
