/** Logs names that do not exist in the enclave because nothing allows them. */

import type { Hostname } from '../access/address.ts';
import type { Clock } from '../platform/clock.ts';
import type { Log } from '../platform/log.ts';
import { count } from '../proxy/report/quantities.ts';
import { type Subjects, Throttle } from '../proxy/report/throttle.ts';

const PERIOD_MS = 10_000;
/** This many names have a line with the reason. Further ones are named in one summary per period. */
const MOST_TOLD = 10;

export class Denials {
  readonly #log: Log;
  readonly #throttle: Throttle;
  /** The names that have had their line, until a period passes without a denial. */
  readonly #told = new Set<Hostname>();

  constructor(log: Log, clock: Clock) {
    this.#log = log;
    this.#throttle = new Throttle(clock, PERIOD_MS);
  }

  report(name: Hostname, reason: string): void {
    const first = (): void => {
      this.#told.add(name);
      this.#log.warn(`${name} was looked up, and does not exist here: ${reason}`);
    };
    if (this.#told.size > 0 && this.#told.size < MOST_TOLD && !this.#told.has(name)) {
      first();
      return;
    }
    const again = (times: number, subjects: Subjects): boolean => {
      if (times === 0) {
        this.#told.clear();
        return false;
      }
      const listed = subjects.map(([subject, each]) => `${subject} (${each})`).join(', ');
      this.#log.warn(`${count(times, 'more look-up')} of names that are not allowed: ${listed}`);
      return true;
    };
    this.#throttle.report('denied', { first, again }, name);
  }

  /** Logs everything that is not logged yet. */
  stop(): void {
    this.#throttle.stop();
  }
}
