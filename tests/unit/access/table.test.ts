/** The table of decisions, by policy, target and DNS answer. It is the same for every caller. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { formatHost } from '../../../src/access/address.ts';
import {
  type AccessOutcome,
  type AccessRequest,
  authorize,
  type NameLookUp,
  UNUSED_FAMILY,
} from '../../../src/access/authorize.ts';
import { judgeListener } from '../../../src/commands/check/judge.ts';
import type { SocketAddress } from '../../../src/dataplane/contract.ts';
import { NameCache } from '../../../src/dns/cache.ts';
import { toError } from '../../../src/dns/failure.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';
import { type Authorization, Authorizer } from '../../../src/proxy/handlers/authorizer.ts';
import { ParentProxy } from '../../../src/proxy/handlers/parent-proxy.ts';
import { openUpstream } from '../../../src/proxy/upstream/open.ts';
import { ManualClock, type Names, recordLog, resolverOf } from '../proxy/fixture.ts';
import { policy, target } from './fixture.ts';

interface Row {
  readonly allow: readonly string[];
  readonly deny?: readonly string[];
  readonly target: string;
  readonly names?: Names;
  readonly cid?: number;
  readonly family?: AccessRequest['family'];
  /** `match_names_by_ip`. */
  readonly byIp?: true;
  /** The addresses that are used; or what is denied, or the code of what cannot be resolved. For what the operator wrote. */
  readonly operator: string;
  /** For what a client asks; absent: the same. */
  readonly client?: string;
}

const METADATA = '169.254.169.254';
const TARGET = 'denied target';
const ADDRESSES = 'denied addresses';

