/**
 * An index of rules by their addresses. A decision takes as long for thousands of rules as for a few. The result is
 * that of a walk over the list: the first matching rule, in the order of the file.
 *
 * The index holds positions of the list instead of rules. They keep the order, and take no memory of their own.
 */
import { formatHost, type Hostname, type IpAddress, type TargetHost } from './address.ts';
import type { Cidr } from './cidr.ts';
import type { NamePattern } from './pattern.ts';
import type { Rule } from './rules.ts';

/**
 * The first suitable rule whose address matches. A rule for exactly this name or IP address comes first, wherever it is
 * in the list; then come patterns or ranges, in order. Names match names only, and IP addresses match IP addresses
 * only.
 */
export function findRule(rules: readonly Rule[], host: TargetHost, suits: (rule: Rule) => boolean): Rule | undefined {
  if (rules.length === 0) return undefined;
  const index = indexOf(rules);
  const first = (positions: readonly number[]): Rule | undefined => {
    for (const position of positions) {
      const rule = rules[position];
      if (rule !== undefined && suits(rule)) return rule;
    }
    return undefined;
  };
  return first(index.exact(host)) ?? first(host.kind === 'name' ? index.patterns(host.name) : index.ranges(host.ip));
}

const INDEXES = new WeakMap<readonly Rule[], RuleIndex>();

function indexOf(rules: readonly Rule[]): RuleIndex {
  let index = INDEXES.get(rules);
  if (index === undefined) {
    index = new RuleIndex(rules);
    INDEXES.set(rules, index);
  }
  return index;
}

const NONE: readonly number[] = [];

/** The positions of rules with the same address. There is usually one, which needs no list. */
type Positions = number | number[];

function withPosition(positions: Positions | undefined, position: number): Positions {
  if (positions === undefined) return position;
  if (typeof positions === 'number') return [positions, position];
  positions.push(position);
  return positions;
}

function listOf(positions: Positions | undefined): readonly number[] {
  if (positions === undefined) return NONE;
  return typeof positions === 'number' ? [positions] : positions;
}

/** Each part is built when it is first used. Positions are returned in ascending order. */
class RuleIndex {
  readonly #rules: readonly Rule[];
  #exact: Map<string, Positions> | undefined;
  #patterns: PatternTree | undefined;
  #ranges: { readonly 4: RangeTable; readonly 6: RangeTable } | undefined;

  constructor(rules: readonly Rule[]) {
    this.#rules = rules;
  }

  exact(host: TargetHost): readonly number[] {
    this.#exact ??= this.#makeExact();
    return listOf(this.#exact.get(formatHost(host)));
  }

  patterns(name: Hostname): readonly number[] {
    this.#patterns ??= this.#makePatterns();
    return this.#patterns.find(name);
  }

  ranges(ip: IpAddress): readonly number[] {
    this.#ranges ??= { 4: this.#makeRanges(4), 6: this.#makeRanges(6) };
    return this.#ranges[ip.family].find(ip);
  }

  /** Names and IP addresses share one map, because no text is both. */
  #makeExact(): Map<string, Positions> {
    const exact = new Map<string, Positions>();
    for (const [position, { address }] of this.#rules.entries()) {
      if (address.kind !== 'name' && address.kind !== 'ip') continue;
      const text = formatHost(address);
      exact.set(text, withPosition(exact.get(text), position));
    }
    return exact;
  }

  #makePatterns(): PatternTree {
    const tree = new PatternTree();
    for (const [position, { address }] of this.#rules.entries()) {
      if (address.kind === 'pattern') tree.add(address.pattern, position);
    }
    return tree;
  }

  #makeRanges(family: 4 | 6): RangeTable {
    const ranges = this.#rules.flatMap(({ address }, position) =>
      address.kind === 'cidr' && address.cidr.network.family === family ? [{ cidr: address.cidr, position }] : [],
    );
    return new RangeTable(family, ranges);
  }
}

/** A node of the tree of labels, from the right. Its children are the labels to its left. */
class PatternNode {
  /** Children by label. */
  literals: Map<string, PatternNode> | undefined = undefined;
  /** The child for `*`. */
  one: PatternNode | undefined = undefined;
  /** The child for `**`. */
  more: PatternNode | undefined = undefined;
  /** Whether this node stands for `**`, and so matches further labels. */
  readonly takesMore: boolean;
  /** The positions of the patterns that end here. */
  positions: Positions | undefined = undefined;

  constructor(takesMore: boolean) {
    this.takesMore = takesMore;
  }
}

/** Patterns with the same ending share nodes, so the names of one domain differ only below its node. */
class PatternTree {
  readonly #root = new PatternNode(false);
  #isEmpty = true;

