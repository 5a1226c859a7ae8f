import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { SocketAddress } from '../../../../src/dataplane/contract.ts';
import { LONGEST_STALE_MS } from '../../../../src/dns/lifetime.ts';
import type { Resolver } from '../../../../src/dns/resolver.ts';
import { SEARCH_WIDTH } from '../../../../src/dns/search.ts';
import { VsockProxyError } from '../../../../src/platform/errors.ts';
import { openUpstream } from '../../../../src/proxy/upstream/open.ts';
import { policy, target } from '../../access/fixture.ts';
import { ManualClock, type Names, recordLog, resolverOf, settle } from '../fixture.ts';

const NAME = 'api.example.com';
const TTL_MS = 60_000;

function ipOf(address: SocketAddress): string {
  assert(address.family === 'tcp');
  return address.ip;
}

const HANGS = new Promise<never>(() => undefined);

function openByIp(route: string, rules: readonly string[], names: Names) {
  return open(route, rules, names, 'info', { matchNamesByIp: true });
}

function open(
  route: string,
  rules: readonly string[],
  names: Names,
  level = 'info',
  {
    resolver: other,
    matchNamesByIp = false,
    written,
  }: { readonly resolver?: Resolver; readonly matchNamesByIp?: boolean; readonly written?: string } = {},
) {
  const clock = new ManualClock();
  const resolver = resolverOf(names, TTL_MS);
  const logged = recordLog(level);
  /** Each time that they changed, as IP addresses. */
  const changes: string[][] = [];
  const upstream = openUpstream({
    target: target(route),
    family: 'any',
    policy: { ...policy(rules), matchNamesByIp },
    client: {},
    written,
    resolver: other ?? resolver,
    clock,
    log: logged.logFor('vsock_proxy::proxy'),
    onChange: (addresses: readonly SocketAddress[]) => changes.push(addresses.map(ipOf)),
  });
  let decided = 'no';
  upstream.decided.then(
    () => {
      decided = 'yes';
    },
    (error) => {
      assert(error instanceof VsockProxyError);
      decided = `${error.code}: ${error.line}`;
    },
  );
  return { upstream, clock, resolver, names, logged, changes, decided: () => decided };
}

describe('a route that the allowlist forbids', () => {
  it('is refused before anything is resolved', () => {
    assert.throws(
      () => open(`${NAME} 443`, ['other.example.com 443'], {}),
      (error) =>
        error instanceof VsockProxyError &&
        error.code === 'denied' &&
        error.message.startsWith('The given address and port are not allowed: '),
    );
  });

  it('is refused when the name leads to none of the addresses listed', async () => {
    const { decided, changes, logged } = open(`${NAME} 443`, ['10.0.0.0/8 443'], { [NAME]: ['192.0.2.1'] });
    await settle();
    assert.match(
      decided(),
      /^denied: The given address and port are not allowed: none of the addresses of api\.example\.com may be used: 192\.0\.2\.1 is not in the allowlist for port 443\. Hint: /,
    );
    assert.deepEqual(changes, []);
    assert.deepEqual(logged.take(), []);
  });

  it('is refused when no listed name leads to the address', async () => {
    const { decided, changes, clock } = open('192.0.2.1 443', ['a.example 443', 'b.example 443'], {
      'a.example': ['192.0.2.2'],
      'b.example': ['192.0.2.3'],
    });
    await settle();
    assert.match(decided(), /^denied: The given address and port are not allowed: /);
    assert.deepEqual(changes, []);
    assert.equal(clock.pending, 0);
  });

  it('a listed name that was pointed at the metadata service does not open it, and is not even resolved', () => {
    assert.throws(
      () => open('169.254.169.254 80', ['evil.example 80'], { 'evil.example': ['169.254.169.254'] }),
      (error) => error instanceof VsockProxyError && error.code === 'denied',
    );
  });
});

