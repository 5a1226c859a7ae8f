/** What a parser makes of bytes that cannot become right any more. */
export interface Malformed {
  readonly kind: 'malformed';
  /** One printable line: what is wrong, with which value; `Hint: …` where the reader can do something about it. */
  readonly problem: string;
}

export function malformed(problem: string): Malformed {
  return { kind: 'malformed', problem };
}
