/**
 * The parts of the schema: single values, lists and maps. Each has the texts for messages and documentation.
 *
 * A single value has a parser, because its messages need more precise words than a type can give. Its part of the JSON
 * Schema stands beside the parser. Schemas are plain data that `readValue` walks, because they are made at every start,
 * and a file has thousands of entries.
 */
import { showValue } from '../../platform/escape.ts';
import type { Malformed } from '../../platform/malformed.ts';
import { closestWord } from '../read/did-you-mean.ts';
import { DURATION, isInRange, LONGEST, toMs } from './duration.ts';

export interface KeyMeta {
  /** The meaning of the key, without a full stop at its end. */
  readonly description: string;
  /** The hint if the value is wrong. */
  readonly hint?: string;
  /** What AWS's proxy prints if the key is missing or of the wrong type. */
  readonly head?: string;
  /** The form of the value, for documentation; lists and maps have their own text. */
  readonly type?: string;
  /** The default, for documentation, if it is not a single value. */
  readonly absent?: string;
  /** Keywords of JSON Schema that the type does not imply. */
  readonly json?: Readonly<Record<string, unknown>>;
}

/**
 * Why a value is refused. A value of the wrong type has no hint here: it gets the hint of its key, and the phrase of
 * AWS's proxy in front. `headed` puts that phrase in front of other problems, too. AWS's proxy has no phrase for a
 * value of the right type that makes no sense.
 */
export interface Wrong extends Pick<Malformed, 'problem'> {
  readonly hint?: string;
  readonly headed?: boolean;
}

/** A value that has no parts. */
export interface Scalar<Out> {
  readonly kind: 'scalar';
  readonly meta: KeyMeta;
  /** Receives the value of the file, also undefined. */
  readonly parse: (value: unknown) => Out | Wrong;
}

export interface List<Item extends Schema> {
  readonly kind: 'list';
  readonly meta: KeyMeta;
  readonly item: Item;
  readonly size: ListSize;
}

/** How many items a list may have; absent: any number. */
export interface ListSize {
  /** The problem with an empty list. */
  readonly empty?: Wrong;
  readonly most?: { readonly count: number; readonly problem: string };
}

export interface MapOf<Keys extends Shape> {
  readonly kind: 'map';
  readonly meta: KeyMeta;
  readonly keys: Keys;
}

export type Shape = Readonly<Record<string, Schema>>;

/** A key that may be left out. */
export interface Optional<Inner extends Schema> {
  readonly kind: 'optional';
  readonly inner: Inner;
}

/** A key that has the value `written` if it is left out. */
export interface Defaulted<Inner extends Schema> {
  readonly kind: 'defaulted';
  readonly inner: Inner;
  readonly written: unknown;
}

export type Schema =
  | Scalar<unknown>
  | { readonly kind: 'list'; readonly meta: KeyMeta; readonly item: Schema; readonly size: ListSize }
  | { readonly kind: 'map'; readonly meta: KeyMeta; readonly keys: Shape }
  | { readonly kind: 'optional'; readonly inner: Schema }
  | { readonly kind: 'defaulted'; readonly inner: Schema; readonly written: unknown };

/** The type of the parsed value. */
export type Output<S> =
  S extends Scalar<infer Out>
    ? Out
    : S extends List<infer Item>
      ? Output<Item>[]
      : S extends MapOf<infer Keys>
        ? OutputOfKeys<Keys>
        : S extends Optional<infer Inner>
          ? Output<Inner> | undefined
          : S extends Defaulted<infer Inner>
            ? Output<Inner>
            : never;

type OptionalKeys<Keys> = { [Key in keyof Keys]: Keys[Key] extends Optional<Schema> ? Key : never }[keyof Keys];
type OutputOfKeys<Keys> = { -readonly [Key in Exclude<keyof Keys, OptionalKeys<Keys>>]: Output<Keys[Key]> } & {
  -readonly [Key in OptionalKeys<Keys>]?: Output<Keys[Key]>;
};