describe('a listed IP address', () => {
  it('is told of as the AWS proxy tells of it: by its text where the entry has the same, and for a day', async () => {
    for (const [entry, written, matched] of [
      ['10.0.0.7', '10.0.0.7', 'host name "10.0.0.7"'],
      ['10.0.0.7', '::ffff:10.0.0.7', 'host IP "10.0.0.7"'],
      ['10.0.0.0/8', '10.0.0.7', 'host IP "10.0.0.7"'],
    ] as const) {
      const { upstream, logged, clock } = open('10.0.0.7 443', [`${entry} 443`], {}, 'info', { written });
      await clock.advance(0);
      assert.deepEqual(logged.take(), [`INFO Matched with ${matched} and port "443"`]);
      const pair = [
        `INFO Resolving hostname: ${written}.`,
        `INFO Using IP "10.0.0.7" for the given server "${written}". (TTL: 86400 secs)`,
      ];
      upstream.client();
      assert.deepEqual(logged.take(), pair);
      clock.skip(86_399_999);
      upstream.client();
      assert.deepEqual(logged.take(), []);
      clock.skip(1);
      upstream.client();
      assert.deepEqual(logged.take(), pair);
    }
  });

  it('is used as it is, and nothing is resolved', async () => {
    const { decided, changes, logged, resolver, clock } = open('10.0.0.7 443', ['10.0.0.0/8 443'], {});
    await settle();
    assert.equal(decided(), 'yes');
    assert.deepEqual(changes, [['10.0.0.7']]);
    assert.deepEqual(logged.take(), ['INFO Matched with host IP "10.0.0.7" and port "443"']);
    assert.deepEqual(resolver.queries, []);
    assert.equal(clock.pending, 0);
  });
});

