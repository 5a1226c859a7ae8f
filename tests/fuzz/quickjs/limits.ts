/** What the engine must not do, tried: each ends with an exception, and the process answers the next question. */

/** As a program sees them that nobody has told that they are not there. */
const global = globalThis as unknown as Readonly<Record<string, (...args: readonly unknown[]) => unknown>>;

const ATTEMPTS: Readonly<Record<string, () => unknown>> = {
  eval: () => global.eval?.('1 + 1'),
  function: () => new (global.Function as unknown as new (code: string) => unknown)('return 1'),
  'constructor of a function': () => Reflect.construct((() => 1).constructor, ['return 1']),
  'a call without end': function endless(): unknown {
    return [endless()];
  },
  'a text without end': () => {
    const all: string[] = [];
    for (;;) all.push('x'.repeat(1e7));
  },
  'a pattern without end': () => new RegExp('('.repeat(1e5) + ')'.repeat(1e5)).test('x'),
  'a value without end': () => JSON.parse('['.repeat(1e6)),
  'memory beyond the limit': () => new ArrayBuffer(2 ** 30),
};

/** @returns what each gave: a value, or the class of what it threw */
export function tryAll(): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(ATTEMPTS).map(([what, attempt]) => {
      try {
        return [what, `gave ${typeof attempt()}`];
      } catch (error) {
        return [what, error instanceof Error ? error.name : String(error)];
      }
    }),
  );
}