const ROWS: readonly Row[] = [
  // Guarded addresses, as they are written
  { allow: ['0.0.0.0/0'], target: `${METADATA} 80`, operator: ADDRESSES },
  { allow: ['0.0.0.0/0'], target: '127.0.0.1 80', operator: ADDRESSES },
  { allow: ['::/0'], target: 'fd00:ec2::254 80', operator: ADDRESSES },
  { allow: ['::/0'], target: '64:ff9b::a9fe:a9fe 80', operator: ADDRESSES },
  { allow: ['64:ff9b::/96'], target: '64:ff9b::a9fe:a9fe 80', operator: ADDRESSES },
  { allow: ['::ffff:0:0/96'], target: `${METADATA} 80`, operator: ADDRESSES },
  { allow: ['169.0.0.0/8'], target: `${METADATA} 80`, operator: ADDRESSES },
  { allow: ['0.0.0.0/0', '169.254.0.0/16 443'], target: `${METADATA} 80`, operator: ADDRESSES },
  { allow: ['0.0.0.0/0', `${METADATA} 80 16`], target: `${METADATA} 80`, cid: 17, operator: ADDRESSES },
  { allow: ['0.0.0.0/0', `${METADATA} 80 16`], target: `${METADATA} 80`, cid: 16, operator: METADATA },
  { allow: ['0.0.0.0/0', METADATA], target: `${METADATA} 80`, operator: METADATA },
  { allow: ['169.254.0.0/16'], target: `${METADATA} 80`, operator: METADATA },
  { allow: [`::ffff:${METADATA}`], target: `${METADATA} 80`, operator: METADATA },
  { allow: ['127.0.0.0/8'], target: '127.0.0.1 80', operator: '127.0.0.1' },
  { allow: [METADATA], deny: ['169.254.0.0/16'], target: `${METADATA} 80`, operator: TARGET },
  { allow: [], target: `${METADATA} 80`, operator: TARGET },
  { allow: ['**'], target: `${METADATA} 80`, operator: TARGET },
  {
    allow: ['localhost'],
    target: '127.0.0.1 80',
    names: { localhost: ['127.0.0.1'] },
    operator: '127.0.0.1',
    client: TARGET,
  },
  {
    allow: ['0.0.0.0/0', 'localhost'],
    target: '127.0.0.1 80',
    names: { localhost: ['127.0.0.1'] },
    operator: '127.0.0.1',
    client: ADDRESSES,
  },
  { allow: ['a.test'], target: '127.0.0.1 80', names: { 'a.test': ['127.0.0.1'] }, operator: TARGET },
  { allow: ['a.test'], target: `${METADATA} 80`, names: { 'a.test': [METADATA] }, operator: TARGET },
  { allow: ['localhost'], target: `${METADATA} 80`, names: { localhost: [METADATA] }, operator: TARGET },
  // Guarded addresses that a name leads to
  { allow: ['a.test'], target: 'a.test 80', names: { 'a.test': [METADATA] }, operator: ADDRESSES },
  {
    allow: ['**', '0.0.0.0/0'],
    target: 'a.test 80',
    names: { 'a.test': [METADATA, '127.0.0.1'] },
    operator: ADDRESSES,
  },
  { allow: ['a.test', METADATA], target: 'a.test 80', names: { 'a.test': [METADATA] }, operator: METADATA },
  { allow: ['a.test'], target: 'a.test 80', names: { 'a.test': [METADATA, '10.0.0.1'] }, operator: '10.0.0.1' },
  {
    allow: ['localhost'],
    target: 'localhost 80',
    names: { localhost: ['127.0.0.1', '::1'] },
    operator: '127.0.0.1 ::1',
  },
  { allow: ['*'], target: 'localhost 80', names: { localhost: ['127.0.0.1'] }, operator: ADDRESSES },
  // Ranges
  { allow: ['10.0.0.0/8'], target: '10.0.0.1 80', operator: '10.0.0.1' },
  { allow: ['10.0.0.0/8 443'], target: '10.0.0.1 80', operator: TARGET },
  { allow: ['0.0.0.0/0'], deny: ['10.0.0.0/8'], target: '10.0.0.1 80', operator: TARGET },
  { allow: ['::/0'], deny: ['10.0.0.0/8'], target: '64:ff9b::a00:1 80', operator: TARGET },
  { allow: ['10.0.0.1'], target: '10.0.0.1 80', family: 'ipv6', operator: 'EAFNOSUPPORT' },
  { allow: [], target: '10.0.0.1 80', family: 'ipv6', operator: TARGET },
  // Names
  {
    allow: ['a.test'],
    target: 'a.test 80',
    names: { 'a.test': ['10.0.0.1', '10.0.0.2'] },
    operator: '10.0.0.1 10.0.0.2',
  },
  { allow: ['a.test'], target: 'a.test 80', names: { 'a.test': 'ESERVFAIL' }, operator: 'ESERVFAIL' },
  { allow: ['a.test'], target: 'a.test 80', names: {}, operator: 'ENOTFOUND' },
  { allow: ['a.test'], deny: ['*.test'], target: 'a.test 80', names: { 'a.test': ['10.0.0.1'] }, operator: TARGET },
  {
    allow: ['a.test'],
    deny: ['10.0.0.1'],
    target: 'a.test 80',
    names: { 'a.test': ['10.0.0.1'] },
    operator: ADDRESSES,
  },
  { allow: ['a.test any 16'], target: 'a.test 80', names: { 'a.test': ['10.0.0.1'] }, cid: 17, operator: TARGET },
  {
    allow: ['a.test'],
    deny: ['a.test any 17'],
    target: 'a.test 80',
    names: { 'a.test': ['10.0.0.1'] },
    cid: 16,
    operator: '10.0.0.1',
  },
  {
    allow: ['a.test'],
    deny: ['10.0.0.1 any 17'],
    target: 'a.test 80',
    names: { 'a.test': ['10.0.0.1'] },
    cid: 17,
    operator: ADDRESSES,
  },
  // What the operator wrote may be resolved to see where it leads; what a client asks for may not
  {
    allow: ['10.0.0.0/8'],
    target: 'a.test 80',
    names: { 'a.test': ['10.0.0.1', '11.0.0.1'] },
    operator: '10.0.0.1',
    client: TARGET,
  },
  {
    allow: ['10.0.0.0/8'],
    target: 'a.test 80',
    names: { 'a.test': ['11.0.0.1'] },
    operator: ADDRESSES,
    client: TARGET,
  },
  { allow: ['0.0.0.0/0'], target: 'a.test 80', names: { 'a.test': [METADATA] }, operator: ADDRESSES, client: TARGET },
  { allow: ['10.0.0.0/8'], target: 'a.test 80', names: { 'a.test': 'ETIMEOUT' }, operator: 'ETIMEOUT', client: TARGET },
  {
    allow: ['a.test'],
    target: '10.0.0.1 80',
    names: { 'a.test': ['10.0.0.2', '10.0.0.1'] },
    operator: '10.0.0.1',
    client: TARGET,
  },
  {
    allow: ['a.test', 'b.test'],
    target: '10.0.0.1 80',
    names: { 'b.test': ['10.0.0.1'] },
    operator: '10.0.0.1',
    client: TARGET,
  },
  { allow: ['a.test', 'b.test'], target: '10.0.0.1 80', names: { 'a.test': ['10.0.0.2'] }, operator: TARGET },
  {
    allow: ['a.test', 'b.test'],
    target: '10.0.0.1 80',
    names: { 'a.test': 'ESERVFAIL' },
    operator: 'ESERVFAIL',
    client: TARGET,
  },
  { allow: ['a.test'], deny: ['a.test'], target: '10.0.0.1 80', names: { 'a.test': ['10.0.0.1'] }, operator: TARGET },
  { allow: ['a.test'], deny: ['10.0.0.1'], target: '10.0.0.1 80', names: { 'a.test': ['10.0.0.1'] }, operator: TARGET },
  {
    allow: ['b.test'],
    target: 'a.test 80',
    names: { 'a.test': ['10.0.0.1'], 'b.test': ['10.0.0.1'] },
    operator: TARGET,
  },

  // Names matched by IP
  {
    byIp: true,
    allow: ['b.test'],
    target: 'a.test 80',
    names: { 'a.test': ['10.0.0.1'], 'b.test': ['10.0.0.2', '10.0.0.1'] },
    operator: '10.0.0.1',
    client: TARGET,
  },
  {
    byIp: true,
    allow: ['b.test', 'c.test'],
    target: 'a.test 80',
    names: { 'a.test': ['10.0.0.1', '10.0.0.3'], 'c.test': ['10.0.0.3'] },
    operator: '10.0.0.1 10.0.0.3',
    client: TARGET,
  },
  {
    byIp: true,
    allow: ['b.test'],
    target: 'a.test 80',
    names: { 'a.test': ['10.0.0.1', METADATA], 'b.test': ['10.0.0.1'] },
    operator: '10.0.0.1',
    client: TARGET,
  },
  {
    byIp: true,
    allow: ['b.test'],
    target: 'a.test 80',
    names: { 'a.test': ['2001:db8::1'], 'b.test': ['10.0.0.1', '2001:db8::1'] },
    operator: '2001:db8::1',
    client: TARGET,
  },
  {
    byIp: true,
    allow: ['b.test'],
    target: 'a.test 80',
    names: { 'a.test': ['10.0.0.1'], 'b.test': ['10.0.0.2'] },
    operator: ADDRESSES,
    client: TARGET,
  },
  {
    byIp: true,
    allow: ['b.test 443'],
    target: 'a.test 80',
    names: { 'a.test': ['10.0.0.1'], 'b.test': ['10.0.0.1'] },
    operator: TARGET,
  },
  {
    byIp: true,
    allow: ['*.b.test'],
    target: 'a.test 80',
    names: { 'a.test': ['10.0.0.1'], 'x.b.test': ['10.0.0.1'] },
    operator: TARGET,
  },
  {
    byIp: true,
    allow: ['b.test any 16'],
    target: 'a.test 80',
    cid: 17,
    names: { 'a.test': ['10.0.0.1'], 'b.test': ['10.0.0.1'] },
    operator: TARGET,
  },
  {
    byIp: true,
    allow: ['b.test any 16'],
    target: 'a.test 80',
    cid: 16,
    names: { 'a.test': ['10.0.0.1'], 'b.test': ['10.0.0.1'] },
    operator: '10.0.0.1',
    client: TARGET,
  },
  {
    byIp: true,
    allow: ['b.test'],
    target: 'a.test 80',
    names: { 'a.test': [METADATA], 'b.test': [METADATA] },
    operator: ADDRESSES,
    client: TARGET,
  },
  {
    byIp: true,
    allow: ['b.test'],
    target: 'a.test 80',
    names: { 'a.test': ['127.0.0.1'], 'b.test': ['127.0.0.1'] },
    operator: ADDRESSES,
    client: TARGET,
  },
  {
    byIp: true,
    allow: ['localhost'],
    target: 'a.localhost 80',
    names: { 'a.localhost': ['127.0.0.1'], localhost: ['127.0.0.1'] },
    operator: '127.0.0.1',
    client: TARGET,
  },
  {
    byIp: true,
    allow: ['localhost'],
    target: 'a.test 80',
    names: { 'a.test': [METADATA], localhost: [METADATA] },
    operator: ADDRESSES,
    client: TARGET,
  },
  {
    byIp: true,
    allow: ['b.test'],
    deny: ['a.test'],
    target: 'a.test 80',
    names: { 'a.test': ['10.0.0.1'], 'b.test': ['10.0.0.1'] },
    operator: TARGET,
  },
  {
    byIp: true,
    allow: ['b.test'],
    deny: ['b.test'],
    target: 'a.test 80',
    names: { 'a.test': ['10.0.0.1'], 'b.test': ['10.0.0.1'] },
    operator: TARGET,
  },
  {
    byIp: true,
    allow: ['b.test'],
    deny: ['10.0.0.1'],
    target: 'a.test 80',
    names: { 'a.test': ['10.0.0.1'], 'b.test': ['10.0.0.1'] },
    operator: ADDRESSES,
    client: TARGET,
  },
  {
    byIp: true,
    allow: ['b.test', '10.0.0.0/8'],
    target: 'a.test 80',
    names: { 'a.test': ['10.0.0.1', '11.0.0.1'], 'b.test': ['11.0.0.1'] },
    operator: '10.0.0.1',
    client: TARGET,
  },
  {
    byIp: true,
    allow: ['b.test', '10.0.0.0/8'],
    target: 'a.test 80',
    names: { 'a.test': ['11.0.0.1'], 'b.test': ['11.0.0.1'] },
    operator: '11.0.0.1',
    client: TARGET,
  },
  {
    byIp: true,
    allow: ['b.test'],
    target: 'a.test 80',
    names: { 'a.test': ['10.0.0.1'], 'b.test': 'ESERVFAIL' },
    operator: 'ESERVFAIL',
    client: TARGET,
  },
  {
    byIp: true,
    allow: ['b.test'],
    target: 'a.test 80',
    names: { 'b.test': ['10.0.0.1'] },
    operator: 'ENOTFOUND',
    client: TARGET,
  },
  { byIp: true, allow: ['a.test'], target: 'a.test 80', names: { 'a.test': ['10.0.0.1'] }, operator: '10.0.0.1' },
];

