/**
 * Questions of the data plane and their answers.
 *
 * Whatever goes wrong on the way to an answer ends that one connection. Of a connection only what the next question
 * or its end needs is kept, and no longer than that.
 */
import type { ConnectionId, DataPlane, Decision, DecisionRequest, ListenerId } from '../../dataplane/contract.ts';
import type { Asked } from '../../protocol/http-response.ts';

/** Why a client is not served, for the log. */
export interface Refusal {
  /** What goes behind `Client on cid: 16 port: 5005: `. */
  readonly problem: string;
  readonly hint?: string;
  /** What of it matters when there are many such clients: the target, or what is wrong. */
  readonly subject: string;
}

export interface Handled {
  readonly decision: Decision;
  /** With a decision that rejects. */
  readonly refusal?: Refusal;
  /** The request that later questions of this connection are about. */
  readonly request?: Asked;
}

/** What is asked of each client first, and before each further request. */
export type FirstRequest = Extract<DecisionRequest, { readonly kind: 'client' | 'head' }>;
export type LaterRequest = Exclude<DecisionRequest, FirstRequest>;

/** How long who asks for the same gets the same answer, unasked: names are not looked up more often. */
export const CACHE_MS = 1000;

/** Answers the questions of a listener's connections. May throw: that rejects the connection. */
export interface Handler {
  first(ask: FirstRequest): Handled | Promise<Handled>;
  later(ask: LaterRequest, request: Asked | undefined): Handled;
}

export interface DispatcherOptions {
  readonly decide: DataPlane['decide'];
  /** Must not throw. */
  readonly onError: (error: unknown) => void;
}

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #handlers = new Map<ListenerId, Handler>();
  /** Connections of which something is to be remembered: each until its next answer, at most until its end. */
  readonly #remembered = new Map<ConnectionId, Pick<Handled, 'refusal' | 'request'>>();

  constructor(options: DispatcherOptions) {
    this.#options = options;
  }

  /** From now on, also for the connections that the listener has already. */
  setHandler(listener: ListenerId, handler: Handler): void {
    this.#handlers.set(listener, handler);
  }

  removeHandler(listener: ListenerId): void {
    this.#handlers.delete(listener);
  }

  /** The event of the data plane. */
  readonly onDecisionRequest = (asks: readonly DecisionRequest[]): void => {
    for (const ask of asks) {
      try {
        this.#answer(ask);
      } catch (error) {
        this.#fail(ask, error);
      }
    }
  };

  /** Why the connection was refused, if it was. */
  refusalOf(connection: ConnectionId): Refusal | undefined {
    return this.#remembered.get(connection)?.refusal;
  }

  /** The connection has ended, and is forgotten. */
  end(connection: ConnectionId): void {
    this.#remembered.delete(connection);
  }

  /** Answers that are still to come go nowhere. */
  stop(): void {
    this.#remembered.clear();
    this.#handlers.clear();
  }

  /** How many connections something is remembered of. */
  get size(): number {
    return this.#remembered.size;
  }

  #answer(ask: DecisionRequest): void {
    const handler = this.#handlers.get(ask.listener);
    if (handler === undefined) throw new Error(`listener ${ask.listener} is not known`);
    const handled =
      ask.kind === 'client' || ask.kind === 'head'
        ? handler.first(ask)
        : handler.later(ask, this.#remembered.get(ask.connection)?.request);
    if (handled instanceof Promise) this.#await(ask, handled);
    else this.#give(ask, handled);
  }

  #await(ask: DecisionRequest, handled: Promise<Handled>): void {
    // What is remembered meanwhile is the waiting itself: it goes when the connection does.
    const waiting = {};
    this.#remembered.set(ask.connection, waiting);
    const unlessGone = (use: () => void) => {
      if (this.#remembered.get(ask.connection) !== waiting) return;
      try {
        use();
      } catch (error) {
        this.#fail(ask, error);
      }
    };
    handled.then(
      (settled) => unlessGone(() => this.#give(ask, settled)),
      (error: unknown) => unlessGone(() => this.#fail(ask, error)),
    );
  }

  #give({ connection }: DecisionRequest, { decision, refusal, request }: Handled): void {
    if (refusal !== undefined) this.#remembered.set(connection, { refusal });
    else if (request !== undefined) this.#remembered.set(connection, { request });
    else this.#remembered.delete(connection);
    this.#options.decide(connection, decision);
  }

  #fail(ask: DecisionRequest, error: unknown): void {
    this.#options.onError(error);
    const refusal = { problem: 'its request could not be decided about', subject: 'internal' };
    this.#give(ask, { decision: { action: 'reject', reason: 'internal' }, refusal });
  }
}