export function scalar<const Parsed>(meta: KeyMeta, parse: (value: unknown) => Parsed): Scalar<Exclude<Parsed, Wrong>> {
  return { kind: 'scalar', meta, parse: parse as (value: unknown) => Exclude<Parsed, Wrong> | Wrong };
}

export function list<Item extends Schema>(meta: KeyMeta, item: Item, size: ListSize = {}): List<Item> {
  return { kind: 'list', meta, item, size };
}

export function map<Keys extends Shape>(meta: KeyMeta, keys: Keys): MapOf<Keys> {
  return { kind: 'map', meta, keys };
}

export function optional<Inner extends Schema>(inner: Inner): Optional<Inner> {
  return { kind: 'optional', inner };
}

/** @param written the default, as it would be written in the file */
export function defaulted<Inner extends Schema>(inner: Inner, written: unknown): Defaulted<Inner> {
  return { kind: 'defaulted', inner, written };
}

export const MISSING = 'missing';
/** The type of a key that is known and has no effect. */
export const NOT_USED = 'not used';

/** The problem with a value of the wrong type. */
export function expected(what: string, found: unknown): Wrong {
  return { problem: found === undefined ? MISSING : `expected ${what}, found ${showValue(found)}` };
}

/** Text that `parse` accepts. */
export function text<const Parsed>(what: string, meta: KeyMeta, parse: (text: string) => Parsed) {
  return scalar({ ...meta, json: { type: 'string', ...meta.json } }, (value) =>
    typeof value === 'string' ? parse(value) : expected(what, value),
  );
}

/** A whole number in a range. */
export function wholeNumber(meta: KeyMeta, { min, max }: { readonly min: number; readonly max: number }) {
  const range = `${min}–${max}`;
  const json = { type: 'integer', minimum: min, maximum: max, ...meta.json };
  const hint = `write a whole number from ${min} to ${max}`;
  return scalar({ type: `whole number, ${range}`, hint, ...meta, json }, (value): number | Wrong => {
    if (typeof value !== 'number' || !Number.isInteger(value)) return expected('a whole number', value);
    return value < min || value > max ? { problem: `${value} is outside ${range}` } : value;
  });
}

/** True or false. */
export function flag(meta: KeyMeta) {
  const json = { type: 'boolean' };
  return scalar({ type: '`true` or `false`', hint: 'write true or false', ...meta, json }, (value): boolean | Wrong =>
    typeof value === 'boolean' ? value : expected('true or false', value),
  );
}

/** One of these words. */
export function choice<const Words extends readonly string[]>(meta: KeyMeta, words: Words) {
  const type = enumerate(words.map((word) => `\`${word}\``));
  const named = enumerate(words);
  return scalar({ type, ...meta, json: { enum: words } }, (value): Words[number] | Wrong => {
    const word = words.find((candidate) => candidate === value);
    if (word !== undefined) return word;
    const meant = typeof value === 'string' ? closestWord(value, words) : undefined;
    return { ...expected(named, value), hint: meant === undefined ? `write ${named}` : `did you mean ${meant}?` };
  });
}

/** `any, ipv4 or ipv6` */
function enumerate(words: readonly string[]): string {
  return words.length < 2 ? words.join() : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}

/** Whole seconds, or a whole number with its unit; the result is in milliseconds. */
export function duration(shortest: '0' | '1ms', meta: KeyMeta) {
  const json = { type: ['integer', 'string'], minimum: shortest === '0' ? 0 : 1, pattern: DURATION.source };
  const hint = 'write whole seconds, or a whole number with its unit: 500ms, 10s, 5m, 1h';
  return scalar({ type: `duration, ${shortest}–${LONGEST}`, hint, ...meta, json }, (value): number | Wrong => {
    const ms = typeof value === 'string' || typeof value === 'number' ? toMs(String(value)) : undefined;
    if (ms === undefined) return expected('a duration', value);
    return isInRange(ms, shortest) ? ms : { problem: `${showValue(value)} is outside ${shortest}–${LONGEST}` };
  });
}
