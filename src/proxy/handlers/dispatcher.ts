/**
 * Takes each decision request of the data plane to the handler of its listener, and the decision back.
 *
 * Whatever goes wrong on the way to a decision ends that one connection. Of a connection only what the next request
 * or its end needs is kept, and no longer than that.
 */
import type {
  ConnectionId,
  DataPlane,
  Decision,
  DecisionRequest,
  ListenerCounters,
  ListenerId,
} from '../../dataplane/contract.ts';
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
  /** The HTTP request that later decision requests of this connection are about. */
  readonly request?: Asked;
}

/** What is requested for each client first, and before each further HTTP request. */
export type FirstRequest = Extract<DecisionRequest, { readonly kind: 'client' | 'head' }>;
export type LaterRequest = Exclude<DecisionRequest, FirstRequest>;

/** How long the data plane may reuse a decision for the same head. A name is looked up at most once in this time. */
export const CACHE_MS = 1000;

/** Requests by method, and responses by class of status, since the handler was made. */
export interface HttpCounters {
  /** `CONNECT`, `GET`, `HEAD`, `POST`, `PUT`, `DELETE`, `other`. */
  readonly methods: Readonly<Record<string, number>>;
  /** `2xx`, `3xx`, `4xx`, `5xx`. */
  readonly statuses: Readonly<Record<string, number>>;
}

export type HandlerCounters = Pick<ListenerCounters, 'decisionsCached' | 'exchangesCached' | 'answers'>;

/** Decides about the connections of a listener. May throw: that rejects the connection. */
export interface Handler {
  /** Of those that speak HTTP. @param unseen what was decided by cached decisions, unseen by the handler */
  http?(unseen: HandlerCounters): HttpCounters;
  first(event: FirstRequest): Handled | Promise<Handled>;
  later(event: LaterRequest, request: Asked | undefined): Handled;
}

export interface DispatcherOptions {
  readonly decide: DataPlane['decide'];
  /** Must not throw. */
  readonly onError: (error: unknown) => void;
}

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #handlers = new Map<ListenerId, Handler>();
  /** Connections of which something is to be remembered: each until its next decision, at most until its end. */
  readonly #remembered = new Map<ConnectionId, Pick<Handled, 'refusal' | 'request'>>();

  readonly #denials = new Map<ListenerId, Record<string, number>>();

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
  readonly onDecisionRequest = (events: readonly DecisionRequest[]): void => {
    for (const event of events) {
      try {
        this.#dispatch(event);
      } catch (error) {
        this.#fail(event, error);
      }
    }
  };

  /** Targets that clients of this listener were refused, by the reason. */
  denialsOf(listener: ListenerId): Readonly<Record<string, number>> {
    return this.#denials.get(listener) ?? {};
  }

  /** Why the connection was refused, if it was. */
  refusalOf(connection: ConnectionId): Refusal | undefined {
    return this.#remembered.get(connection)?.refusal;
  }

  /** The connection has ended, and is forgotten. */
  end(connection: ConnectionId): void {
    this.#remembered.delete(connection);
  }

  /** Decisions that are still to come go nowhere. */
  stop(): void {
    this.#remembered.clear();
    this.#handlers.clear();
  }

  /** How many connections something is remembered of. */
  get size(): number {
    return this.#remembered.size;
  }

  #dispatch(event: DecisionRequest): void {
    const handler = this.#handlers.get(event.listener);
    if (handler === undefined) throw new Error(`listener ${event.listener} is not known`);
    const handled =
      event.kind === 'client' || event.kind === 'head'
        ? handler.first(event)
        : handler.later(event, this.#remembered.get(event.connection)?.request);
    if (handled instanceof Promise) this.#await(event, handled);
    else this.#give(event, handled);
  }

  #await(event: DecisionRequest, handled: Promise<Handled>): void {
    // What is remembered meanwhile is the waiting itself: it goes when the connection does.
    const waiting = {};
    this.#remembered.set(event.connection, waiting);
    const unlessGone = (use: () => void) => {
      if (this.#remembered.get(event.connection) !== waiting) return;
      try {
        use();
      } catch (error) {
        this.#fail(event, error);
      }
    };
    handled.then(
      (settled) => unlessGone(() => this.#give(event, settled)),
      (error: unknown) => unlessGone(() => this.#fail(event, error)),
    );
  }

  #countDenial(listener: ListenerId, reason: string): void {
    const denials = this.#denials.get(listener) ?? {};
    denials[reason] = (denials[reason] ?? 0) + 1;
    this.#denials.set(listener, denials);
  }

  #give({ connection, listener }: DecisionRequest, { decision, refusal, request }: Handled): void {
    if (refusal !== undefined && decision.action === 'reject') this.#countDenial(listener, decision.reason);
    if (refusal !== undefined) this.#remembered.set(connection, { refusal });
    else if (request !== undefined) this.#remembered.set(connection, { request });
    else this.#remembered.delete(connection);
    this.#options.decide(connection, decision);
  }

  #fail(event: DecisionRequest, error: unknown): void {
    this.#options.onError(error);
    const refusal = { problem: 'its request could not be decided about', subject: 'internal' };
    this.#give(event, { decision: { action: 'reject', reason: 'internal' }, refusal });
  }
}
