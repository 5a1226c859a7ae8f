/** Verdicts that the data plane in memory gives again, unasked. */

import type { Question, SocketAddress, Verdict } from '../../src/dataplane/contract.ts';
import type { Clock } from '../../src/platform/clock.ts';
import { keyOfClient } from './clients.ts';

interface Entry {
  readonly client: string;
  readonly head: Uint8Array;
  readonly verdict: Extract<Verdict, { readonly action: 'connect' }>;
  readonly until: number;
}

export class FakePrecedents {
  readonly #clock: Clock;
  #entries: readonly Entry[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(client: SocketAddress, question: Question, verdict: Verdict): void {
    if (question.stage !== 'head' || verdict.action !== 'connect' || verdict.precedent === undefined) return;
    const { bytes, forMs } = verdict.precedent;
    const head = question.bytes.subarray(0, bytes);
    const entry = { client: keyOfClient(client), head, verdict, until: this.#clock.now() + forMs };
    this.#entries = [entry, ...this.#entries];
  }

  find(client: SocketAddress, question: Question): Verdict | undefined {
    if (question.stage !== 'head') return undefined;
    const key = keyOfClient(client);
    const now = this.#clock.now();
    return this.#entries.find((entry) => entry.until > now && entry.client === key && isCovered(entry, question.bytes))
      ?.verdict;
  }
}

function isCovered({ head, verdict }: Entry, bytes: Uint8Array): boolean {
  const bounds = verdict.precedent?.except ?? [];
  const counts = (at: number) => bounds.filter((bound) => bound <= at).length % 2 === 0;
  return bytes.length >= head.length && head.every((byte, at) => !counts(at) || byte === bytes[at]);
}
