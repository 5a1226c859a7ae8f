import type { Clock } from '../../platform/clock.ts';

export type Subjects = readonly (readonly [subject: string, times: number])[];

export interface Trouble {
  /** Reports the trouble for the first time. */
  readonly first: () => void;
  /**
   * Called at the end of a period, with what happened since the last call.
   * @param times how often the trouble was reported in the period
   * @param subjects the subjects with their counts, the most frequent first; the rest is counted together as `others`
   * @returns whether the trouble goes on
   */
  readonly again: (times: number, subjects: Subjects) => boolean;
}

/** The most subjects that a summary names. */
const MAX_SUBJECTS = 5;

interface Open {
  times: number;
  /** The count of each subject. For the rest there is only a total. */
  readonly subjects: Map<string, number>;
  others: number;
  readonly trouble: Trouble;
  cancel: () => void;
}

/**
 * Limits reports of troubles that may come in floods. Each is reported at once, and then in one summary per period
 * until it ends.
 */
export class Throttle {
  readonly #clock: Clock;
  readonly #periodMs: number;
  readonly #open = new Map<string, Open>();

  constructor(clock: Clock, periodMs: number) {
    this.#clock = clock;
    this.#periodMs = periodMs;
  }

  /**
   * Reports with the same key belong to the same trouble. The functions of the first report are used until the trouble
   * ends.
   * @param subject what may differ between reports of a trouble; there are few keys, but there may be many subjects
   * @returns whether this is the first report, which was made at once
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

  /** Reports everything that is not reported yet. */
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
