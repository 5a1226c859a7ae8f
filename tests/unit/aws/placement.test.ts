import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { SERVICE_ADDRESSES, type ServiceAddress } from '../../../src/aws/metadata-service.ts';
import { type Placement, parseDomain, parseRegion } from '../../../src/aws/partitions.ts';
import { type PlacementOptions, readPlacement } from '../../../src/aws/placement.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';
import { ManualClock, recordLog, settle } from '../proxy/fixture.ts';

const region = parseRegion('eu-west-1');
const domain = parseDomain('amazonaws.com');
assert(region !== undefined && domain !== undefined);
const HERE: Placement = { region, domain };

interface PlacementRequest {
  readonly ip: string;
  readonly version: 1 | 2;
  readonly signal: AbortSignal;
  readonly answer: (placement: Placement) => void;
  readonly fail: (reason: unknown) => void;
}

/** Runs against a service that answers as the test says. */
function stage(options: Partial<PlacementOptions> = {}) {
  const clock = new ManualClock();
  const log = recordLog();
  let requested: PlacementRequest[] = [];
  const request = ({ ip }: ServiceAddress, { version, signal }: { version: 1 | 2; signal: AbortSignal }) => {
    const { promise, resolve, reject } = Promise.withResolvers<Placement>();
    requested.push({ ip, version, signal, answer: resolve, fail: reject });
    // As the real one does when its time is over.
    signal.addEventListener('abort', () => reject(unreachable(ip, 'no answer in time')));
    return promise;
  };
  const outcome = readPlacement(
    {
      timeoutMs: 60_000,
      version: 2,
      clock,
      random: () => 0,
      log: log.logFor('vsock_proxy'),
      elsewhere: 'give it',
      ...options,
    },
    { addresses: SERVICE_ADDRESSES, request },
  );
  outcome.catch(() => undefined); // it may fail before the test looks
  /** The requests since the last time. */
  const take = (): PlacementRequest[] => {
    const taken = requested;
    requested = [];
    return taken;
  };
  /** Both addresses fail in the way of a network that is down. */
  const failRound = async (): Promise<void> => {
    for (const { ip, fail } of take()) fail(unreachable(ip, 'ENETUNREACH'));
    await settle();
  };
  return { clock, log, outcome, take, failRound };
}

function unreachable(ip: string, problem: string): VsockProxyError {
  return new VsockProxyError('metadata', `${ip}: ${problem}`, { errno: 'ENETUNREACH' });
}

/** The error, as `code: line`. */
async function refusal(outcome: Promise<Placement>): Promise<string> {
  const error: unknown = await outcome.then(
    () => assert.fail('there was an answer'),
    (reason: unknown) => reason,
  );
  assert(error instanceof VsockProxyError, String(error));
  return `${error.code}: ${error.line}`;
}

