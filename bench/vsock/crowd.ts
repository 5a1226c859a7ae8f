/**
 * Runs in a test machine, which may have as many descriptors as it likes: measures crowds of idle connections, and prints each
 * figure as a line of JSON.
 *
 * crowd.ts EXECUTABLE CONNECTIONS ROUNDS
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crowds } from '../crowd.ts';

const [executable = '', many, rounds] = process.argv.slice(2);
const directory = mkdtempSync(join(tmpdir(), 'crowd-'));
for await (const figure of crowds(executable, directory, { many: Number(many), rounds: Number(rounds) })) {
  process.stdout.write(`${JSON.stringify(figure)}\n`);
}
