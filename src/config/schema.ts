/**
 * The configuration file: every key with its type, default, unit, range and meaning. This is the only such table.
 *
 * `meta` carries what messages and generated documentation say of a key: `description`, a `hint` for whoever got its
 * value wrong, and `head`, the phrase that the AWS proxy prints when the key is missing or of the wrong type.
 */
import * as z from 'zod';
import { showValue } from '../escape.ts';
import { parseTcpPort, type TcpPort } from '../policy/address.ts';
import { parseRuleAddress, type RuleAddress } from '../policy/rules.ts';
import { CONNECTIONS } from './connections.ts';

declare module 'zod' {
  interface GlobalMeta {
    readonly hint?: string;
    readonly head?: string;
  }
}

const DURATION = /^(\d+)(ms|s|m|h)?$/;
const MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;
/** Longer is never meant, and timers end at 24 days. */
const LONGEST = '168h';

/** What a message says of a wrong value, after its key. */
interface Wrong {
  readonly error: (issue: { readonly input?: unknown }) => string;
}

/** A whole number in its range. */
function wholeNumber(range: { readonly min: number; readonly max: number }) {
  const outside: Wrong = { error: ({ input }) => `${showValue(input)} is outside ${range.min}–${range.max}` };
  return z.int(expected('a whole number')).min(range.min, outside).max(range.max, outside);
}

/** Whole seconds, or a whole number with its unit; comes out as milliseconds. */
function duration(shortest: '0' | '1ms') {
  const wrong = expected('a duration');
  const inRange = (ms: number) => ms >= toMs(shortest) && ms <= toMs(LONGEST);
  return z
    .union([z.int(wrong).min(0, wrong), z.string().regex(DURATION, wrong)], wrong)
    .refine((written) => inRange(toMs(written)), {
      error: ({ input }) => `${showValue(input)} is outside ${shortest}–${LONGEST}`,
    })
    .transform(toMs);
}

function toMs(written: string | number): number {
  const [, count, unit = 's'] = DURATION.exec(String(written)) ?? [];
  return Number(count) * MS[unit as keyof typeof MS];
}

const DURATION_HINT = 'write whole seconds, or a whole number with its unit: 500ms, 10s, 5m, 1h';

const wrongPort: Wrong = {
  error: ({ input }) =>
    (typeof input === 'number' || typeof input === 'string') && /^-?\d{1,20}$/.test(String(input))
      ? `port ${input} is outside 1–65535`
      : expected('a port').error({ input }),
};

const port = z
  .union(
    [
      z.int(wrongPort).min(1, wrongPort).max(65535, wrongPort),
      z.string().refine((text) => parseTcpPort(text) !== undefined, wrongPort),
    ],
    wrongPort,
  )
  .transform((written) => parseTcpPort(String(written)) as TcpPort)
  .meta({
    description: 'TCP port of the server, 1–65535',
    hint: 'TCP ports are 16-bit: write a whole number from 1 to 65535',
    head: 'No port field or invalid type',
  });

const address = z
  .string(expected('a host name, an IP address or a range'))
  .transform((text, context): { readonly text: string; readonly means: RuleAddress } => {
    const means = parseRuleAddress(text);
    if (means.kind !== 'malformed') return { text, means };
    context.addIssue({ code: 'custom', message: means.problem, params: { hint: means.hint } });
    return z.NEVER;
  })
  .meta({
    description: 'What may be reached: a host name, an IP address, or a range of addresses such as 10.0.0.0/8',
    hint: 'write a host name or an IP address, in quotes if it looks like a number',
    head: 'No address field',
  });

const ENTRY_HINT = 'an entry looks like this: - {address: kms.us-east-1.amazonaws.com, port: 443}';

const allowlist = z
  .array(
    z
      .strictObject({ address, port }, expected('a map'))
      .meta({ description: 'One service that may be reached', hint: ENTRY_HINT, head: 'No address field' }),
    expected('a list'),
  )
  .meta({
    description: 'What may be reached, in order; nothing else is',
    hint: `the file needs the key "allowlist" with a list of entries; ${ENTRY_HINT}`,
    head: 'No allowlist field',
  });

const SECTION_HINT = 'leave it out, or write at least one key below it';

const limits = z
  .strictObject(
    {
      connections: wholeNumber(CONNECTIONS)
        .default(CONNECTIONS.default)
        .meta({
          description: 'Connections open at once; further clients wait. The option -w takes precedence',
          hint: `write a whole number from ${CONNECTIONS.min} to ${CONNECTIONS.max}`,
        }),
    },
    expected('a map'),
  )
  .prefault({})
  .meta({ description: 'How much is allowed at once', hint: SECTION_HINT });

const timeouts = z
  .strictObject(
    {
      connect: duration('1ms').prefault('10s').meta({
        description: 'Until one address of the server answered, all attempts together',
        hint: DURATION_HINT,
      }),
      idle: duration('0').prefault('1h').meta({
        description: 'Without a byte in either direction until the connection is closed; 0: never',
        hint: DURATION_HINT,
      }),
      drain: duration('0').prefault('10s').meta({
        description: 'How long open connections may go on when the proxy is told to end',
        hint: DURATION_HINT,
      }),
    },
    expected('a map'),
  )
  .prefault({})
  .meta({ description: 'How long things may take', hint: SECTION_HINT });

export const fileSchema = z.strictObject({ allowlist, limits, timeouts }, expected('a map')).meta({
  description: 'Configuration of vsock-proxy',
  hint: `the file needs the key "allowlist" with a list of entries; ${ENTRY_HINT}`,
  head: 'No allowlist field',
});

/** The file's value with all defaults. */
export type FileSettings = z.output<typeof fileSchema>;

/** The schema of what stands at this path; for a path that the schema does not know, that of its closest parent. */
export function schemaAt(path: readonly PropertyKey[]): z.core.$ZodType {
  let schema: z.core.$ZodType = fileSchema;
  for (const key of path) {
    const outer = unwrap(schema);
    const inner = outer instanceof z.ZodArray ? outer.element : keysOf(outer)[String(key)];
    if (inner === undefined) break;
    schema = inner;
  }
  return schema;
}

/** The keys that the map at this path may have. */
export function keysAt(path: readonly PropertyKey[]): string[] {
  return Object.keys(keysOf(unwrap(schemaAt(path))));
}

function keysOf(schema: z.core.$ZodType): z.core.$ZodShape {
  return schema instanceof z.ZodObject ? schema.shape : {};
}

function unwrap(schema: z.core.$ZodType): z.core.$ZodType {
  return schema instanceof z.ZodPrefault || schema instanceof z.ZodDefault ? unwrap(schema.unwrap()) : schema;
}

/** For a value of the wrong type. */
function expected(what: string): Wrong {
  return {
    error: ({ input }) => (input === undefined ? 'missing' : `expected ${what}, found ${showValue(input)}`),
  };
}
