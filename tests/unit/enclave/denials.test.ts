import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseHostname } from '../../../src/access/address.ts';
import { Denials } from '../../../src/enclave/denials.ts';
import { ManualClock, recordLog } from '../proxy/fixture.ts';

function setUp() {
  const clock = new ManualClock();
  const logged = recordLog('warn');
  const denials = new Denials(logged.logFor('vsock_proxy'), clock);
  const deny = (text: string): void => {
    const name = parseHostname(text);
    assert(typeof name === 'string');
    denials.report(name, `nothing allows ${name}`);
  };
  const take = () => logged.take().map((line) => line.replace(/^WARN /, ''));
  return { clock, denials, deny, take };
}

suite('names that were denied', () => {
  test('each have a line with the reason, and a summary what is asked for again', async () => {
    const { clock, deny, take } = setUp();
    for (const name of ['a.test', 'b.test', 'a.test', 'a.test', 'b.test']) deny(name);
    assert.deepEqual(take(), [
      'a.test was looked up, and does not exist here: nothing allows a.test',
      'b.test was looked up, and does not exist here: nothing allows b.test',
    ]);
    await clock.advance(10_000);
    assert.deepEqual(take(), ['3 more look-ups of names that are not allowed: a.test (2), b.test (1)']);
  });

  test('in a flood: ten with the reason, five in the summary, and how many there are besides', async () => {
    const { clock, deny, take } = setUp();
    for (let index = 0; index < 1000; index += 1) deny(`n${index}.test`);
    assert.equal(take().length, 10);
    await clock.advance(10_000);
    const others = 'n10.test (1), n11.test (1), n12.test (1), n13.test (1), n14.test (1), others (985)';
    assert.deepEqual(take(), [`990 more look-ups of names that are not allowed: ${others}`]);
    deny('late.test');
    assert.deepEqual(take(), []);
    await clock.advance(10_000);
    assert.deepEqual(take(), ['1 more look-up of names that are not allowed: late.test (1)']);
  });

  test('have their lines again after a period without any', async () => {
    const { clock, deny, take } = setUp();
    deny('a.test');
    await clock.advance(10_000);
    deny('a.test');
    deny('b.test');
    assert.equal(take().length, 3);
  });

  test('are summed up when the enclave ends', () => {
    const { denials, deny, take } = setUp();
    deny('a.test');
    deny('a.test');
    take();
    denials.stop();
    assert.deepEqual(take(), ['1 more look-up of names that are not allowed: a.test (1)']);
  });
});
