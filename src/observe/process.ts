/** Figures of the process itself. */
import { readdirSync, readFileSync } from 'node:fs';
import { arch } from 'node:os';
import { monitorEventLoopDelay } from 'node:perf_hooks';

export interface ProcessFigures {
  /** Version of Node.js. */
  readonly node: string;
  readonly arch: string;
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  /** Undefined where /proc does not tell. */
  readonly descriptors: number | undefined;
  readonly descriptorLimit: number | undefined;
  /** The longest one since the last time. */
  readonly loopDelaySeconds: number;
}

const RESOLUTION_MS = 100;

/** Watches the event loop from now on: a timer, 10 times a second. */
export class ProcessWatch {
  readonly #delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });

  constructor() {
    this.#delay.enable();
  }

  read(): ProcessFigures {
    const { user, system } = process.cpuUsage();
    const longest = this.#delay.max / 1e9;
    this.#delay.reset();
    return {
      node: process.versions.node,
      arch: arch(),
      cpuSeconds: (user + system) / 1e6,
      residentBytes: process.memoryUsage.rss(),
      descriptors: countDescriptors(),
      descriptorLimit: descriptorLimit(),
      loopDelaySeconds: Math.max(0, longest - RESOLUTION_MS / 1000),
    };
  }

  stop(): void {
    this.#delay.disable();
  }
}

function countDescriptors(): number | undefined {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return undefined;
  }
}

/** The soft limit, of /proc/self/limits. */
function descriptorLimit(): number | undefined {
  try {
    const [, limit] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
    return limit === undefined ? undefined : Number(limit);
  } catch {
    return undefined;
  }
}
