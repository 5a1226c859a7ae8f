import assert from 'node:assert/strict';
import { it } from 'node:test';
import { parseCheckCommand } from '../../../src/commands/check/check.ts';
import { describeFailure } from '../../../src/commands/failure.ts';
import { parseProxyCommand } from '../../../src/commands/proxy.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';
import { seeded } from '../../random.ts';

const ROUNDS = 5000;
/** Change it to try other cases. A failure prints its command line. */
const SEED = 20260102;

const random = seeded(SEED);
const below = (limit: number) => Math.floor(random() * limit);
const pick = <T>(from: readonly T[]): T => from[below(from.length)] as T;

/** Words that lead deep into the parser; the other words are noise. */
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
  ...['--resolve', '--json', '--enclave-cid', '--listener', '--listener=vsock:any:8000', 'vsock:3', 'systemd:x'],
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

/** Words in any order, often with some that belong together. */
function commandLine(base: readonly string[]): { readonly argv: readonly string[]; readonly shown: string } {
  const argv = random() < 0.3 ? [...base] : [];
  for (let words = below(6); words > 0; words -= 1) argv.splice(below(argv.length + 1), 0, word());
  return { argv, shown: JSON.stringify(argv).slice(0, 1000) };
}

/** @returns the code of the error */
function judgeRefusal(error: unknown, shown: string): 'usage' | 'argument' {
  if (!(error instanceof VsockProxyError)) throw new Error(`${error} for ${shown}`, { cause: error });
  assert.ok(error.code === 'usage' || error.code === 'argument', shown);
  const { text, exitStatus } = describeFailure(error, false);
  const lines = text.split('\n').slice(0, -1);
  assert.equal(exitStatus, error.code === 'usage' ? 2 : 1, shown);
  assert.equal(lines.length, error.code === 'usage' ? 2 : 1, shown);
  for (const line of [error.line, ...lines]) assert.doesNotMatch(line, /\p{C}/u, shown);
  return error.code;
}

/** A fuzzer that reaches only some of these proves nothing about the others. */
function assertReached(outcomes: Readonly<Record<string, number>>): void {
  for (const [outcome, times] of Object.entries(outcomes)) assert.ok(times > ROUNDS / 100, `${outcome}: ${times}`);
}

it(`whatever the command line, the outcome is options, a text, or one clear line (${ROUNDS} of seed ${SEED})`, () => {
  const outcomes = { proxy: 0, text: 0, usage: 0, argument: 0 };
  for (let round = 0; round < ROUNDS; round += 1) {
    const { argv, shown } = commandLine(['8000', 'localhost', '443']);
    try {
      const invocation = parseProxyCommand(argv, '1.2.3');
      outcomes[invocation.kind] += 1;
      if (invocation.kind === 'text') {
        assert.match(
          invocation.text,
          /^(Usage: vsock-proxy|vsock-proxy 1\.2\.3\nVsock-TCP proxy 1\.0\.2 [^\n]*\n$)/,
          shown,
        );
      } else {
        const { listenOn, target, connections = 1 } = invocation.arguments;
        assert.ok(target.port >= 1 && target.port <= 65535, shown);
        assert.ok(listenOn.family !== 'vsock' || (listenOn.port >= 4 && listenOn.port < 2 ** 32 - 1), shown);
        assert.ok(Number.isInteger(connections) && connections >= 1, shown);
      }
    } catch (error) {
      outcomes[judgeRefusal(error, shown)] += 1;
    }
  }
  assertReached(outcomes);
});

it(`the same for check (${ROUNDS} of seed ${SEED})`, () => {
  const outcomes = { run: 0, text: 0, usage: 0 };
  for (let round = 0; round < ROUNDS; round += 1) {
    const { argv, shown } = commandLine(['localhost', '443', '--cid', '16', '--listener', 'vsock:8000']);
    try {
      const parsed = parseCheckCommand(argv);
      outcomes[parsed.kind] += 1;
      if (parsed.kind === 'text') continue;
      const { target, cid = 0, enclaveCid = 1, listener } = parsed.arguments;
      assert.ok(target === undefined || (target.port >= 1 && target.port <= 65535), shown);
      assert.ok(cid >= 0 && cid < 2 ** 32 - 1 && enclaveCid >= 1 && enclaveCid < 2 ** 32 - 1, shown);
      assert.ok(target !== undefined || listener === undefined, shown);
    } catch (error) {
      // An argument that makes no sense must not pass for a verdict, which is status 1.
      assert.equal(judgeRefusal(error, shown), 'usage', shown);
      outcomes.usage += 1;
    }
  }
  assertReached(outcomes);
});
