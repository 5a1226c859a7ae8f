/** Clients that make transfers one after the other, each in its own time, and can be paused. */
import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { type Result, runTransfer } from './transfer.ts';

/** A way through the proxies. */
export interface Path {
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

/** Times are those of the monotonic clock, in milliseconds, which all processes of a machine share. */
export interface Done {
  readonly path: string;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly bytes: number;
  readonly result: Result;
}

const CLIENTS_PER_PATH = 2;
/** Between two transfers of a client: the load is bounded. */
const PACE_MS = 50;
const TIMEOUT_MS = 30_000;
/** Most are small; one of them in hundred is long enough to be met by a kill. */
const MOST_BYTES = 256 * 1024;
const LONG_BYTES = 8 * 1024 * 1024;

export const BYTES = randomBytes(LONG_BYTES);

export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1_000_000n);
}

export class Clients {
  #running: readonly Promise<void>[] = [];
  #isPaused = true;
  readonly #paths: readonly Path[];
  readonly #onDone: (done: Done) => void;

  constructor(paths: readonly Path[], onDone: (done: Done) => void) {
    this.#paths = paths;
    this.#onDone = onDone;
  }

  go(): void {
    this.#isPaused = false;
    this.#running = this.#paths.flatMap((path) => Array.from({ length: CLIENTS_PER_PATH }, () => this.#run(path)));
  }

  /** Resolves when no transfer is under way. */
  async pause(): Promise<void> {
    this.#isPaused = true;
    await Promise.all(this.#running);
  }

  async #run({ name, host, port }: Path): Promise<void> {
    while (!this.#isPaused) {
      const up = BYTES.subarray(0, chooseLength());
      const downBytes = chooseLength();
      const startedAt = monotonicMs();
      const result = await runTransfer({ host, port, up, downBytes, timeoutMs: TIMEOUT_MS });
      this.#onDone({ path: name, startedAt, endedAt: monotonicMs(), bytes: up.length + downBytes, result });
      await pause(PACE_MS);
    }
  }
}

function chooseLength(): number {
  return Math.random() < 0.01 ? LONG_BYTES : Math.floor(MOST_BYTES ** Math.random());
}