describe('a listed name', () => {
  it('is decided at once and resolved then, in the words of the AWS proxy', async () => {
    const { upstream, decided, changes, logged, clock } = open(
      `${NAME} 443`,
      [`${NAME} 443`],
      { [NAME]: ['10.0.0.7', '10.0.0.8'] },
      'debug',
    );
    assert.deepEqual(changes, []);
    await clock.advance(0);
    assert.equal(decided(), 'yes');
    assert.deepEqual(changes, [['10.0.0.7', '10.0.0.8']]);
    assert.deepEqual(logged.take(), [
      'INFO Matched with host name "api.example.com" and port "443"',
      'DEBUG Asking for the addresses of api.example.com',
      'DEBUG Also using IP "10.0.0.8" for the given server "api.example.com".',
    ]);
    upstream.client();
    assert.deepEqual(logged.take(), [
      'INFO Resolving hostname: api.example.com.',
      'INFO Using IP "10.0.0.7" for the given server "api.example.com". (TTL: 60 secs)',
    ]);
  });

  it('is refreshed quietly, and changes are told', async () => {
    const { upstream, changes, logged, clock, names } = open(`${NAME} 443`, [`${NAME} 443`], { [NAME]: ['10.0.0.7'] });
    await clock.advance(0);
    upstream.client();
    logged.take();
    await clock.advance(TTL_MS);
    assert.deepEqual(logged.take(), []);
    names[NAME] = ['10.0.0.9'];
    await clock.advance(TTL_MS);
    assert.deepEqual(changes, [['10.0.0.7'], ['10.0.0.9']]);
    assert.deepEqual(logged.take(), [
      'INFO Resolving hostname: api.example.com.',
      'INFO Using IP "10.0.0.9" for the given server "api.example.com". (TTL: 60 secs)',
    ]);
  });

  it('is told of once for each TTL that has ended when a client comes', async () => {
    const { upstream, logged, clock } = open(`${NAME} 443`, [`${NAME} 443`], { [NAME]: ['10.0.0.7'] });
    await clock.advance(0);
    const told = () => {
      upstream.client();
      return logged.take().map((line) => line.split(' ').slice(1, 3).join(' '));
    };
    logged.take();
    assert.deepEqual(told(), ['Resolving hostname:', 'Using IP']);
    assert.deepEqual(told(), []);
    await clock.advance(TTL_MS - 1);
    assert.deepEqual(told(), []);
    await clock.advance(1);
    assert.deepEqual(told(), ['Resolving hostname:', 'Using IP']);
    await clock.advance(5 * TTL_MS);
    assert.deepEqual(told(), ['Resolving hostname:', 'Using IP'], 'nobody came in between');
  });

  it('that is not resolved when the first client comes is told of in two parts', async () => {
    const { upstream, logged, clock } = open(`${NAME} 443`, [`${NAME} 443`], { [NAME]: ['10.0.0.7'] });
    upstream.client();
    upstream.client();
    assert.deepEqual(logged.take().slice(1), ['INFO Resolving hostname: api.example.com.']);
    await clock.advance(0);
    assert.match(logged.take().join(), /^INFO Using IP "10\.0\.0\.7" for the given server "api\.example\.com"/);
  });

  it('is printed as it was written', async () => {
    const { upstream, logged, clock } = open(`${NAME} 443`, [`${NAME} 443`], { [NAME]: ['10.0.0.7'] }, 'info', {
      written: 'API.example.com.',
    });
    await clock.advance(0);
    upstream.client();
    assert.deepEqual(logged.take(), [
      'INFO Matched with host name "API.example.com." and port "443"',
      'INFO Resolving hostname: API.example.com..',
      'INFO Using IP "10.0.0.7" for the given server "API.example.com.". (TTL: 60 secs)',
    ]);
  });

  it('that cannot be resolved at the start is tried again, and clients are refused meanwhile', async () => {
    const { upstream, decided, changes, logged, clock, names } = open(`${NAME} 443`, [`${NAME} 443`], {
      [NAME]: 'ETIMEOUT',
    });
    await clock.advance(0);
    assert.equal(decided(), 'yes');
    assert.deepEqual(changes, [[]]);
    assert.equal(upstream.absence(), 'Could not resolve api.example.com: ETIMEOUT');
    assert.match(
      logged.take()[1] ?? '',
      /^WARN Could not resolve api\.example\.com: ETIMEOUT; clients are refused until it can be; next try in 1 s\. Hint: check the name$/,
    );
    await clock.advance(50_000);
    assert.deepEqual(logged.take(), [], 'one warning is enough for a minute');
    await clock.advance(60_000);
    assert.equal(logged.take().length, 1);
    names[NAME] = ['10.0.0.7'];
    await clock.advance(60_000);
    assert.deepEqual(changes.at(-1), ['10.0.0.7']);
    const [recovery, , use] = logged.take();
    assert.match(recovery ?? '', /^INFO api\.example\.com can be resolved again, after \d+ failures$/);
    assert.match(use ?? '', /^INFO Using IP "10\.0\.0\.7"/);
  });

  it('that cannot be resolved any more is served from the last good answer, with a warning', async () => {
    const { changes, logged, clock, names } = open(`${NAME} 443`, [`${NAME} 443`], { [NAME]: ['10.0.0.7'] });
    await clock.advance(0);
    logged.take();
    names[NAME] = 'ESERVFAIL';
    await clock.advance(TTL_MS);
    assert.match(
      logged.take().join('\n'),
      /^WARN Could not resolve api\.example\.com: ESERVFAIL; serving the last good answer, \d\d s old; next try in 1 s\. Hint: check the name$/,
    );
    assert.deepEqual(changes, [['10.0.0.7']], 'the addresses stay');
    names[NAME] = ['10.0.0.7'];
    await clock.advance(TTL_MS);
    assert.match(logged.take().join('\n'), /^INFO api\.example\.com can be resolved again, after \d+ failures?$/);
  });

  it('that has not been resolved for three days has no address any more, which is told at once', async () => {
    const { upstream, changes, logged, clock, names } = open(`${NAME} 443`, [`${NAME} 443`], { [NAME]: ['10.0.0.7'] });
    await clock.advance(0);
    names[NAME] = 'ESERVFAIL';
    // Each query costs the test a little: the watch is left to itself for the first and the last minutes only.
    await clock.advance(TTL_MS);
    clock.skip(LONGEST_STALE_MS - 10 * TTL_MS);
    await clock.advance(8 * TTL_MS);
    assert.deepEqual(changes, [['10.0.0.7']]);
    logged.take();
    await clock.advance(2 * TTL_MS);
    assert.deepEqual(changes[1], []);
    assert.equal(upstream.absence(), 'Could not resolve api.example.com: ESERVFAIL');
    const refused = logged.take().filter((line) => line.includes('clients are refused until it can be'));
    assert.match(refused[0] ?? '', /^WARN Could not resolve api\.example\.com: ESERVFAIL; clients are refused/);
  });

  it('that does not exist any more refuses clients at once, and is used again when it does', async () => {
    const { changes, logged, clock, names } = open(`${NAME} 443`, [`${NAME} 443`], { [NAME]: ['10.0.0.7'] });
    await clock.advance(0);
    names[NAME] = 'ESERVFAIL';
    await clock.advance(TTL_MS);
    logged.take();
    names[NAME] = 'ENOTFOUND';
    await clock.advance(TTL_MS / 2);
    assert.deepEqual(changes.slice(0, 2), [['10.0.0.7'], []]);
    assert.match(
      logged.take().join('\n'),
      /^WARN Could not resolve api\.example\.com: ENOTFOUND; clients are refused until it can be; next try in \d+ s\. Hint: check the name$/,
    );
    names[NAME] = ['10.0.0.7'];
    await clock.advance(TTL_MS);
    assert.deepEqual(changes.at(-1), ['10.0.0.7']);
  });

  it('loses the addresses that the guard refuses', async () => {
    const { changes, logged, clock } = open(`${NAME} 443`, [`${NAME} 443`], { [NAME]: ['127.0.0.1', '10.0.0.7'] });
    await clock.advance(0);
    assert.deepEqual(changes, [['10.0.0.7']]);
    assert.equal(
      logged.take().at(-1),
      'WARN Not using 1 of 2 addresses of api.example.com: 127.0.0.1 is a loopback address',
    );
  });

  it('that leads to guarded addresses only refuses clients, and says why', async () => {
    const { upstream, decided, changes, logged, clock } = open(`${NAME} 80`, [`${NAME} 80`], {
      [NAME]: ['169.254.169.254'],
    });
    await clock.advance(0);
    assert.equal(decided(), 'yes');
    assert.deepEqual(changes, [[]]);
    const reason =
      'The given address and port are not allowed: none of the addresses of api.example.com may be used: ' +
      '169.254.169.254 is a link-local address, where the instance metadata service lives';
    assert.equal(upstream.absence(), reason);
    assert.equal(
      logged.take().at(-1),
      `WARN ${reason}; clients are refused. Hint: list an address itself if it is meant to be used`,
    );
  });

  it('is not asked for any more after the end', async () => {
    const { upstream, resolver, clock } = open(`${NAME} 443`, [`${NAME} 443`], { [NAME]: ['10.0.0.7'] });
    await clock.advance(0);
    upstream.stop();
    await clock.advance(10 * TTL_MS);
    assert.equal(resolver.queries.length, 1);
    assert.equal(clock.pending, 0);
  });
});

