/** The books of a soak: what was transferred, what was down when, and whether the one explains the other. */
import type { Done } from './clients.ts';

/** A time in which something was down. */
export interface Outage {
  readonly from: number;
  readonly to: number;
}

interface Total {
  complete: number;
  failed: number;
  bytes: number;
}

/** What was queued at a process that is killed, or comes to it before it serves again, ends within this. */
const AFTERMATH_MS = 1_000;

export class Ledger {
  readonly #totals = new Map<string, Total>();
  readonly #outages: Outage[] = [];
  /** All that was not complete. */
  readonly #failures: Done[] = [];
  readonly #watchers = new Set<(done: Done) => void>();

  enter(done: Done): void {
    const total = this.#totals.get(done.path) ?? { complete: 0, failed: 0, bytes: 0 };
    this.#totals.set(done.path, total);
    if (done.result === 'complete') {
      total.complete += 1;
      total.bytes += done.bytes;
      for (const watcher of this.#watchers) watcher(done);
    } else {
      total.failed += 1;
      this.#failures.push(done);
    }
  }

  enterOutage(outage: Outage): void {
    this.#outages.push(outage);
  }

  /** Resolves when all paths have had a transfer complete after this call. */
  async recovered(paths: readonly string[]): Promise<void> {
    const missing = new Set(paths);
    const { promise, resolve } = Promise.withResolvers<void>();
    const watcher = ({ path }: Done): void => {
      missing.delete(path);
      if (missing.size === 0) resolve();
    };
    this.#watchers.add(watcher);
    await promise;
    this.#watchers.delete(watcher);
  }

  /** Of transfers that nothing excuses. */
  get problems(): readonly string[] {
    return this.#failures
      .filter((done) => done.result.startsWith('wrong') || !this.#excuses(done))
      .map(({ path, startedAt, endedAt, result }) => `${path}: ${result} (from ${startedAt} to ${endedAt} ms)`);
  }

  get report(): string {
    const lines = [...this.#totals].map(([path, { complete, failed, bytes }]) => {
      return `${path}: ${complete} transfers complete, ${Math.round(bytes / 2 ** 20)} MiB; ${failed} failed`;
    });
    return lines.join('\n');
  }

  #excuses({ startedAt, endedAt }: Done): boolean {
    return this.#outages.some(({ from, to }) => startedAt <= to + AFTERMATH_MS && endedAt >= from);
  }
}
