/** Counts requests and responses of a route, by method and by class of status. */
import type { Handled, HandlerCounters, HttpCounters } from './dispatcher.ts';

/** Other methods are words of clients, of which there may be any number. */
const METHODS = ['CONNECT', 'GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
/** By the first digit of the status in `HTTP/1.1 403 …`. */
const STATUS_AT = 'HTTP/1.1 '.length;

export class HttpFigures {
  readonly #methods: Record<string, number> = {};
  readonly #statuses: Record<string, number> = {};

  countRequest(method: string): void {
    add(this.#methods, METHODS.includes(method) ? method : 'other');
  }

  /** Counts the response head that goes to the client with this decision. That of a tunnel may not be sent yet. */
  countResponse(handled: Handled): Handled {
    const { decision } = handled;
    if (decision.action !== 'reject' && decision.action !== 'respond') return handled;
    const digit = decision.toClient?.[STATUS_AT];
    if (digit !== undefined) add(this.#statuses, `${String.fromCharCode(digit)}xx`);
    return handled;
  }

  /** @param unseen exchanges that the data plane has decided by its cache */
  read({ decisionsCached, exchangesCached, answers }: HandlerCounters): HttpCounters {
    const methods = { ...this.#methods };
    add(methods, 'CONNECT', decisionsCached - exchangesCached);
    if (exchangesCached > 0) add(methods, 'GET', exchangesCached);
    const statuses = { ...this.#statuses };
    for (const [index, count] of answers.entries()) if (count > 0) add(statuses, `${index + 1}xx`, count);
    return { methods, statuses };
  }
}

function add(counts: Record<string, number>, key: string, count = 1): void {
  counts[key] = (counts[key] ?? 0) + count;
}
