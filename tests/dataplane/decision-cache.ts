/** Decisions that the data plane in memory gives again, unasked. */

import type { Decision, DecisionSubject, SocketAddress } from '../../src/dataplane/contract.ts';
import type { Clock } from '../../src/platform/clock.ts';
import { keyOfClient } from './clients.ts';

interface Entry {
  readonly client: string;
  readonly head: Uint8Array;
  readonly decision: Extract<Decision, { readonly action: 'connect' }>;
  readonly until: number;
}

export class FakeDecisionCache {
  readonly #clock: Clock;
  #entries: readonly Entry[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(client: SocketAddress, question: DecisionSubject, decision: Decision): void {
    if (question.kind !== 'head' || decision.action !== 'connect' || decision.cache === undefined) return;
    const { bytes, forMs } = decision.cache;
    const head = question.bytes.subarray(0, bytes);
    const entry = { client: keyOfClient(client), head, decision, until: this.#clock.now() + forMs };
    this.#entries = [entry, ...this.#entries];
  }

  find(client: SocketAddress, question: DecisionSubject): Decision | undefined {
    if (question.kind !== 'head') return undefined;
    const key = keyOfClient(client);
    const now = this.#clock.now();
    return this.#entries.find((entry) => entry.until > now && entry.client === key && isCovered(entry, question.bytes))
      ?.decision;
  }
}

function isCovered({ head, decision }: Entry, bytes: Uint8Array): boolean {
  const bounds = decision.cache?.except ?? [];
  const counts = (at: number) => bounds.filter((bound) => bound <= at).length % 2 === 0;
  return bytes.length >= head.length && head.every((byte, at) => !counts(at) || byte === bytes[at]);
}
