import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Throttle } from '../../../../src/proxy/report/throttle.ts';
import { ManualClock } from '../fixture.ts';

const PERIOD_MS = 10_000;

function setUp() {
  const clock = new ManualClock();
  const throttle = new Throttle(clock, PERIOD_MS);
  const said: string[] = [];
  const report = (key: string) =>
    throttle.report(key, {
      first: () => said.push(`${key}!`),
      again(times) {
        if (times > 0) said.push(`${key} x${times}`);
        return times > 0;
      },
    });
  return { clock, throttle, said, report };
}

describe('a trouble', () => {
  it('is told at once, and not again if it was the only one', async () => {
    const { clock, said, report } = setUp();
    report('a');
    assert.deepEqual(said, ['a!']);
    await clock.advance(10 * PERIOD_MS);
    assert.deepEqual(said, ['a!']);
    assert.equal(clock.pending, 0);
  });

  it('that goes on gives one summary per period, and then silence', async () => {
    const { clock, said, report } = setUp();
    for (let i = 0; i < 1000; i += 1) report('a');
    await clock.advance(PERIOD_MS);
    assert.deepEqual(said, ['a!', 'a x999']);
    report('a');
    report('a');
    await clock.advance(PERIOD_MS);
    assert.deepEqual(said, ['a!', 'a x999', 'a x2']);
    await clock.advance(PERIOD_MS);
    report('a');
    assert.deepEqual(said, ['a!', 'a x999', 'a x2', 'a!']);
  });

  it('does not hide another one', () => {
    const { said, report } = setUp();
    report('a');
    report('b');
    report('a');
    assert.deepEqual(said, ['a!', 'b!']);
  });

  it('that was held back is told at the end', async () => {
    const { clock, throttle, said, report } = setUp();
    report('a');
    report('a');
    report('b');
    throttle.stop();
    assert.deepEqual(said, ['a!', 'b!', 'a x1']);
    await clock.advance(PERIOD_MS);
    assert.equal(said.length, 3);
    assert.equal(clock.pending, 0);
  });
});
