/** Patterns of names: `*` is exactly one label, `**` one or more; both stand for whole labels only. */
import { quoteBriefly } from '../platform/escape.ts';
import { type Malformed, malformed } from '../platform/malformed.ts';
import { normaliseName } from './address.ts';

export interface NamePattern {
  /** Normalised labels, as in a name, or `*` or `**`. */
  readonly labels: readonly string[];
}

/** Every character that IDNA reads as the dot between two labels: UTS 46 section 4.5. */
const DOT = /[.\u3002\uff0e\uff61]/;
const NUMBER = /^(?:\d+|0x[\da-f]*)$/;

export function parsePattern(text: string): NamePattern | Malformed {
  const shown = quoteBriefly(text);
  const written = text.split(DOT);
  const partial = written.find((label) => label.includes('*') && !isWild(label));
  if (partial !== undefined) {
    return malformed(
      `${shown} has a "*" within the label ${quoteBriefly(partial)}`,
      '* stands for one whole label and ** for one or more: *.example.com, kms.*.amazonaws.com, **.example.com',
    );
  }
  const name = normaliseName(written.map((label) => (isWild(label) ? 'x' : label)).join('.'), shown);
  if (typeof name !== 'string') return name;
  const labels = name.split('.').map((label, index) => {
    const mark = written[index];
    return isWild(mark) ? mark : label;
  });
  const literals = labels.filter((label) => !isWild(label));
  // The author of 10.* means addresses. As a deny rule, the pattern would deny none of them.
  if (literals.length > 0 && literals.every((label) => NUMBER.test(label))) {
    return malformed(
      `${shown} is a pattern of numbers, which no name consists of`,
      'write a range of addresses like 10.0.0.0/8',
    );
  }
  return { labels };
}

function isWild(label: string | undefined): label is '*' | '**' {
  return label === '*' || label === '**';
}
