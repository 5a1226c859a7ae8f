/** The result of a parser for text or bytes that it refuses. */
export interface Malformed {
  readonly kind: 'malformed';
  /** The problem with its value, in one printable line. */
  readonly problem: string;
  /** What to write instead. */
  readonly hint?: string;
}

/** The problem and the hint in one line. */
export function describeMalformed({ problem, hint }: Malformed): string {
  return hint === undefined ? problem : `${problem}. Hint: ${hint}`;
}

export function malformed(problem: string, hint?: string): Malformed {
  return { kind: 'malformed', problem, ...(hint !== undefined && { hint }) };
}