function requestOf(row: Row, namedBy: AccessRequest['namedBy']): AccessRequest {
  const { allow, deny = [], family = 'any', cid, byIp = false } = row;
  const client = cid === undefined ? {} : { cid };
  return {
    policy: { ...policy(allow, deny), matchNamesByIp: byIp },
    target: target(row.target),
    client,
    family,
    namedBy,
  };
}

interface Caller {
  /** What it is never asked. */
  readonly skips?: (request: AccessRequest) => boolean;
  readonly decide: (request: AccessRequest, names: Names) => Promise<string>;
  /** What it says in place of what the table says, if that tells more. */
  readonly means?: (expected: string, request: AccessRequest) => string;
}

const CALLERS: Readonly<Record<string, Caller>> = {
  authorize: {
    decide: async (request, names) => outcomeOf(await authorize(request, lookUpIn(names))),
  },
  'a route that asks': {
    async decide(request, names) {
      const { family, policy, namedBy, client } = request;
      const cache = new NameCache({ resolver: resolverOf(names), clock: new ManualClock(), onStale: assert.fail });
      const authorizer = new Authorizer({ policy, family, namedBy, names: cache });
      const first = authorizationOf(await authorizer.findTarget(request.target, client));
      assert.equal(authorizationOf(await authorizer.findTarget(request.target, client)), first, 'decided again');
      return first;
    },
  },
  'a fixed route': {
    skips: ({ namedBy }) => namedBy === 'client',
    decide: decideFixedRoute,
    means: (expected) => (/^E/.test(expected) ? 'unresolved' : kindOf(expected)),
  },
  check: {
    async decide({ client, target, ...subject }, names) {
      const [judgement] = await judgeListener(
        { ...subject, mayHaveCids: true },
        target,
        client.cid,
        async (name, family) => (await resolverOf(names).resolve(name, family, NEVER)).addresses,
      );
      assert(judgement !== undefined);
      const { kind, trace, reason } = judgement;
      if (kind === 'allowed')
        return trace?.admitted.map(({ address }) => address.text).join(' ') ?? formatHost(target.host);
      return kind === 'undecided' ? (/E[A-Z]+/.exec(reason)?.[0] ?? reason) : kind;
    },
    means: (expected) => (expected === UNUSED_FAMILY ? 'denied' : kindOf(expected)),
  },
  'a route to a parent proxy': {
    skips: ({ namedBy, family }) => namedBy === 'operator' || family !== 'any',
    decide(request) {
      const proxy = new ParentProxy({ family: 'tcp', ip: '10.0.0.9', port: 3128 }, request.policy);
      return Promise.resolve(proxy.findTarget(request.target, request.client).kind);
    },
    means: (expected, { target }) =>
      expected === TARGET || (expected === ADDRESSES && target.host.kind === 'ip') ? 'denied' : 'allowed',
  },
};