  add({ labels }: NamePattern, position: number): void {
    this.#isEmpty = false;
    const node = labels.reduceRight(childFor, this.#root);
    node.positions = withPosition(node.positions, position);
  }

  /** Follows all paths at the same time, in at most (labels of the name) × (nodes) steps. */
  find(name: Hostname): readonly number[] {
    if (this.#isEmpty) return NONE;
    let nodes = new Set([this.#root]);
    for (const label of name.split('.').reverse()) {
      const next = new Set<PatternNode>();
      for (const node of nodes) {
        if (node.takesMore) next.add(node);
        const literal = node.literals?.get(label);
        if (literal !== undefined) next.add(literal);
        if (node.one !== undefined) next.add(node.one);
        if (node.more !== undefined) next.add(node.more);
      }
      if (next.size === 0) return NONE;
      nodes = next;
    }
    const found: number[] = [];
    for (const { positions } of nodes) if (positions !== undefined) found.push(...listOf(positions));
    return found.sort(ascending);
  }
}

function childFor(node: PatternNode, label: string): PatternNode {
  switch (label) {
    case '*':
      node.one ??= new PatternNode(false);
      return node.one;
    case '**':
      node.more ??= new PatternNode(true);
      return node.more;
    default: {
      node.literals ??= new Map();
      const child = node.literals.get(label) ?? new PatternNode(false);
      node.literals.set(label, child);
      return child;
    }
  }
}

/**
 * The ranges of one family, sorted by their first address, wider ranges first. Two ranges are either disjoint, or one
 * contains the other. So the candidates for an address are the last range that begins at or before it, and the ranges
 * around that one.
 */
class RangeTable {
  /** The positions of the rules. */
  readonly #positions: Uint32Array;
  /** The first and last addresses, each as this many words of 32 bits. */
  readonly #width: 1 | 4;
  readonly #starts: Uint32Array;
  readonly #ends: Uint32Array;
  /** For each range, the index of the narrowest range around it; -1 if there is none. */
  readonly #around: Int32Array;

  constructor(family: 4 | 6, ranges: readonly { readonly cidr: Cidr; readonly position: number }[]) {
    const width = family === 4 ? 1 : 4;
    const sorted = ranges
      .map(({ cidr, position }) => ({ start: maskWords(cidr, 0), cidr, position }))
      .sort(
        (one, other) =>
          compareWords(one.start, 0, other.start, 0, width) ||
          one.cidr.prefixLength - other.cidr.prefixLength ||
          one.position - other.position,
      );
    this.#width = width;
    this.#positions = Uint32Array.from(sorted, ({ position }) => position);
    this.#starts = Uint32Array.from(sorted.flatMap(({ start }) => start));
    this.#ends = Uint32Array.from(sorted.flatMap(({ cidr }) => maskWords(cidr, 0xffff_ffff)));
    this.#around = new Int32Array(sorted.length);
    for (const [at, { start }] of sorted.entries()) this.#around[at] = this.#narrowest(start, at - 1);
  }

  find({ words }: IpAddress): readonly number[] {
    const found: number[] = [];
    for (let at = this.#narrowest(words, this.#lastFrom(words)); at >= 0; at = this.#around[at] ?? -1) {
      found.push(this.#positions[at] ?? 0);
    }
    return found.sort(ascending);
  }

  /** The index of the last range that begins at or before this address; -1 if there is none. */
  #lastFrom(words: readonly number[]): number {
    let [low, high] = [0, this.#positions.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareWords(this.#starts, middle * this.#width, words, 0, this.#width) <= 0) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** The index of the first range that contains the address: the range at `from`, the one around it, and so on. */
  #narrowest(words: readonly number[], from: number): number {
    let at = from;
    while (at >= 0 && compareWords(this.#ends, at * this.#width, words, 0, this.#width) < 0)
      at = this.#around[at] ?? -1;
    return at;
  }
}

type Words = Readonly<ArrayLike<number>>;

/** The words of the network, with all bits after the prefix 0 or 1. */
function maskWords({ network, prefixLength }: Cidr, fill: 0 | 0xffff_ffff): number[] {
  return network.words.map((word, index) => {
    const free = Math.min(Math.max(32 * (index + 1) - prefixLength, 0), 32);
    const mask = 2 ** free - 1;
    return ((word & ~mask) | (fill & mask)) >>> 0;
  });
}

/** Negative, 0 or positive, if `one` is less than, equal to, or greater than `other`. */
function compareWords(one: Words, oneAt: number, other: Words, otherAt: number, width: number): number {
  for (let index = 0; index < width; index += 1) {
    const difference = (one[oneAt + index] ?? 0) - (other[otherAt + index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function ascending(one: number, other: number): number {
  return one - other;
}