describe('a name that is allowed only by the addresses that it leads to', () => {
  it('uses those that are listed', async () => {
    const { decided, changes, logged, clock } = open(`${NAME} 443`, ['10.0.0.0/8 443'], {
      [NAME]: ['192.0.2.1', '10.0.0.7'],
    });
    assert.equal(decided(), 'no');
    await clock.advance(0);
    assert.equal(decided(), 'yes');
    assert.deepEqual(changes, [['10.0.0.7']]);
    assert.deepEqual(logged.take(), [
      'INFO Matched with host IP "10.0.0.7" and port "443"',
      'WARN Not using 1 of 2 addresses of api.example.com: 192.0.2.1 is not in the allowlist for port 443',
    ]);
  });

  it('that cannot be resolved at the start is not denied: clients are refused until it can be', async () => {
    const { decided, changes, clock, names } = open(`${NAME} 443`, ['10.0.0.0/8 443'], { [NAME]: 'ETIMEOUT' });
    await clock.advance(0);
    assert.equal(decided(), 'yes');
    assert.deepEqual(changes, [[]]);
    names[NAME] = ['10.0.0.7'];
    await clock.advance(TTL_MS);
    assert.deepEqual(changes.at(-1), ['10.0.0.7']);
  });

  it('that leads elsewhere later refuses clients, and ends nobody', async () => {
    const { changes, logged, clock, names } = open(`${NAME} 443`, ['10.0.0.0/8 443'], { [NAME]: ['10.0.0.7'] });
    await clock.advance(0);
    logged.take();
    names[NAME] = ['192.0.2.1'];
    await clock.advance(TTL_MS);
    assert.deepEqual(changes.at(-1), []);
    assert.match(
      logged.take()[0] ?? '',
      /^WARN The given address and port are not allowed: none of the addresses .*; clients are refused\. Hint: /,
    );
  });
});

