/** The decision requests of a data plane, which a test takes one after the other. */
import assert from 'node:assert/strict';
import type { DataPlane, DecisionRequest } from '../../src/dataplane/contract.ts';
import type { RecordedEvents } from './recorded-events.ts';

type OfKind<Kind> = Extract<DecisionRequest, { readonly kind: Kind }>;

export class Requests {
  readonly #events: RecordedEvents;
  readonly #dataPlane: DataPlane;
  #taken = 0;

  constructor(events: RecordedEvents, dataPlane: DataPlane) {
    this.#events = events;
    this.#dataPlane = dataPlane;
  }

  /** How many have been taken. */
  get taken(): number {
    return this.#taken;
  }

  /** The next one when it comes; it is not taken yet. */
  peek(): Promise<DecisionRequest> {
    return this.#events.request(this.#taken);
  }

  /** Takes the one that was peeked at. */
  take(): void {
    this.#taken += 1;
  }

  /** Takes the next one, which must be of this kind. */
  async next<Kind extends DecisionRequest['kind']>(kind: Kind): Promise<OfKind<Kind>> {
    const request = await this.peek();
    this.take();
    assert.equal(request.kind, kind);
    return request as OfKind<Kind>;
  }

  /** Takes requests, and wants more, until one has all of this text. */
  async shown<Kind extends 'head' | 'response'>(kind: Kind, text: string): Promise<OfKind<Kind>> {
    for (;;) {
      const request = await this.next<'head' | 'response'>(kind);
      const seen = Buffer.from(request.bytes).toString();
      assert.ok(text.startsWith(seen), seen);
      if (seen === text) return request as OfKind<Kind>;
      this.#dataPlane.decide(request.connection, { action: 'more' });
    }
  }
}
