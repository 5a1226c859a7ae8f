import assert from 'node:assert/strict';
import { it } from 'node:test';
import { describeFailure } from '../../src/cli/failure.ts';
import { parseProxyCommand } from '../../src/cli/proxy.ts';
import { VsockProxyError } from '../../src/errors.ts';
import { seeded } from '../random.ts';

const ROUNDS = 5000;
/** Change it to look elsewhere; a failure names its command line. */
const SEED = 20260102;

const random = seeded(SEED);
const below = (limit: number) => Math.floor(random() * limit);
const pick = <T>(from: readonly T[]): T => from[below(from.length)] as T;

/** Words that lead deep into the parser; the rest is noise. */
const WORDS = [
  ...['8000', '443', '3', '16', '0', '4294967295', '4294967296', '65536', '-1', '+8000', '1e3', '0x1f', '١'],
  ...['kms.eu-west-1.amazonaws.com', 'localhost', 'bücher.example', '127.0.0.1', '::1', '[::1]', '127.1', 'a..b', '.'],
  ...['unix:/tmp/x', 'unix:', 'tcp:127.0.0.1:0', 'tcp:[::1]:80', 'tcp:', 'tcp:[', 'tcp:]:'],
  ...[
    '-4',
    '-6',
    '-46',
    '-w',
    '-w4',
    '-w=4',
    '-w0',
    '--num_workers',
    '--num_workers=',
    '--config',
    '--config=x',
    '-h',
    '-V',
  ],
  ...[
    '--help',
    '--version',
    '--cid',
    '--cid=any',
    '--cid=local',
    '--cid=-1',
    '--',
    '-',
    '---',
    '--=',
    '--=x',
    '-=',
    '-4w',
  ],
  ...['help', 'constructor', '__proto__', '--__proto__', '--constructor=1', '--no-ipv4', '--hasOwnProperty', ''],
];
const CHARACTERS = [
  'a',
  '8',
  '.',
  ':',
  '-',
  '=',
  '/',
  '"',
  "'",
  '\\',
  '\n',
  '\r',
  '\t',
  '\x1b',
  '\0',
  '\u202e',
  '\ud800',
  'ü',
  '🦊',
  ' ',
  '%',
  '$',
  '{',
  '[',
];

function word(): string {
  if (random() < 0.7) return pick(WORDS);
  if (random() < 0.02) return pick(CHARACTERS).repeat(below(100_000));
  const noise = Array.from({ length: below(12) }, () => pick(CHARACTERS)).join('');
  return random() < 0.5 ? noise : pick(WORDS) + noise;
}

it(`whatever the command line, the outcome is options, a text, or one clear line (${ROUNDS} of seed ${SEED})`, () => {
  const outcomes = { proxy: 0, text: 0, usage: 0, argument: 0 };
  for (let round = 0; round < ROUNDS; round += 1) {
    const argv = random() < 0.3 ? ['8000', 'localhost', '443'] : [];
    for (let words = below(6); words > 0; words -= 1) argv.splice(below(argv.length + 1), 0, word());
    const shown = JSON.stringify(argv).slice(0, 1000);
    try {
      const invocation = parseProxyCommand(argv, '1.2.3');
      outcomes[invocation.kind] += 1;
      if (invocation.kind === 'text') {
        assert.match(invocation.text, /^(Usage: vsock-proxy|vsock-proxy 1\.2\.3\n$)/, shown);
      } else {
        const { listenOn, target, connections = 1 } = invocation.arguments;
        assert.ok(target.port >= 1 && target.port <= 65535, shown);
        assert.ok(listenOn.family !== 'vsock' || (listenOn.port >= 4 && listenOn.port < 2 ** 32 - 1), shown);
        assert.ok(Number.isInteger(connections) && connections >= 1, shown);
      }
    } catch (error) {
      if (!(error instanceof VsockProxyError)) throw new Error(`${error} for ${shown}`, { cause: error });
      assert.ok(error.code === 'usage' || error.code === 'argument', shown);
      outcomes[error.code] += 1;
      const { text, exitStatus } = describeFailure(error, false);
      const lines = text.split('\n').slice(0, -1);
      assert.equal(exitStatus, error.code === 'usage' ? 2 : 1, shown);
      assert.equal(lines.length, error.code === 'usage' ? 2 : 1, shown);
      for (const line of [error.line, ...lines]) assert.doesNotMatch(line, /\p{C}/u, shown);
    }
  }
  // A fuzzer that reaches only one of them proves nothing about the others.
  for (const [outcome, times] of Object.entries(outcomes)) assert.ok(times > ROUNDS / 100, `${outcome}: ${times}`);
});