describe('an IP address that a listed name leads to', () => {
  const rules = ['a.example 443', 'b.example 443', 'c.example 80'];

  it('is allowed, with a warning that says by which name', async () => {
    const names = { 'a.example': ['192.0.2.2'], 'b.example': ['192.0.2.1', '192.0.2.9'] };
    const { decided, changes, logged, resolver, clock } = open('192.0.2.1 443', rules, names);
    await clock.advance(0);
    assert.equal(decided(), 'yes');
    assert.deepEqual(changes, [['192.0.2.1']]);
    assert.deepEqual(logged.take(), [
      'INFO Matched with host IP "192.0.2.1" and port "443"',
      'WARN 192.0.2.1 is not in the allowlist, but b.example (allow.yaml:3), which resolves to it, is: allowed. Hint: ' +
        'list the address itself, or give the name on the command line',
    ]);
    assert.deepEqual(
      resolver.queries,
      ['a.example ipv4', 'b.example ipv4'],
      'all at once, on this port, of this family',
    );
    await clock.advance(10 * TTL_MS);
    assert.equal(resolver.queries.length, 2, 'for good');
  });

  it('is looked for with a few queries at a time, and with none once it is found', async () => {
    const many = Array.from({ length: 300 }, (_, index) => `n${index}.example`);
    const { decided, changes, resolver, clock } = open(
      '192.0.2.1 443',
      many.map((name) => `${name} 443`),
      { 'n0.example': ['192.0.2.2'], 'n20.example': ['192.0.2.1'] },
    );
    await clock.advance(0);
    assert.equal(decided(), 'yes');
    assert.deepEqual(changes, [['192.0.2.1']]);
    assert.ok(resolver.queries.length >= 21 && resolver.queries.length < 21 + 2 * SEARCH_WIDTH);
    await clock.advance(10 * TTL_MS);
    assert.ok(resolver.queries.length < 21 + 2 * SEARCH_WIDTH);
  });

  it('is looked for behind a start that waits no longer than it takes to know that it cannot be denied yet', async () => {
    const first = Promise.withResolvers<never>();
    const many = Array.from({ length: 300 }, (_, index) => `n${index}.example`);
    const { decided, clock } = open(
      '192.0.2.1 443',
      many.map((name) => `${name} 443`),
      {},
      'info',
      { resolver: { resolve: (name) => (name === 'n0.example' ? first.promise : HANGS) } },
    );
    await clock.advance(0);
    assert.equal(decided(), 'no');
    first.reject(new VsockProxyError('resolve-failed', 'silent', { errno: 'ETIMEOUT' }));
    await clock.advance(0);
    assert.equal(decided(), 'yes');
  });

  it('is not denied while a name cannot be resolved: clients are refused until one leads there', async () => {
    const names: Names = { 'a.example': ['192.0.2.2'], 'b.example': 'ETIMEOUT' };
    const { upstream, decided, changes, logged, clock } = open('192.0.2.1 443', rules, names);
    await clock.advance(0);
    assert.equal(decided(), 'yes');
    assert.deepEqual(changes, [[]]);
    const absence = 'none of the listed names for port 443 is known to resolve to 192.0.2.1';
    assert.equal(upstream.absence(), absence);
    assert.deepEqual(logged.take(), [
      `WARN ${absence}, but 1 of 2 could not be resolved: Could not resolve b.example: ETIMEOUT. Hint: check the name; ` +
        'clients are refused until one does',
    ]);
    await clock.advance(60_000);
    assert.deepEqual(logged.take(), []);
    names['b.example'] = ['192.0.2.1'];
    await clock.advance(10_000);
    assert.deepEqual(changes.at(-1), ['192.0.2.1']);
    assert.equal(clock.pending, 0);
  });

  it('is denied when none leads there, also if there is no such name as one of them', async () => {
    const names: Names = { 'a.example': ['192.0.2.2'], 'b.example': 'ENOTFOUND' };
    const { decided, clock } = open('192.0.2.1 443', rules, names);
    await clock.advance(0);
    assert.match(decided(), /^denied: The given address and port are not allowed/);
    assert.equal(clock.pending, 0);
  });

  it('that no name leads to in the end stays refused, with the reason', async () => {
    const names: Names = { 'a.example': ['192.0.2.2'], 'b.example': 'ETIMEOUT' };
    const { upstream, changes, logged, clock } = open('192.0.2.1 443', rules, names);
    await clock.advance(0);
    logged.take();
    names['b.example'] = ['192.0.2.3'];
    await clock.advance(10_000);
    assert.deepEqual(changes, [[]]);
    assert.match(
      logged.take()[0] ?? '',
      /^WARN The given address and port are not allowed: .*; clients are refused\. Hint: /,
    );
    assert.match(upstream.absence(), /^The given address and port are not allowed: /);
    assert.equal(clock.pending, 0);
  });

  it('is not looked for any more after the end', async () => {
    const { upstream, clock, resolver } = open('192.0.2.1 443', rules, {});
    await clock.advance(0);
    upstream.stop();
    await clock.advance(10 * TTL_MS);
    assert.equal(resolver.queries.length, 2);
    assert.equal(clock.pending, 0);
  });
});

