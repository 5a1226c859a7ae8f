import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseForwardCommand } from '../../../src/commands/forward.ts';
import { formatListen } from '../../../src/config/schema/addresses.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';
import { listener, ON, setUpProxy } from '../proxy/running.ts';

function parse(...argv: readonly string[]) {
  const parsed = parseForwardCommand(argv);
  assert(parsed.kind === 'run');
  const [only] = parsed.plan.listeners;
  assert(only?.route.kind === 'address' && only.on.family !== 'systemd');
  return { ...only, ways: `${formatListen(only.on)} → ${formatListen(only.route.address)}` };
}

suite('forward', () => {
  for (const [what, expected, ...argv] of [
    ['no argument', /missing required argument 'local'/],
    ['one argument', /missing required argument 'target'/, '127.0.0.1:443'],
    ['a CID without its port', /missing required argument 'port'/, '127.0.0.1:443', '3'],
    ['a fifth word', /too many arguments: "more" is the fifth/, '127.0.0.1', '443', '3', '8001', 'more'],
    ['a port without an address', /Local address is not valid: .*Hint: /, '443', '3', '8001'],
    ['a name to listen on', /Local address is not valid/, 'localhost:443', '3', '8001'],
    ['IPv6 without brackets', /Local address is not valid/, '::1:443', '3', '8001'],
    ['a socket of systemd', /Local address is not valid/, 'systemd:x', '3', '8001'],
    ['the port of any CID', /Target is not valid/, '127.0.0.1:443', '4294967295', '8001'],
    ['port 0 of the parent', /Target is not valid/, '127.0.0.1:443', '3', '0'],
    ['a name as the target', /Target is not valid/, '127.0.0.1:443', 'kms.example:443'],
    ['no connections', /--connections/, '127.0.0.1:443', '3', '8001', '--connections', '0'],
    ['no time to connect', /--connect-timeout' wants a time/, '127.0.0.1:443', '3', '8001', '--connect-timeout', '0'],
    ['a time of months', /--idle-timeout' wants a time/, '127.0.0.1:443', '3', '8001', '--idle-timeout', '999h'],
  ] as const) {
    test(`refuses ${what}`, () => {
      assert.throws(
        () => parseForwardCommand(argv),
        (error) => error instanceof VsockProxyError && error.code === 'usage' && expected.test(error.line),
      );
    });
  }

  test('takes both orders of words, and every kind of address', () => {
    assert.equal(parse('127.0.0.1:443', '3', '8001').ways, 'tcp:127.0.0.1:443 → vsock:3:8001');
    assert.equal(parse('127.0.0.1', '443', '3', '8001').ways, 'tcp:127.0.0.1:443 → vsock:3:8001');
    assert.equal(parse('::1', '443', '3', '8001').ways, 'tcp:[::1]:443 → vsock:3:8001');
    assert.equal(parse('vsock:3000', '127.0.0.1:3000').ways, 'vsock:any:3000 → tcp:127.0.0.1:3000');
    assert.equal(parse('vsock:16:3000', '[::1]:3000').ways, 'vsock:16:3000 → tcp:[::1]:3000');
    assert.equal(parse('unix:/run/a', 'unix:/run/b').ways, 'unix:/run/a → unix:/run/b');
    assert.equal(parse('tcp:127.0.0.1:443', 'vsock:2:8001').ways, 'tcp:127.0.0.1:443 → vsock:2:8001');
  });

  test('has limits and deadlines, and names its own option when they are reached', async () => {
    const { limits, timeouts, place } = parse(
      '127.0.0.1:443',
      '3',
      '8001',
      '--connections',
      '1',
      '--idle-timeout',
      '5m',
    );
    assert.deepEqual([limits.connections, timeouts.idleMs, timeouts.connectMs], [1, 300_000, 10_000]);
    const { net, logged, start } = setUpProxy([listener({ limits, place, route: { kind: 'http' } })], {
      level: 'warn',
    });
    await start();
    await net.connect(ON);
    await net.connect(ON);
    assert.match(logged.take().join(), /Limit of 1 simultaneous connections.*Hint: raise --connections$/);
  });
});
