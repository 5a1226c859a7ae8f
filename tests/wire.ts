/** The messages between a test and a program under QuickJS, each a line of JSON. */

export type Call = { readonly call: string; readonly args: readonly unknown[] };

export type Answer =
  | { readonly value?: unknown }
  | { readonly error: { readonly code: string; readonly message: string; readonly errno?: string } };

/** From the data plane. `settled` is the number of the call that returned a promise, which now has this value. */
export type EventMessage =
  | { readonly event: string; readonly args: readonly unknown[] }
  | { readonly settled: number; readonly value: unknown };

/** The input of the parser with this name. */
export type Input = { readonly parser: string; readonly bytes: Uint8Array };

const BYTES = '$bytes';

export function encode(message: Call | Answer | EventMessage | Input): string {
  return `${JSON.stringify(plain(message))}\n`;
}

/** Encodes bytes as the characters with their values. */
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