describe('a name that has an address of a listed one, matched by IP', () => {
  const rules = ['a.example 443', 'b.example 443'];

  it('is refused without match_names_by_ip, and the hint names the key', () => {
    assert.throws(
      () => open(`${NAME} 443`, rules, {}),
      (error) =>
        error instanceof VsockProxyError &&
        /- \{address: api\.example\.com, port: 443\}; or, if a listed name has the same address, write match_names_by_ip: true$/.test(
          error.hint ?? '',
        ),
    );
  });

  it('is allowed, with a warning that says by which name', async () => {
    const { decided, changes, logged, clock } = openByIp(`${NAME} 443`, rules, {
      [NAME]: ['192.0.2.1'],
      'a.example': ['192.0.2.9'],
      'b.example': ['192.0.2.1'],
    });
    assert.equal(decided(), 'no');
    await clock.advance(0);
    assert.equal(decided(), 'yes');
    assert.deepEqual(changes, [['192.0.2.1']]);
    assert.deepEqual(logged.take(), [
      'INFO Matched with host IP "192.0.2.1" and port "443"',
      'WARN api.example.com is not in the allowlist, but b.example (allow.yaml:3), which has the same address, is: allowed by ' +
        'match_names_by_ip. Hint: list the name itself',
    ]);
  });

  it('counts as listed from then on: it is followed to other addresses, but not to guarded ones', async () => {
    const { changes, clock, names, resolver } = openByIp(`${NAME} 443`, rules, {
      [NAME]: ['192.0.2.1'],
      'b.example': ['192.0.2.1'],
    });
    await clock.advance(0);
    const asked = resolver.queries.filter((query) => query.startsWith('b.example')).length;
    names[NAME] = ['192.0.2.5'];
    await clock.advance(TTL_MS);
    assert.deepEqual(changes.at(-1), ['192.0.2.5']);
    names[NAME] = ['169.254.169.254'];
    await clock.advance(TTL_MS);
    assert.deepEqual(changes.at(-1), []);
    assert.equal(resolver.queries.filter((query) => query.startsWith('b.example')).length, asked);
  });

  it('is denied when no listed name has its address, and nothing is asked any more', async () => {
    const { decided, changes, clock, upstream } = openByIp(`${NAME} 443`, rules, {
      [NAME]: ['192.0.2.1'],
      'a.example': ['192.0.2.2'],
    });
    await clock.advance(0);
    assert.match(
      decided(),
      /^denied: .*none of the addresses of api\.example\.com may be used: 192\.0\.2\.1 is not in/,
    );
    assert.deepEqual(changes, []);
    upstream.stop();
    assert.equal(clock.pending, 0);
  });

  it('is not denied while a listed name cannot be resolved: clients are refused until one leads there', async () => {
    const names: Names = { [NAME]: ['192.0.2.1'], 'a.example': ['192.0.2.2'], 'b.example': 'ETIMEOUT' };
    const { upstream, decided, changes, clock } = openByIp(`${NAME} 443`, rules, names);
    await clock.advance(0);
    assert.equal(decided(), 'yes');
    assert.deepEqual(changes, [[]]);
    assert.equal(upstream.absence(), 'none of the listed names for port 443 is known to resolve to 192.0.2.1');
    names['b.example'] = ['192.0.2.1'];
    await clock.advance(10_000);
    assert.deepEqual(changes.at(-1), ['192.0.2.1']);
  });

  it('is looked for anew when its address changes, and not any more after the end', async () => {
    const names: Names = { [NAME]: ['192.0.2.1'], 'a.example': ['192.0.2.2'], 'b.example': 'ETIMEOUT' };
    const { upstream, changes, clock, resolver } = openByIp(`${NAME} 443`, rules, names);
    await clock.advance(0);
    names[NAME] = ['192.0.2.2'];
    await clock.advance(TTL_MS);
    assert.deepEqual(changes.at(-1), ['192.0.2.2'], 'the address of a.example');
    upstream.stop();
    const { length } = resolver.queries;
    await clock.advance(10 * TTL_MS);
    assert.equal(resolver.queries.length, length);
    assert.equal(clock.pending, 0);
  });
});
