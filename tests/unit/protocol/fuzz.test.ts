/** Whatever bytes come: no exception, no broken promise (tests/fuzz/targets.ts), and no other reading by another parser. */
import assert from 'node:assert/strict';
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { duplexPair } from 'node:stream';
import { suite, test } from 'node:test';
import type { Framing } from '../../../src/protocol/framing.ts';
import { parseRequest } from '../../../src/protocol/http-request.ts';
import { parseResponse } from '../../../src/protocol/http-response.ts';
import { readCorpus } from '../../fuzz/corpus.ts';
import { mutate } from '../../fuzz/mutation.ts';
import { TARGETS, type Target } from '../../fuzz/targets.ts';
import { seeded } from '../../random.ts';
import { parseEachPrefix } from './fixture.ts';

const ROUNDS = 4000;
const SEED = 20_261_120;

function* mutants(target: Target, rounds: number, seed: number): Generator<Buffer> {
  const random = seeded(seed);
  const { seeds, fragments } = target;
  const inputs = [...seeds, ...readCorpus(target.name)];
  for (let round = 0; round < rounds; round++) {
    // Of the corpus most is refused, and so are its mutants.
    const from = round % 4 === 0 ? inputs : seeds;
    yield mutate(from[Math.floor(random() * from.length)] ?? Buffer.alloc(0), random, inputs, fragments);
  }
}

for (const target of TARGETS) {
  suite(`any ${target.name}`, { timeout: 60_000 }, () => {
    test('of the kept corpus keeps every promise', () => {
      const corpus = readCorpus(target.name);
      assert.ok(corpus.length > 100, `${corpus.length} inputs`);
      const outcomes = new Set(corpus.map((input) => target.check(input)));
      // 431 takes inputs larger than those that are kept.
      assert.deepEqual([...outcomes].sort(), target.outcomes.filter((outcome) => outcome !== 'malformed 431').sort());
    });

    test(`of ${ROUNDS} mutants keeps every promise`, (context) => {
      const outcomes = new Map<string, number>();
      for (const mutant of mutants(target, ROUNDS, SEED)) {
        let outcome: string;
        try {
          outcome = target.check(mutant);
        } catch (error) {
          throw new Error(`for ${JSON.stringify(mutant.toString('latin1'))}`, { cause: error });
        }
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      }
      context.diagnostic(JSON.stringify(Object.fromEntries(outcomes)));
      for (const outcome of target.outcomes) {
        assert.ok((outcomes.get(outcome) ?? 0) > 1, `${outcome}: ${outcomes.get(outcome)}`);
      }
    });
  });
}

/** How Node's own parser (llhttp, strict) reads a message; undefined: not at all. */
interface Reading {
  readonly line: string;
  readonly fields: readonly string[];
  readonly body: string;
}

/** A body in this framing with its content, or undefined for one that would be too much. */
function bodyFor(framing: Framing): { readonly bytes: string; readonly content: string } | undefined {
  if (framing.kind === 'none') return { bytes: '', content: '' };
  if (framing.kind === 'chunked') return { bytes: '5\r\nhello\r\n0\r\n\r\n', content: 'hello' };
  if (framing.kind === 'eof') return { bytes: 'hello', content: 'hello' };
  return framing.bytes > 1000 ? undefined : { bytes: 'x'.repeat(framing.bytes), content: 'x'.repeat(framing.bytes) };
}

function fieldsOf(head: Buffer): readonly string[] {
  return head
    .toString('latin1')
    .slice(0, -4)
    .split('\r\n')
    .slice(1)
    .map((line) => line.replace(/:[\t ]*(.*?)[\t ]*$/, ': $1'));
}

async function readMessage(message: IncomingMessage, line: string): Promise<Reading> {
  const raw = message.rawHeaders;
  const fields = raw.flatMap((name, index) => (index % 2 === 0 ? [`${name}: ${raw[index + 1]}`] : []));
  let body = '';
  for await (const chunk of message.setEncoding('latin1')) body += chunk;
  return { line, fields, body };
}

function readRequestByNode(bytes: Buffer): Promise<Reading | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<Reading | undefined>();
  const server = createServer({ maxHeaderSize: 1 << 16 });
  const read = (message: IncomingMessage, response: ServerResponse) => {
    const line = `${message.method} ${message.url} HTTP/${message.httpVersion}`;
    readMessage(message, line)
      .then(resolve, reject)
      .finally(() => response.end());
  };
  server.on('request', read).on('checkExpectation', read);
  server.on('clientError', () => resolve(undefined));
  const [client, connection] = duplexPair();
  server.emit('connection', connection);
  client.resume();
  client.write(bytes);
  return promise.finally(() => client.destroy());
}

function readResponseByNode(bytes: Buffer): Promise<Reading | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<Reading | undefined>();
  const [server, connection] = duplexPair();
  const request = httpRequest({ createConnection: () => connection, maxHeaderSize: 1 << 16 });
  request.on('error', () => resolve(undefined));
  request.on('response', (message) => {
    readMessage(message, `HTTP/${message.httpVersion} ${message.statusCode} ${message.statusMessage}`).then(
      resolve,
      reject,
    );
  });
  request.end();
  server.resume();
  server.end(bytes);
  return promise.finally(() => server.destroy());
}

suite('what goes on is read in the same way by another parser', { timeout: 60_000 }, () => {
  const [requests, responses] = TARGETS as readonly [Target, Target, ...(readonly Target[])];
  const ASKED = { method: 'GET', keepAlive: true, version: '1.1' } as const;

  test('requests', async () => {
    let compared = 0;
    for (const mutant of mutants(requests, ROUNDS, SEED + 1)) {
      const request = parseRequest(mutant);
      const body = request.kind === 'forward' ? bodyFor(request.body) : undefined;
      if (request.kind !== 'forward' || body === undefined) continue;
      const reading = await readRequestByNode(Buffer.concat([request.head, Buffer.from(body.bytes)]));
      // It knows fewer methods; to refuse is not to read otherwise.
      if (reading === undefined) continue;
      const line = request.head.toString('latin1').split('\r\n', 1)[0];
      assert.deepEqual(reading, { line, fields: fieldsOf(request.head), body: body.content });
      compared++;
    }
    assert.ok(compared > 100, `${compared} compared`);
  });

  test('responses', async () => {
    let compared = 0;
    for (const mutant of mutants(responses, ROUNDS, SEED + 2)) {
      const response = parseResponse(mutant, ASKED);
      const body = response.kind === 'final' ? bodyFor(response.body) : undefined;
      if (response.kind !== 'final' || body === undefined) continue;
      const reading = await readResponseByNode(Buffer.concat([response.head, Buffer.from(body.bytes)]));
      if (reading === undefined) continue;
      const line = response.head.toString('latin1').split('\r\n', 1)[0];
      assert.deepEqual(reading, { line, fields: fieldsOf(response.head), body: body.content });
      compared++;
    }
    assert.ok(compared > 100, `${compared} compared`);
  });
});

test('the kept corpus gives the same verdicts at every cut', () => {
  for (const input of readCorpus('request')) parseEachPrefix(parseRequest, input);
});