suite('while the metadata service does not answer', () => {
  test('the request is repeated after 250 ms, then after twice as long each time, at most after 5 s', async () => {
    const { clock, take, failRound } = stage({ timeoutMs: 0 });
    for (const pauseMs of [250, 500, 1000, 2000, 4000, 5000, 5000]) {
      await failRound();
      await clock.advance(pauseMs - 1);
      assert.deepEqual(take(), []);
      await clock.advance(1);
    }
    assert.equal(take().length, 2);
  });

  test('pauses are up to half as long by chance, so that the requests of instances are not in step', async () => {
    const { clock, take, failRound } = stage({ random: () => 0.999 });
    await failRound();
    await clock.advance(126);
    assert.equal(take().length, 2);
  });

  test('an attempt ends after 5 s, whatever the service does', async () => {
    const { clock, take } = stage();
    const [question] = take();
    await clock.advance(4999);
    assert.equal(question?.signal.aborted, false);
    await clock.advance(1);
    assert.equal(question?.signal.aborted, true);
    assert.deepEqual(take(), []);
    await clock.advance(250);
    assert.equal(take().length, 2);
  });

  test('the log says so at once, and then once a minute', async () => {
    const { clock, log, failRound } = stage({ timeoutMs: 0 });
    await failRound();
    const reason =
      '169.254.169.254: ENETUNREACH; fd00:ec2::254: ENETUNREACH. Hint: on EC2, the metadata service must be';
    const [first, ...others] = log.take();
    assert.match(first ?? '', new RegExp(`^WARN Waiting for the metadata service: ${reason}`));
    assert.deepEqual(others, []);
    for (let second = 1; second <= 180; second += 1) {
      await clock.advance(1000);
      await failRound();
    }
    const later = log.take();
    assert.equal(later.length, 2, later.join('\n'));
    assert.match(later[0] ?? '', /^WARN Waiting for the metadata service, 6\d s so far: /);
    assert.match(later[1] ?? '', /^WARN Waiting for the metadata service, 1[23]\d s so far: /);
  });

  test('it gives up when the time is over, with what was tried and the last reason', async () => {
    const { clock, log, outcome, take, failRound } = stage({ timeoutMs: 2000 });
    await failRound();
    assert.match(log.take()[0] ?? '', /^WARN Waiting for the metadata service, 2 s at most: /);
    await clock.advance(250);
    const [ipv4, ipv6] = take();
    ipv4?.fail(new VsockProxyError('metadata', '169.254.169.254: it is disabled', { hint: 'enable it' }));
    ipv6?.fail(unreachable(ipv6.ip, 'ENETUNREACH'));
    await clock.advance(1750);
    assert.equal(
      await refusal(outcome),
      'metadata: The metadata service did not tell the region within 2 s (3 attempts): ' +
        '169.254.169.254: it is disabled. Hint: enable it',
    );
    assert.equal(clock.pending, 0);
  });

  test('it gives up in the middle of an attempt, too', async () => {
    const { clock, outcome, take } = stage({ timeoutMs: 1000 });
    await clock.advance(1000);
    assert.match(
      await refusal(outcome),
      /within 1 s \(1 attempt\): 169\.254\.169\.254: no answer in time; fd00:ec2::254: /,
    );
    assert.deepEqual(
      take().map(({ signal }) => signal.aborted),
      [true, true],
    );
    assert.equal(clock.pending, 0);
  });

  test('with a timeout of 0 it never gives up', async () => {
    const { clock, take, failRound } = stage({ timeoutMs: 0 });
    for (let round = 0; round < 100; round += 1) {
      await failRound();
      await clock.advance(5000);
    }
    assert.equal(take().length, 2);
  });

  test('a fault of the program is no reason to go on', async () => {
    const { outcome, take } = stage({ timeoutMs: 0 });
    for (const { fail } of take()) fail(new TypeError('odd'));
    await assert.rejects(outcome, AggregateError);
  });
});

suite('the metadata service', () => {
  test('both addresses get a request at once, and the first good answer ends the other request', async () => {
    const { clock, log, outcome, take } = stage({ version: 1 });
    const questions = take();
    assert.deepEqual(
      questions.map(({ ip, version }) => ({ ip, version })),
      [
        { ip: '169.254.169.254', version: 1 },
        { ip: 'fd00:ec2::254', version: 1 },
      ],
    );
    questions[1]?.answer(HERE);
    assert.deepEqual(await outcome, HERE);
    assert.equal(questions[0]?.signal.aborted, true);
    assert.equal(clock.pending, 0);
    assert.deepEqual(log.take(), []);
  });

  test('that answers after a while is told of, where it was told that it did not', async () => {
    const { clock, log, outcome, take, failRound } = stage();
    await failRound();
    await clock.advance(250);
    await clock.advance(1750);
    take()[0]?.answer(HERE);
    assert.deepEqual(await outcome, HERE);
    assert.equal(log.take()[1], 'INFO The metadata service answered after 2 s');
  });
});
