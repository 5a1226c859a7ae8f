/** Patterns of names: `*` is exactly one label, `**` one or more; both stand for whole labels only. */
import { quoteBriefly } from '../escape.ts';
import { type Malformed, normaliseName } from './address.ts';

export interface NamePattern {
  /** In the one spelling that names have, but for `*` and `**`. */
  readonly labels: readonly string[];
}

/** Every character that IDNA takes for the dot between two labels: UTS 46 section 4.5. */
const DOT = /[.\u3002\uff0e\uff61]/;
const NUMBER = /^(?:\d+|0x[\da-f]*)$/i;

export function parsePattern(text: string): NamePattern | Malformed {
  const shown = quoteBriefly(text);
  const written = text.split(DOT);
  if (written.length > 1 && written.at(-1) === '') written.pop();

  const literals = written.filter((label) => !isWild(label));
  const partial = literals.find((label) => label.includes('*'));
  if (partial !== undefined) {
    return {
      kind: 'malformed',
      problem: `${shown} has a "*" within the label ${quoteBriefly(partial)}`,
      hint: '* stands for one whole label and ** for one or more: *.example.com, kms.*.amazonaws.com, **.example.com',
    };
  }
  // No name ends in a number, and 10.* means addresses to whoever writes it: as a deny rule it would deny nothing.
  if (NUMBER.test(written.at(-1) ?? '') || (literals.length > 0 && literals.every((label) => NUMBER.test(label)))) {
    return {
      kind: 'malformed',
      problem: `${shown} is a pattern of numbers`,
      hint: 'patterns are for names; write a range of addresses like 10.0.0.0/8',
    };
  }
  const name = normaliseName(written.map((label) => (isWild(label) ? 'x' : label)).join('.'), shown);
  if (typeof name !== 'string') return name;
  const labels = name.split('.');
  // Some characters, such as U+2026, are dots only after IDNA has mapped them.
  if (labels.length !== written.length) {
    return { kind: 'malformed', problem: `${shown} has unusual dots`, hint: 'write "." between two labels' };
  }
  return { labels: labels.map((label, index) => (isWild(written[index]) ? (written[index] ?? label) : label)) };
}

/**
 * Whether a name of these labels matches; from the right, where names differ least by chance.
 *
 * A mismatch goes back to the last `**` only, which then takes one label more: what an earlier one takes need not be
 * tried again, because a match further left leaves the rest no more than the nearest one does. So the steps are at
 * most labels of the pattern × labels of the name, and one way through for a pattern with a single `**`.
 */
export function matchesPattern({ labels: pattern }: NamePattern, labels: readonly string[]): boolean {
  let at = pattern.length - 1;
  let next = labels.length - 1;
  let afterStars: number | undefined;
  let resumeAt = 0;
  while (next >= 0) {
    const wanted = pattern[at];
    if (wanted === '**') {
      afterStars = --at;
      resumeAt = --next;
    } else if (wanted === '*' || wanted === labels[next]) {
      at--;
      next--;
    } else if (afterStars !== undefined) {
      at = afterStars;
      next = --resumeAt;
    } else {
      return false;
    }
  }
  return at < 0;
}

function isWild(label: string | undefined): boolean {
  return label === '*' || label === '**';
}
