/** Decisions that the data plane in memory uses again without a request. */

import type {
  AuthorityRule,
  BytesRule,
  Decision,
  DecisionSubject,
  SocketAddress,
} from '../../src/dataplane/contract.ts';
import type { Clock } from '../../src/platform/clock.ts';
import { type ForwardRequest, parseRequest } from '../../src/protocol/http-request.ts';
import { absoluteHead } from '../../src/protocol/proxy-request.ts';
import { keyOfClient } from './clients.ts';

type Cached = Extract<Decision, { readonly action: 'connect' | 'exchange' }>;

interface Entry {
  readonly client: string;
  readonly head: Uint8Array;
  readonly rule: BytesRule | AuthorityRule;
  readonly decision: Cached;
  readonly until: number;
}

/** With the request, if that is an exchange: the data plane writes its head, and reads the response. */
export interface Known {
  readonly decision: Cached;
  readonly request?: ForwardRequest;
}

export class FakeDecisionCache {
  readonly #clock: Clock;
  #entries: readonly Entry[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(client: SocketAddress, subject: DecisionSubject, decision: Decision): void {
    if (subject.kind !== 'head' || (decision.action !== 'connect' && decision.action !== 'exchange')) return;
    const { cache: rule } = decision;
    if (rule === undefined) return;
    const head = 'bytes' in rule ? subject.bytes.subarray(0, rule.bytes) : subject.bytes;
    const until = this.#clock.now() + rule.forMs;
    this.#entries = [{ client: keyOfClient(client), head, rule, decision, until }, ...this.#entries];
  }

  find(client: SocketAddress, subject: DecisionSubject): Known | undefined {
    if (subject.kind !== 'head') return undefined;
    const key = keyOfClient(client);
    const now = this.#clock.now();
    for (const entry of this.#entries) {
      if (entry.until <= now || entry.client !== key) continue;
      const known = apply(entry, subject.bytes);
      if (known !== undefined) return known;
    }
    return undefined;
  }
}

const NOT_PLAIN = /\r\n(?:expect|proxy-auth\S*|te|trailer|upgrade):/i;

function apply({ head, rule, decision }: Entry, bytes: Uint8Array): Known | undefined {
  if ('bytes' in rule) return isCovered(head, rule, bytes) ? { decision } : undefined;
  const [first, request] = [head, bytes].map((each) => parseRequest(each, { reuse: true }));
  if (request?.kind === 'connect' && first?.kind === 'connect' && isForSame(first, request)) {
    return { decision: { ...decision, consume: request.headBytes } };
  }
  if (request?.kind !== 'forward' || first?.kind !== 'forward' || decision.action !== 'exchange') return undefined;
  if (!isForSame(first, request) || request.method !== 'GET' || request.body.kind !== 'none') return undefined;
  if (NOT_PLAIN.test(Buffer.from(bytes).toString('latin1'))) return undefined;
  const { absolute, fields } = rule.form;
  const toServer = absolute ? absoluteHead(request, fields) : request.head;
  const persistent = decision.persistent === true && request.persistent;
  return { decision: { ...decision, consume: request.headBytes, toServer, persistent }, request };
}

function isForSame(one: { host: string; port: number }, other: { host: string; port: number }): boolean {
  return one.host === other.host && one.port === other.port;
}

function isCovered(head: Uint8Array, { except }: BytesRule, bytes: Uint8Array): boolean {
  const counts = (at: number) => except.filter((bound) => bound <= at).length % 2 === 0;
  return bytes.length >= head.length && head.every((byte, at) => !counts(at) || byte === bytes[at]);
}
