/**
 * quickjs.ts [ROUNDS [SEED]]: gives DNS queries, HTTP heads and TLS ClientHellos to their parsers under QuickJS and under Node.js;
 * part of `make fuzz`. Both must say the same of each, and a parser of QuickJS answers the next input whatever this one was.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import * as packet from 'dns-packet';
import { seeded } from '../../random.ts';
import { encode } from '../../wire.ts';
import { readCorpus } from '../corpus.ts';
import { mutate } from '../mutation.ts';
import { TARGETS } from '../targets.ts';
import { outcomeOf, type ParserName } from './outcome.ts';

const PROGRAM = 'build/parsers-quickjs';

interface Inputs {
  readonly parser: ParserName;
  readonly seeds: readonly Uint8Array[];
  readonly fragments: readonly Uint8Array[];
}

const QUERIES = ['A', 'AAAA', 'ANY', 'TXT', 'SRV', 'MX', 'AXFR', 'OPT'].map((type) =>
  packet.encode({
    type: 'query',
    id: 4711,
    flags: packet.RECURSION_DESIRED,
    questions: [{ name: type === 'MX' ? 'none.example' : 'kms.example', type: type as packet.RecordType, class: 'IN' }],
    additionals: [
      {
        type: 'OPT',
        name: '.',
        udpPayloadSize: 1232,
        ednsVersion: 0,
        extendedRcode: 0,
        flags: 0,
        flag_do: false,
        options: [],
      },
    ],
  }),
);
const LABELS = ['00', 'c00c', 'ffff', '3f', '0000290200', '000100010001', '8000', '03777777'].map((hex) =>
  Buffer.from(hex, 'hex'),
);

const ALL: readonly Inputs[] = [
  ...TARGETS.map(({ name, seeds, fragments }) => ({
    parser: name as ParserName,
    seeds: [...seeds, ...readCorpus(name)],
    fragments,
  })),
  ...(['dns-udp', 'dns-tcp'] as const).map((parser) => ({ parser, seeds: QUERIES, fragments: LABELS })),
];

const [rounds = 5000, seed = 1] = process.argv.slice(2).map(Number);
const child = spawn(PROGRAM, { stdio: ['pipe', 'pipe', 'inherit'] });
const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
const exit = once(child, 'exit');

for (const { parser, seeds, fragments } of ALL) {
  const random = seeded(seed);
  const pool = [...seeds];
  const kinds = new Map<string, number>();
  for (let round = 0; round < rounds; round += 1) {
    const base = pool[Math.floor(random() * pool.length)] ?? Buffer.alloc(0);
    const bytes = round < seeds.length ? (seeds[round] ?? base) : mutate(base, random, seeds, fragments);
    if (bytes.length < 512 && random() < 0.2) pool.push(bytes); // changes on top of changes
    if (!child.stdin.write(encode({ parser, bytes }))) await once(child.stdin, 'drain');
    const answer = await Promise.race([lines.next(), exit]);
    assert(!Array.isArray(answer), `${PROGRAM} has ended at ${JSON.stringify(Buffer.from(bytes).toString('latin1'))}`);
    const expected = encode({ value: outcomeOf(parser, bytes) }).trimEnd();
    assert.equal(answer.value, expected, JSON.stringify(Buffer.from(bytes).toString('latin1')));
    const kind = /"(?:kind|thrown)":"([\w-]+)"/.exec(expected)?.[1] ?? (expected.length > 10 ? 'reply' : 'no reply');
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  }
  assert(!kinds.has('thrown'));
  console.log(
    `${parser}: ${rounds} inputs, the same under both: ${[...kinds].map((each) => each.join(' ')).join(', ')}`,
  );
}
child.stdin.end();
const [status] = await exit;
assert.equal(status, 0);
