import type { Clock } from '../../platform/clock.ts';

export type Subjects = readonly (readonly [subject: string, times: number])[];

export interface Trouble {
  /** Says it, the first time. */
  readonly first: () => void;
  /**
   * At the end of a period: says what happened since the last time, `times` of it reported here.
   * @param subjects how often each, the most frequent one first; those beyond a few together as `others`
   * @returns whether the trouble goes on
   */
  readonly again: (times: number, subjects: Subjects) => boolean;
}

/** So many subjects are named in a summary. */
const MAX_SUBJECTS = 5;

interface Open {
  times: number;
  /** How often each; of others, only how often in all. */
  readonly subjects: Map<string, number>;
  others: number;
  readonly trouble: Trouble;
  cancel: () => void;
}

/** Reports troubles that may come in floods: each at once, and then in one summary per period until it is over. */
export class Throttle {
  readonly #clock: Clock;
  readonly #periodMs: number;
  readonly #open = new Map<string, Open>();

  constructor(clock: Clock, periodMs: number) {
    this.#clock = clock;
    this.#periodMs = periodMs;
  }

  /**
   * Troubles with the same key are the same one; the first report's functions are used until it is over.
   * @param subject what may differ in each report of a trouble; keys are few, subjects may be many
   * @returns whether it was the first one, and said at once
   */
  report(key: string, trouble: Trouble, subject = ''): boolean {
    const known = this.#open.get(key);
    if (known === undefined) {
      trouble.first();
      this.#open.set(key, { times: 0, subjects: new Map(), others: 0, trouble, cancel: this.#wait(key) });
      return true;
    }
    const { subjects } = known;
    known.times += 1;
    if (subjects.has(subject) || subjects.size < MAX_SUBJECTS) subjects.set(subject, (subjects.get(subject) ?? 0) + 1);
    else known.others += 1;
    return false;
  }

  /** Says what has not been said yet. */
  stop(): void {
    for (const open of this.#open.values()) {
      open.cancel();
      if (open.times > 0) open.trouble.again(open.times, subjectsOf(open));
    }
    this.#open.clear();
  }

  #wait(key: string): () => void {
    return this.#clock.setTimer(this.#periodMs, () => {
      const known = this.#open.get(key);
      if (known === undefined) return;
      if (known.trouble.again(known.times, subjectsOf(known))) {
        known.times = known.others = 0;
        known.subjects.clear();
        known.cancel = this.#wait(key);
      } else {
        this.#open.delete(key);
      }
    });
  }
}

function subjectsOf({ subjects, others }: Open): Subjects {
  const sorted = [...subjects].sort(([, one], [, other]) => other - one);
  return others > 0 ? [...sorted, ['others', others]] : sorted;
}
