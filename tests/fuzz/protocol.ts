/**
 * protocol.ts [--keep] [ROUNDS [SEED]]: fuzzes the protocol parsers, guided by coverage; part of `make fuzz`.
 *
 * An input that reaches a block of code that none has reached before, or one of them markedly more often, makes others.
 * With --keep the inputs that cover something alone become the new corpus, which the unit tests replay.
 */
import { Session } from 'node:inspector';
import { parseArgs } from 'node:util';
import { seeded } from '../random.ts';
import { readCorpus, writeCorpus } from './corpus.ts';
import { mutate } from './mutation.ts';
import { TARGETS, type Target } from './targets.ts';

interface Coverage {
  readonly result: readonly {
    readonly url: string;
    readonly functions: readonly {
      readonly ranges: readonly { readonly startOffset: number; readonly count: number }[];
    }[];
  }[];
}

/** Larger inputs are tried, not kept: the tables of the unit tests have those that matter. */
const KEPT_BYTES = 512;

const session = new Session();
session.connect();
session.post('Profiler.enable');
session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });

/** Runs the input, and tells what it covers: for each function of the parsers which blocks ran, and not, once or often. */
function cover(target: Target, input: Uint8Array): readonly string[] {
  takeCoverage();
  try {
    target.check(input);
  } catch (error) {
    console.error(`${target.name} fails for this input, a byte a character:`);
    console.error(JSON.stringify(Buffer.from(input).toString('latin1')));
    throw error;
  }
  const covered = new Set<string>();
  for (const { url, functions } of takeCoverage().result) {
    if (!url.includes('/src/protocol/')) continue;
    for (const { ranges } of functions) {
      const blocks = ranges.map(({ startOffset, count }) => `${startOffset}${count > 1 ? '+' : `=${count}`}`);
      covered.add(`${url.slice(url.lastIndexOf('/'))} ${blocks.join(' ')}`);
    }
  }
  return [...covered];
}

/** What has run since the last call. Sessions of one's own thread answer at once. */
function takeCoverage(): Coverage {
  let coverage: Coverage = { result: [] };
  session.post('Profiler.takePreciseCoverage', (error, result) => {
    if (error !== null) throw error;
    coverage = result;
  });
  return coverage;
}

interface Kept {
  readonly input: Uint8Array;
  readonly covered: readonly string[];
}

function fuzz(target: Target, rounds: number, random: () => number, keep: boolean): void {
  const seen = new Set<string>();
  const kept: Kept[] = [];
  const consider = (input: Uint8Array) => {
    const covered = cover(target, input);
    if (input.length > KEPT_BYTES || covered.every((part) => seen.has(part))) return;
    for (const part of covered) seen.add(part);
    kept.push({ input, covered });
  };
  for (const input of [...target.seeds, ...readCorpus(target.name)]) consider(input);
  const before = seen.size;
  for (let round = 0; round < rounds; round++) {
    // The newest inputs are the least explored.
    const index = Math.floor(kept.length * Math.sqrt(random()));
    const inputs = kept.map(({ input }) => input);
    consider(mutate(inputs[index] ?? Buffer.alloc(0), random, inputs, target.fragments));
  }
  console.log(`${target.name}: ${rounds} inputs, ${seen.size} coverings, ${seen.size - before} of them new`);
  if (keep) writeCorpus(target.name, smallest(kept, seen));
}

/** The smallest of these inputs that cover all of it together, nearly. */
function smallest(kept: readonly Kept[], all: ReadonlySet<string>): readonly Uint8Array[] {
  const missing = new Set(all);
  return kept
    .toSorted((a, b) => a.input.length - b.input.length)
    .flatMap(({ input, covered }) => (covered.filter((part) => missing.delete(part)).length > 0 ? [input] : []));
}

const { values, positionals } = parseArgs({
  options: { keep: { type: 'boolean', default: false } },
  allowPositionals: true,
});
const [rounds = '20000', seed = '1'] = positionals;
for (const target of TARGETS) fuzz(target, Number(rounds), seeded(Number(seed)), values.keep);
