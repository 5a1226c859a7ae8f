import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { AccessRequest } from '../../../../src/access/authorize.ts';
import type { NameCache } from '../../../../src/dns/cache.ts';
import { VsockProxyError } from '../../../../src/platform/errors.ts';
import { Authorizer } from '../../../../src/proxy/handlers/authorizer.ts';
import { UpstreamAuthorizer } from '../../../../src/proxy/handlers/upstream-proxy.ts';
import { ip, policy, target } from '../../access/fixture.ts';

const ALLOW = [
  ...['*.example 443', '10.0.0.0/8 443', '169.254.169.254 80', 'localhost 443', '127.0.0.2 443', '::1 443'],
  ...['2001:db8::1 443', 'x.internal 443'],
];
const ADDRESSES: Readonly<Record<string, string>> = {
  'proxy.corp': '192.0.2.9',
  'a.example': '10.0.0.7',
  'only-by-address.test': '10.0.0.8',
  'elsewhere.test': '192.0.2.1',
  'x.internal': '10.1.1.1',
  localhost: '127.0.0.1',
};

/** The decision, as one text, and what was looked up for it. */
async function decide(written: string, namedBy: AccessRequest['namedBy'] = 'client', proxy = 'proxy.corp 3128') {
  const lookedUp: string[] = [];
  const names: Pick<NameCache, 'lookUp'> = {
    lookUp(name) {
      lookedUp.push(name);
      const found = ADDRESSES[name];
      if (found === undefined) return new VsockProxyError('resolve-failed', `${name} is not there`);
      return { addresses: [ip(found)], ttlMs: 60_000, source: 'dns' };
    },
  };
  const asked = { policy: policy(ALLOW, ['denied.example', '10.9.0.0/16']), family: 'any', names, namedBy } as const;
  const except = policy(['**.internal', '10.2.0.0/16']).allow;
  const direct = new Authorizer(asked);
  const authorizer = new UpstreamAuthorizer({ ...asked, proxy: { ...target(proxy), except }, direct });
  const found = await authorizer.findTarget(target(written), { cid: 16 });
  const text =
    found.kind === 'allowed'
      ? `${found.text} ${found.through ? 'through' : 'at'} ${found.addresses.map((each) => ('ip' in each ? `${each.ip} ${each.port}` : each.family))}`
      : found.kind;
  return { text, lookedUp };
}

describe('with an upstream proxy', () => {
  for (const [written, namedBy, text, lookedUp] of [
    ['denied.example 443', 'client', 'denied', []],
    ['b.test 443', 'client', 'denied', []],
    ['a.example 80', 'client', 'denied', []],
    ['10.9.0.1 443', 'client', 'denied', []],
    ['169.254.169.254 443', 'client', 'denied', []],
    ['only-by-address.test 443', 'client', 'denied', []],
    // What a rule names, the proxy resolves.
    ['a.example 443', 'client', 'a.example:443 through 192.0.2.9 3128', ['proxy.corp']],
    ['a.example 443', 'operator', 'a.example:443 through 192.0.2.9 3128', ['proxy.corp']],
    ['unknown-here.example 443', 'client', 'unknown-here.example:443 through 192.0.2.9 3128', ['proxy.corp']],
    ['10.0.0.7 443', 'client', '10.0.0.7:443 through 192.0.2.9 3128', ['proxy.corp']],
    ['2001:db8::1 443', 'client', '[2001:db8::1]:443 through 192.0.2.9 3128', ['proxy.corp']],
    // What only its address allows is resolved here, and that address is asked for.
    [
      'only-by-address.test 443',
      'operator',
      '10.0.0.8:443 through 192.0.2.9 3128',
      ['only-by-address.test', 'proxy.corp'],
    ],
    ['elsewhere.test 443', 'operator', 'denied', ['elsewhere.test']],
    // Exceptions, and this machine
    ['x.internal 443', 'client', 'x.internal:443 at 10.1.1.1 443', ['x.internal']],
    ['10.2.0.1 443', 'client', '10.2.0.1:443 at 10.2.0.1 443', []],
    ['localhost 443', 'client', 'localhost:443 at 127.0.0.1 443', ['localhost']],
    ['127.0.0.2 443', 'client', '127.0.0.2:443 at 127.0.0.2 443', []],
    ['::1 443', 'client', '[::1]:443 at ::1 443', []],
    ['169.254.169.254 80', 'client', '169.254.169.254:80 at 169.254.169.254 80', []],
  ] as const) {
    it(`${written}, asked for by the ${namedBy}: ${text}`, async () => {
      assert.deepEqual(await decide(written, namedBy), { text, lookedUp });
    });
  }

  it('that has no address: nothing is reached, and nobody is asked for the name of the server', async () => {
    assert.deepEqual(await decide('a.example 443', 'client', 'lost.corp 3128'), {
      text: 'unresolved',
      lookedUp: ['lost.corp'],
    });
  });

  it('whose address is written: nothing is resolved', async () => {
    const decision = await decide('a.example 443', 'client', '127.0.0.1 3128');
    assert.deepEqual(decision, { text: 'a.example:443 through 127.0.0.1 3128', lookedUp: [] });
  });
});
