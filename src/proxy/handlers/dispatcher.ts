/**
 * Passes each decision request of the data plane to the handler of its listener, and returns the decision.
 *
 * An error on the way to a decision ends only that connection. The dispatcher remembers of a connection only what its
 * next request or its end needs, and no longer than that.
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
  /** The text after `Client on cid: 16 port: 5005: `. */
  readonly problem: string;
  readonly hint?: string;
  /** What differs between many such clients: the target, or the problem. */
  readonly subject: string;
}

export interface Handled {
  readonly decision: Decision;
  /** With a decision to reject. */
  readonly refusal?: Refusal;
  /** The HTTP request that later decision requests of this connection concern. */
  readonly request?: Asked;
}

/** The first request for each client, and for each further HTTP request. */
export type FirstRequest = Extract<DecisionRequest, { readonly kind: 'client' | 'head' }>;
export type LaterRequest = Exclude<DecisionRequest, FirstRequest>;

/** How long the data plane may reuse a decision for the same head. A name is looked up at most once in this time. */
export const CACHE_MS = 1000;

/** The numbers of requests by method, and of responses by class of status, since the handler was made. */
export interface HttpCounters {
  /** `CONNECT`, `GET`, `HEAD`, `POST`, `PUT`, `DELETE`, `other`. */
  readonly methods: Readonly<Record<string, number>>;
  /** `2xx`, `3xx`, `4xx`, `5xx`. */
  readonly statuses: Readonly<Record<string, number>>;
}

export type HandlerCounters = Pick<ListenerCounters, 'decisionsCached' | 'exchangesCached' | 'answers'>;

/** Decides about the connections of a listener. It may throw, and the connection is then rejected. */
export interface Handler {
  /** Numbers for HTTP handlers. @param unseen exchanges that cached decisions decided, without the handler */
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
  /** Connections with remembered values: each until its next decision, or at most until its end. */
  readonly #remembered = new Map<ConnectionId, Pick<Handled, 'refusal' | 'request'>>();

  readonly #denials = new Map<ListenerId, Record<string, number>>();

  constructor(options: DispatcherOptions) {
    this.#options = options;
  }

  /** The handler for this listener from now on, also for its existing connections. */
  setHandler(listener: ListenerId, handler: Handler): void {
    this.#handlers.set(listener, handler);
  }

  removeHandler(listener: ListenerId): void {
    this.#handlers.delete(listener);
    this.#denials.delete(listener);
  }

  /** The event handler for the data plane. */
  readonly onDecisionRequest = (events: readonly DecisionRequest[]): void => {
    for (const event of events) {
      try {
        this.#dispatch(event);
      } catch (error) {
        this.#fail(event, error);
      }
    }
  };

  /** The number of refused targets of this listener, by reason. */
  denialsOf(listener: ListenerId): Readonly<Record<string, number>> {
    return this.#denials.get(listener) ?? {};
  }

  /** Why the connection was refused; undefined if it was not. */
  refusalOf(connection: ConnectionId): Refusal | undefined {
    return this.#remembered.get(connection)?.refusal;
  }

  /** The connection has ended, and is forgotten. */
  end(connection: ConnectionId): void {
    this.#remembered.delete(connection);
  }

  /** Later decisions are dropped. */
  stop(): void {
    this.#remembered.clear();
    this.#handlers.clear();
  }

  /** The number of connections with remembered values. */
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
    // Meanwhile the waiting itself is remembered. It ends with the connection.
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
