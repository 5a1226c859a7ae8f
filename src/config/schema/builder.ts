/**
 * What the schema is made of: single values, lists and maps, each with what messages and documentation say of it.
 *
 * A single value is a parser, because a problem needs better words than a type has; what editors are told of it stands
 * beside it. Plain data, which `readValue` walks: it is made at every start, and a file has thousands of entries.
 */
import { showValue } from '../../platform/escape.ts';
import type { Malformed } from '../../platform/malformed.ts';
import { closestWord } from '../read/did-you-mean.ts';
import { DURATION, isInRange, LONGEST, toMs } from './duration.ts';

export interface KeyMeta {
  /** What it means, without a full stop at its end. */
  readonly description: string;
  /** For whoever got its value wrong. */
  readonly hint?: string;
  /** What the AWS proxy prints when it is missing or of the wrong type. */
  readonly head?: string;
  /** What may be written there, in documentation; lists and maps tell it themselves. */
  readonly type?: string;
  /** The default in documentation, where it is not one value. */
  readonly absent?: string;
  /** Keywords of JSON Schema that its type does not give. */
  readonly json?: Readonly<Record<string, unknown>>;
}

/**
 * Why a value cannot be taken. One of the wrong type has no hint of its own and gets that of its key, behind the phrase
 * of the AWS proxy, `headed` also others; where the type is right and the value means nothing, that proxy has no phrase.
 */
export interface Wrong extends Pick<Malformed, 'problem'> {
  readonly hint?: string;
  readonly headed?: boolean;
}

/** A value that is not further divided. */
export interface Scalar<Out> {
  readonly kind: 'scalar';
  readonly meta: KeyMeta;
  /** Gets whatever stands there, undefined too. */
  readonly parse: (value: unknown) => Out | Wrong;
}

export interface List<Item extends Schema> {
  readonly kind: 'list';
  readonly meta: KeyMeta;
  readonly item: Item;
  readonly size: ListSize;
}

/** How many items there may be; absent: any number. */
export interface ListSize {
  /** What is wrong with none. */
  readonly empty?: Wrong;
  readonly most?: { readonly count: number; readonly problem: string };
}

export interface MapOf<Keys extends Shape> {
  readonly kind: 'map';
  readonly meta: KeyMeta;
  readonly keys: Keys;
}

export type Shape = Readonly<Record<string, Schema>>;

/** What may be left out. */
export interface Optional<Inner extends Schema> {
  readonly kind: 'optional';
  readonly inner: Inner;
}

/** What stands for `written` where it is left out. */
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

/** The type of what comes out. */
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

/** @param written as it would stand in the file */
export function defaulted<Inner extends Schema>(inner: Inner, written: unknown): Defaulted<Inner> {
  return { kind: 'defaulted', inner, written };
}

export const MISSING = 'missing';
/** The type of a key that is known and does nothing. */
export const NOT_USED = 'not used';

/** For a value of the wrong type. */
export function expected(what: string, found: unknown): Wrong {
  return { problem: found === undefined ? MISSING : `expected ${what}, found ${showValue(found)}` };
}

/** Text that `parse` understands. */
export function text<const Parsed>(what: string, meta: KeyMeta, parse: (text: string) => Parsed) {
  return scalar({ ...meta, json: { type: 'string', ...meta.json } }, (value) =>
    typeof value === 'string' ? parse(value) : expected(what, value),
  );
}

/** A whole number in its range. */
export function wholeNumber(meta: KeyMeta, { min, max }: { readonly min: number; readonly max: number }) {
  const range = `${min}–${max}`;
  const json = { type: 'integer', minimum: min, maximum: max, ...meta.json };
  const hint = `write a whole number from ${min} to ${max}`;
  return scalar({ type: `whole number, ${range}`, hint, ...meta, json }, (value): number | Wrong => {
    if (typeof value !== 'number' || !Number.isInteger(value)) return expected('a whole number', value);
    return value < min || value > max ? { problem: `${value} is outside ${range}` } : value;
  });
}

/** Whether something is so. */
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

/** Whole seconds, or a whole number with its unit; comes out as milliseconds. */
export function duration(shortest: '0' | '1ms', meta: KeyMeta) {
  const json = { type: ['integer', 'string'], minimum: shortest === '0' ? 0 : 1, pattern: DURATION.source };
  const hint = 'write whole seconds, or a whole number with its unit: 500ms, 10s, 5m, 1h';
  return scalar({ type: `duration, ${shortest}–${LONGEST}`, hint, ...meta, json }, (value): number | Wrong => {
    const ms = typeof value === 'string' || typeof value === 'number' ? toMs(String(value)) : undefined;
    if (ms === undefined) return expected('a duration', value);
    return isInRange(ms, shortest) ? ms : { problem: `${showValue(value)} is outside ${shortest}–${LONGEST}` };
  });
}
