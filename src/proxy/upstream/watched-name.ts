/** The upstream of a route to a name: those of its current addresses that the allowlist admits. */

import type { IpAddress } from '../../access/address.ts';
import {
  type AccessRequest,
  type Allowed,
  type NeedsAddresses,
  type NeedsNames,
  settleAddresses,
} from '../../access/authorize.ts';
import { type Denial, describeRefusedAddresses } from '../../access/denial.ts';
import type { Remembered } from '../../dns/lifetime.ts';
import type { Answer } from '../../dns/resolver.ts';
import { type Watch, type WatchEvents, watchName } from '../../dns/watch.ts';
import type { VsockProxyError } from '../../platform/errors.ts';
import type { LogFields } from '../../platform/log.ts';
import { count } from '../report/quantities.ts';
import { ResolutionLog } from './resolution-log.ts';
import { searchListedNames } from './reverse-lookup.ts';
import { addressesOf, denialError, logMatchedIp, type Upstream, type UpstreamOptions, writtenHost } from './types.ts';

/** The least time between warnings about a name that cannot be resolved. */
const WARNING_PERIOD_MS = 60_000;

export class ResolvedUpstream implements Upstream {
  readonly decided: Promise<void>;
  readonly #decide: () => void;
  readonly #deny: (error: VsockProxyError) => void;
  readonly #request: AccessRequest;
  /** It has the rule that lists the name, once there is one. */
  #needs: NeedsAddresses;
  readonly #options: UpstreamOptions;
  readonly #watch: Watch;
  readonly #resolution: ResolutionLog;
  #stopSearch = (): void => undefined;
  #isDecided = false;
  #absence: string;
  #warnedAt = Number.NEGATIVE_INFINITY;
  /** Whether an answer is in use, whether or not the guard admits any of its addresses. */
  #answered = false;

  constructor(request: AccessRequest, needs: NeedsAddresses, options: UpstreamOptions) {
    const { name, rule } = needs;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.decided = promise;
    this.#decide = () => {
      this.#isDecided = true;
      resolve();
    };
    this.#deny = reject;
    this.#request = request;
    this.#needs = needs;
    this.#options = options;
    this.#resolution = new ResolutionLog(writtenHost(options), options);
    this.#absence = `${name} is not resolved yet`;
    // A listed name is allowed, whatever its addresses.
    if (rule !== undefined) this.#decide();

    const { family, resolver, clock, log } = options;
    // An earlier answer without any admitted address decides nothing, because a new one will follow.
    const initial =
      options.initial && this.#settle(options.initial.answer).kind === 'allowed' ? options.initial : undefined;
    const events: WatchEvents = {
      onQuery: () => log.debug(`Asking for the addresses of ${name}`),
      onAnswer: (answer, { changed, failuresBefore }) => {
        if (failuresBefore > 0) {
          this.#warnedAt = Number.NEGATIVE_INFINITY;
          log.info(`${name} can be resolved again, after ${count(failuresBefore, 'failure')}`);
        }
        this.#answered = true;
        if (changed) this.#use(answer);
      },
      onFailure: (error, { staleMs, retryMs }) => {
        // The first refusal of clients is news, and not a repetition.
        if (staleMs === undefined && this.#answered) this.#warnedAt = Number.NEGATIVE_INFINITY;
        this.#warn(error, staleMs, retryMs);
        if (staleMs !== undefined) return;
        this.#stopSearch();
        this.#answered = false;
        this.#absence = error.message;
        options.onChange([]);
        this.#resolution.useNone();
        this.#decide();
      },
    };
    this.#watch = watchName(name, family, { resolver, clock, initial }, events);
  }

  absence(): string {
    return this.#absence;
  }

  last(): Remembered | undefined {
    return this.#watch.last();
  }

  client(): void {
    this.#resolution.client();
  }

  stop(): void {
    this.#stopSearch();
    this.#watch.stop();
  }

  #use(answer: Answer): void {
    this.#stopSearch();
    const state = this.#settle(answer);
    if (state.kind === 'allowed') this.#useAllowed(state, answer);
    else if (state.kind === 'denied') this.#useNone(state);
    else if (state.kind === 'needs-names') this.#search(state, answer);
  }

  #settle(answer: Answer): ReturnType<typeof settleAddresses> {
    return settleAddresses(this.#request, this.#needs, answer);
  }

  #search(needs: NeedsNames, answer: Answer): void {
    const { onChange } = this.#options;
    this.#stopSearch = searchListedNames(this.#request, needs, this.#options, {
      onFound: (allowed) => {
        this.#needs = { ...this.#needs, ...(allowed.foundBy && { rule: allowed.foundBy }) };
        this.#useAllowed(allowed, answer);
      },
      onDenied: (denial) => this.#useNone(denial),
      onFailure: this.#decide,
      onAbsence: (absence) => {
        this.#absence = absence;
        onChange([]);
      },
    });
  }

  #useAllowed(allowed: Allowed, answer: Answer): void {
    const { target, log, onChange } = this.#options;
    const { admitted, refused } = allowed;
    // The addresses are set before the log line, so that the line already holds for the next client.
    onChange(addressesOf(allowed, target));
    this.#decide();
    this.#tellUse(
      admitted.map(({ address }) => address),
      answer,
    );
    if (refused.length > 0) {
      log.warn(
        `Not using ${refused.length} of ${answer.addresses.length} addresses of ${this.#needs.name}: ${describeRefusedAddresses(refused)}`,
      );
    }
  }

  #useNone(denial: Denial): void {
    const { log, onChange } = this.#options;
    this.#absence = denial.reason;
    if (!this.#isDecided) {
      this.#deny(denialError(denial));
      return;
    }
    onChange([]);
    this.#resolution.useNone();
    log.warn(`${denial.reason}; clients are refused. Hint: ${denial.hint}`);
  }

  #tellUse([first, ...others]: readonly IpAddress[], answer: Answer): void {
    const { log, target } = this.#options;
    if (first === undefined) return;
    if (this.#needs.rule === undefined) logMatchedIp(log, first, target);
    this.#resolution.use(first, answer);
    const { incomplete } = answer;
    const server = `for the given server "${writtenHost(this.#options)}".`;
    for (const { text } of others) log.debug(`Also using IP "${text}" ${server}`);
    if (incomplete !== undefined) log.debug(`No IPv${incomplete.missing} addresses ${server} (${incomplete.code})`);
  }

  #warn(error: VsockProxyError, staleMs: number | undefined, retryMs: number): void {
    const { clock, log } = this.#options;
    const consequence =
      staleMs === undefined
        ? 'clients are refused until it can be'
        : `serving the last good answer, ${Math.round(staleMs / 1000)} s old`;
    const text = `${error.message}; ${consequence}; next try in ${Math.ceil(retryMs / 1000)} s`;
    const fields: LogFields = {
      event: staleMs === undefined ? 'name-failed' : 'answer-stale',
      target: this.#needs.name,
      ...(error.errno !== undefined && { errno: error.errno }),
    };
    if (clock.now() - this.#warnedAt < WARNING_PERIOD_MS) {
      log.debug(text, fields);
    } else {
      this.#warnedAt = clock.now();
      log.warn(error.hint === undefined ? text : `${text}. Hint: ${error.hint}`, fields);
    }
  }
}
