/**
 * Questions of the data plane and their answers.
 *
 * Whatever goes wrong on the way to an answer ends that one connection. Of a connection only what the next question
 * or its end needs is kept, and no longer than that.
 */
import type { Ask, ConnectionId, DataPlane, ListenerId, Verdict } from '../../dataplane/contract.ts';
import type { Asked } from '../../protocol/http-response.ts';

/** Why a client is not served, for the log. */
export interface Refusal {
  /** What goes behind `Client on cid: 16 port: 5005: `. */
  readonly problem: string;
  readonly hint?: string;
  /** What of it matters when there are many such clients: the target, or what is wrong. */
  readonly subject: string;
}

export interface Decision {
  readonly verdict: Verdict;
  /** With a verdict that rejects. */
  readonly refusal?: Refusal;
  /** The request that later questions of this connection are about. */
  readonly request?: Asked;
}

/** What is asked of each client first, and before each further request. */
export type FirstAsk = Extract<Ask, { readonly stage: 'client' | 'head' }>;
export type LaterAsk = Exclude<Ask, FirstAsk>;

/** How long who asks for the same gets the same answer, unasked: names are not looked up more often. */
export const PRECEDENT_MS = 1000;

/** Answers the questions of a listener's connections. May throw: that rejects the connection. */
export interface Answerer {
  first(ask: FirstAsk): Decision | Promise<Decision>;
  later(ask: LaterAsk, request: Asked | undefined): Decision;
}

export interface AskingOptions {
  readonly answer: DataPlane['answer'];
  /** Must not throw. */
  readonly onError: (error: unknown) => void;
}

export class Asking {
  readonly #options: AskingOptions;
  readonly #answerers = new Map<ListenerId, Answerer>();
  /** Connections of which something is to be remembered: each until its next answer, at most until its end. */
  readonly #remembered = new Map<ConnectionId, Pick<Decision, 'refusal' | 'request'>>();

  constructor(options: AskingOptions) {
    this.#options = options;
  }

  /** From now on, also for the connections that the listener has already. */
  setAnswerer(listener: ListenerId, answerer: Answerer): void {
    this.#answerers.set(listener, answerer);
  }

  removeAnswerer(listener: ListenerId): void {
    this.#answerers.delete(listener);
  }

  /** The event of the data plane. */
  readonly onAsk = (asks: readonly Ask[]): void => {
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
    this.#answerers.clear();
  }

  /** How many connections something is remembered of. */
  get size(): number {
    return this.#remembered.size;
  }

  #answer(ask: Ask): void {
    const answerer = this.#answerers.get(ask.listener);
    if (answerer === undefined) throw new Error(`listener ${ask.listener} is not known`);
    const decision =
      ask.stage === 'client' || ask.stage === 'head'
        ? answerer.first(ask)
        : answerer.later(ask, this.#remembered.get(ask.connection)?.request);
    if (decision instanceof Promise) this.#await(ask, decision);
    else this.#give(ask, decision);
  }

  #await(ask: Ask, decision: Promise<Decision>): void {
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
    decision.then(
      (settled) => unlessGone(() => this.#give(ask, settled)),
      (error: unknown) => unlessGone(() => this.#fail(ask, error)),
    );
  }

  #give({ connection }: Ask, { verdict, refusal, request }: Decision): void {
    if (refusal !== undefined) this.#remembered.set(connection, { refusal });
    else if (request !== undefined) this.#remembered.set(connection, { request });
    else this.#remembered.delete(connection);
    this.#options.answer(connection, verdict);
  }

  #fail(ask: Ask, error: unknown): void {
    this.#options.onError(error);
    const refusal = { problem: 'its request could not be decided about', subject: 'internal' };
    this.#give(ask, { verdict: { action: 'reject', reason: 'internal' }, refusal });
  }
}