const NEVER = new AbortController().signal;

async function decideFixedRoute(request: AccessRequest, names: Names): Promise<string> {
  const clock = new ManualClock();
  let addresses: readonly SocketAddress[] | undefined;
  try {
    const upstream = openUpstream({
      ...request,
      resolver: resolverOf(names),
      clock,
      log: recordLog().logFor('vsock_proxy::proxy'),
      onChange: (changed) => {
        addresses = changed;
      },
    });
    const decided = upstream.decided.then(
      () => undefined,
      (error: unknown) => error,
    );
    await clock.advance(0);
    const error = await decided;
    upstream.stop();
    if (error !== undefined) throw error;
    assert(addresses !== undefined);
    if (addresses.length > 0) return textOf(addresses);
    return upstream.absence().startsWith('The given address and port are not allowed') ? 'denied' : 'unresolved';
  } catch (error) {
    assert(error instanceof VsockProxyError, String(error));
    return error.code === 'denied' ? 'denied' : 'unresolved';
  }
}

function lookUpIn(names: Names): NameLookUp {
  return (name, family) =>
    resolverOf(names)
      .resolve(name, family, NEVER)
      .catch((reason: unknown) => toError(reason, name));
}

function outcomeOf(outcome: AccessOutcome): string {
  switch (outcome.kind) {
    case 'allowed':
      return outcome.admitted.map(({ address }) => address.text).join(' ');
    case 'denied':
      return `denied ${outcome.of}`;
    case 'unresolved':
      return outcome.error.errno ?? '';
  }
}

