/** What every parser returns for text or bytes that it cannot take. */
export interface Malformed {
  readonly kind: 'malformed';
  /** One printable line: what is wrong, with which value. */
  readonly problem: string;
  /** What to write instead. */
  readonly hint?: string;
}

/** Both in one line. */
export function describeMalformed({ problem, hint }: Malformed): string {
  return hint === undefined ? problem : `${problem}. Hint: ${hint}`;
}

export function malformed(problem: string, hint?: string): Malformed {
  return { kind: 'malformed', problem, ...(hint !== undefined && { hint }) };
}
