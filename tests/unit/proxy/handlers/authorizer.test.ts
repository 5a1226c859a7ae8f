import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Hostname } from '../../../../src/access/address.ts';
import { NameCache } from '../../../../src/dns/cache.ts';
import type { Answer, Resolver } from '../../../../src/dns/resolver.ts';
import { SEARCH_WIDTH } from '../../../../src/dns/search.ts';
import { VsockProxyError } from '../../../../src/platform/errors.ts';
import { Authorizer } from '../../../../src/proxy/handlers/authorizer.ts';
import { ip, policy, target } from '../../access/fixture.ts';
import { ManualClock, type Names, resolverOf, settle } from '../fixture.ts';

/** A cache that says this, and is asked what it is asked. */
function setUp(allow: readonly string[], deny: readonly string[] = []) {
  const asked: string[] = [];
  const says: { outcome: Answer | VsockProxyError } = { outcome: answer('10.0.0.7') };
  const names: Pick<NameCache, 'lookUp'> = {
    lookUp(name, family, asker) {
      asked.push(`${name} ${family} by ${asker}`);
      return says.outcome;
    },
  };
  const authorizer = new Authorizer({ policy: policy(allow, deny), family: 'any', names, namedBy: 'client' });
  return { asked, says, find: (host: string, port: number, cid = 16) => authorizer.find(host, port, { cid }) };
}

function answer(...addresses: string[]): Answer {
  return { addresses: addresses.map(ip), ttlMs: 60_000, source: 'dns' };
}

describe('a destination', () => {
  it('that is denied, malformed or at no port is never looked up', () => {
    const { asked, find } = setUp(['a.example 443'], ['b.example']);
    for (const [host, port, kind] of [
      ['b.example', 443, 'denied'],
      ['c.example', 443, 'denied'],
      ['a.example', 80, 'denied'],
      ['10.0.0.7', 443, 'denied'],
      ['0x7f.1', 443, 'malformed'],
      ['a..example', 443, 'malformed'],
      ['a.example', 0, 'malformed'],
      ['a.example', 65_536, 'malformed'],
    ] as const) {
      const found = find(host, port);
      assert.ok(!(found instanceof Promise) && found.kind === kind, `${host}:${port}`);
    }
    assert.deepEqual(asked, []);
  });

  it('is looked up for the client who asks, whoever asked first', () => {
    const { asked, find } = setUp(['a.example 443']);
    void find('a.example', 443, 16);
    void find('A.EXAMPLE.', 443, 17);
    void find('a.example', 443, 18);
    assert.deepEqual(asked, ['a.example any by 16', 'a.example any by 17', 'a.example any by 18']);
  });

  it('is the same object while its answer is, and guarded anew when it is not', () => {
    const { says, find } = setUp(['a.example 443']);
    const first = find('a.example', 443);
    assert.equal(find('a.example', 443), first);
    says.outcome = answer('169.254.169.254');
    const second = find('a.example', 443);
    assert.ok(!(second instanceof Promise) && second.kind === 'denied' && second.denial.of === 'addresses');
    says.outcome = answer('10.0.0.7');
    assert.deepEqual(find('a.example', 443), first);
  });

  it('whose name cannot be resolved says why, and is allowed again when it can be', () => {
    const { says, find } = setUp(['a.example 443']);
    says.outcome = new VsockProxyError('resolve-failed', 'no', { errno: 'ESERVFAIL' });
    assert.deepEqual(find('a.example', 443), { text: 'a.example:443', kind: 'unresolved', error: says.outcome });
    says.outcome = answer('10.0.0.7');
    const found = find('a.example', 443);
    assert.ok(!(found instanceof Promise) && found.kind === 'allowed');
  });

  it('is decided for each client where rules have CIDs, however often another one asked', () => {
    const { find } = setUp(['a.example 443 16'], ['10.0.0.8/32 any 17', 'b.example 443 18']);
    const kindFor = (cid: number) => {
      const found = find('a.example', 443, cid);
      return found instanceof Promise ? 'later' : found.kind;
    };
    assert.deepEqual([16, 17, 16, 18].map(kindFor), ['allowed', 'denied', 'allowed', 'denied']);
  });
});

describe('an IP address that one of many listed names may lead to', () => {
  const LISTED = Array.from({ length: 300 }, (_, index) => `n${index}.example`);
  const ADDRESS = target('192.0.2.1 443');

  function setUpSearch(resolver: Resolver) {
    const names = new NameCache({ resolver, clock: new ManualClock(), onStale: assert.fail });
    const allow = LISTED.map((name) => `${name} 443`);
    const authorizer = new Authorizer({ policy: policy(allow), family: 'any', names, namedBy: 'operator' });
    return { names, find: (cid = 16) => authorizer.findTarget(ADDRESS, { cid }) };
  }

  it('is denied when none leads there, however many they are', async () => {
    const { find } = setUpSearch(resolverOf(Object.fromEntries(LISTED.map((name) => [name, ['192.0.2.2']]))));
    const found = await find();
    assert.ok(found.kind === 'denied' && found.denial.of === 'target');
  });

  it('is not denied while one of them cannot be resolved', async () => {
    const names: Names = Object.fromEntries(LISTED.map((name) => [name, ['192.0.2.2']]));
    const { find } = setUpSearch(resolverOf({ ...names, 'n250.example': 'ESERVFAIL' }));
    const found = await find();
    assert.ok(found.kind === 'unresolved' && found.error.errno === 'ESERVFAIL');
  });

  it('is allowed by the last one, for good, without another question', async () => {
    const names: Names = { 'n299.example': ['192.0.2.1'] };
    const resolver = resolverOf(names);
    const { find } = setUpSearch(resolver);
    assert.equal((await find()).kind, 'allowed');
    const { length } = resolver.queries;
    names['n299.example'] = ['192.0.2.9'];
    const again = find();
    assert.ok(!(again instanceof Promise) && again.kind === 'allowed');
    assert.equal(resolver.queries.length, length);
  });

  it('takes a few queries at a time, whoever and how many ask: other names are resolved meanwhile', async () => {
    const asked: string[] = [];
    const silent: Resolver = {
      resolve(name) {
        asked.push(name);
        return name === 'other.example'
          ? resolverOf({ 'other.example': ['10.0.0.7'] }).resolve(name, 'any', NEVER)
          : HANGS;
      },
    };
    const { names, find } = setUpSearch(silent);
    for (let client = 0; client < 1000; client += 1) void find(16 + (client % 50));
    await settle();
    assert.equal(asked.length, SEARCH_WIDTH);
    const other = await names.lookUp('other.example' as Hostname, 'any', '16');
    assert.ok('addresses' in other);
  });
});

const NEVER = new AbortController().signal;
const HANGS = new Promise<never>(() => undefined);
