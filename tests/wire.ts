/** What a test and a program under QuickJS tell each other: a line of JSON each. */

export type Call = { readonly call: string; readonly args: readonly unknown[] };

export type Answer =
  | { readonly value?: unknown }
  | { readonly error: { readonly code: string; readonly message: string; readonly errno?: string } };

/** Of the data plane; `settled` is the outcome of the call of this number that gave a promise. */
export type Told =
  | { readonly event: string; readonly args: readonly unknown[] }
  | { readonly settled: number; readonly value: unknown };

/** For a parser, by its name. */
export type Input = { readonly parser: string; readonly bytes: Uint8Array };

const BYTES = '$bytes';

export function encode(message: Call | Answer | Told | Input): string {
  return `${JSON.stringify(plain(message))}\n`;
}

/** Bytes as the characters of their numbers. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return { [BYTES]: String.fromCharCode(...value) };
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]));
}

export function decode(line: string): unknown {
  return JSON.parse(line, (_key, value: unknown) => {
    const text = typeof value === 'object' && value !== null ? (value as { [BYTES]?: unknown })[BYTES] : undefined;
    return typeof text === 'string' ? Uint8Array.from(text, (char) => char.charCodeAt(0)) : value;
  });
}
