import type { Clock } from '../dns/clock.ts';

export interface Trouble {
  /** Says it, the first time. */
  readonly first: () => void;
  /**
   * At the end of a period: says what happened since the last time, `times` of it reported here.
   * @returns whether the trouble goes on
   */
  readonly again: (times: number) => boolean;
}

/** Reports troubles that may come in floods: each at once, and then in one summary per period until it is over. */
export class Throttle {
  readonly #clock: Clock;
  readonly #periodMs: number;
  readonly #open = new Map<string, { times: number; trouble: Trouble; cancel: () => void }>();

  constructor(clock: Clock, periodMs: number) {
    this.#clock = clock;
    this.#periodMs = periodMs;
  }

  /** Troubles with the same key are the same one; the first report's functions are used until it is over. */
  report(key: string, trouble: Trouble): void {
    const known = this.#open.get(key);
    if (known !== undefined) {
      known.times += 1;
      return;
    }
    trouble.first();
    this.#open.set(key, { times: 0, trouble, cancel: this.#wait(key) });
  }

  /** Says what has not been said yet. */
  stop(): void {
    for (const { times, trouble, cancel } of this.#open.values()) {
      cancel();
      if (times > 0) trouble.again(times);
    }
    this.#open.clear();
  }

  #wait(key: string): () => void {
    return this.#clock.setTimer(this.#periodMs, () => {
      const known = this.#open.get(key);
      if (known === undefined) return;
      const { times, trouble } = known;
      if (trouble.again(times)) {
        known.times = 0;
        known.cancel = this.#wait(key);
      } else {
        this.#open.delete(key);
      }
    });
  }
}
