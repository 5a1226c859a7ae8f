import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Destinations } from '../../src/control/destinations.ts';
import type { NameCache } from '../../src/dns/cache.ts';
import { decideTarget } from '../../src/policy/decision.ts';
import { policy } from './policy-fixture.ts';

/** For targets that need no name. */
const NO_NAMES: NameCache = {
  lookUp() {
    throw new Error('nothing is to be resolved');
  },
  size: 0,
  stop: () => undefined,
};

async function find(allow: readonly string[], host: string, port = 443) {
  const destinations = new Destinations({
    policy: policy(allow),
    family: 'any',
    names: NO_NAMES,
    decide: decideTarget,
  });
  const found = await destinations.find(host, port, {});
  return found.kind === 'allowed' ? found.addresses : found.kind;
}

suite('IP addresses that clients ask for', () => {
  for (const host of ['127.0.0.1', '169.254.169.254', '::1', 'fd00:ec2::254', '::ffff:169.254.169.254', '0.0.0.0']) {
    test(`denied: ${host}, where all addresses are allowed`, async () => {
      assert.equal(await find(['0.0.0.0/0', '::/0'], host), 'denied');
    });
  }
  for (const host of ['2130706433', '127.1', '0x7f.1']) {
    test(`malformed: ${host}`, async () => {
      assert.equal(await find(['0.0.0.0/0', '**'], host), 'malformed');
    });
  }
  test('allowed: a guarded address that is listed itself', async () => {
    assert.deepEqual(await find(['127.0.0.1'], '127.0.0.1'), [{ family: 'tcp', ip: '127.0.0.1', port: 443 }]);
  });
  test('allowed: any other address, where all are', async () => {
    assert.deepEqual(await find(['0.0.0.0/0'], '10.0.0.1'), [{ family: 'tcp', ip: '10.0.0.1', port: 443 }]);
  });
});