function authorizationOf(authorization: Authorization): string {
  if (authorization.kind === 'allowed') return textOf(authorization.addresses);
  return authorization.kind === 'denied' ? `denied ${authorization.denial.of}` : (authorization.error.errno ?? '');
}

function textOf(addresses: readonly SocketAddress[]): string {
  return addresses.map((address) => (address.family === 'tcp' ? address.ip : assert.fail())).join(' ');
}

function kindOf(expected: string): string {
  return expected.startsWith('denied ') ? 'denied' : expected;
}

/** Tests every row, as the operator and as a client. */
const REQUESTS = ROWS.flatMap((row) =>
  (['operator', 'client'] as const).map((namedBy) => {
    const { allow, deny = [], names = {}, cid, family, byIp } = row;
    const expected = namedBy === 'operator' ? row.operator : (row.client ?? row.operator);
    const what = `${row.target} by the ${namedBy}, given ${JSON.stringify({ allow, deny, names, cid, family, byIp })}`;
    return { request: requestOf(row, namedBy), names, expected, what };
  }),
);

for (const [caller, { decide, skips = () => false, means = (said: string) => said }] of Object.entries(CALLERS)) {
  suite(`what ${caller} says`, () => {
    for (const { request, names, expected, what } of REQUESTS) {
      if (skips(request)) continue;
      const meant = means(expected, request);
      test(`${meant}: ${what}`, async () => assert.equal(await decide(request, names), meant));
    }
  });
}

suite('what check says without asking anybody', () => {
  const kinds = new Set<string>();
  for (const { request, expected, what } of REQUESTS) {
    test(`does not contradict ${expected}: ${what}`, async () => {
      const { client, target, ...subject } = request;
      const [judgement] = await judgeListener({ ...subject, mayHaveCids: true }, target, client.cid, undefined);
      assert(judgement !== undefined);
      kinds.add(judgement.kind);
      // What is listed may turn out to lead nowhere, or to addresses that are refused.
      if (judgement.kind === 'allowed') assert.notEqual(expected, TARGET);
      if (judgement.kind === 'denied') assert.match(expected, /^denied|^EAFNOSUPPORT/);
    });
  }

  test('but says something', () => assert.deepEqual([...kinds].sort(), ['allowed', 'denied', 'undecided']));
});
