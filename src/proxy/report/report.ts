/** Turns events of the data plane into log lines. No event handler may throw, because that would end the process. */

import type {
  CloseRecord,
  ConnectionId,
  DataPlaneEvents,
  Fault,
  ListenerCounters,
  ListenerId,
  Progress,
  TargetId,
} from '../../dataplane/contract.ts';
import { writeAddress } from '../../dataplane/format.ts';
import type { Clock } from '../../platform/clock.ts';
import type { VsockProxyError } from '../../platform/errors.ts';
import type { Log, LogFields } from '../../platform/log.ts';
import type { LastFailure } from '../figures.ts';
import type { Refusal } from '../handlers/dispatcher.ts';
import {
  type ClientFailure,
  describeEnd,
  describeRecord,
  findFailure,
  type ReportedRoute,
  resourceHint,
} from './close-records.ts';
import { describeErrno } from './errno.ts';
import { clientFields, recordFields } from './fields.ts';
import { formatAddress, formatClient, formatServer, nameClient } from './format.ts';
import { describeLimit, describeRefused } from './limits.ts';
import { count, seconds } from './quantities.ts';
import { type Subjects, Throttle } from './throttle.ts';

/** The interval of the lines about a trouble that lasts. */
const PERIOD_MS = 10_000;
const PERIOD = `${PERIOD_MS / 1000} s`;

export interface ReportOptions {
  readonly log: Log;
  readonly clock: Clock;
  /** The wall clock. */
  readonly now: () => Date;
  readonly counters: () => readonly ReportedCounters[];
  /** The reason of the refusal of a connection that has ended; undefined if it was not refused. */
  readonly refusalOf: (connection: ConnectionId) => Refusal | undefined;
  /** `host:port`; undefined if the target is no longer known. */
  readonly targetOf: (target: TargetId) => string | undefined;
}

/** The counters that summaries report. */
export type ReportedCounters = Pick<
  ListenerCounters,
  'listener' | 'active' | 'closed' | 'limitHits' | 'limitWaitMs' | 'waitingMs'
>;

type RefusedFault = Extract<Fault, { readonly client: unknown }>;

/** A route, and the numbers that its log lines have already reported: of clients who waited, and of those refused. */
interface RouteAccount extends ReportedRoute {
  lastFailure: LastFailure | undefined;
  readonly reported: Record<'limitHits' | 'limitWaitMs' | RefusedFault['kind'], number>;
}

const NOTHING_REPORTED = { limitHits: 0, limitWaitMs: 0, 'not-admitted': 0, 'client-limit': 0, 'client-rate': 0 };

/** Logs connections and troubles. A trouble is logged at once, and then once per period while it lasts. */
export class Report {
  readonly #options: ReportOptions;
  readonly #log: Log;
  readonly #throttle: Throttle;
  readonly #routes = new Map<ListenerId, RouteAccount>();
  #staleAnswers = 0;

  readonly events: Omit<DataPlaneEvents, 'onDecisionRequest'> = {
    onProgress: (events) => this.#tellEach(events, (event, route) => this.#tellProgress(event, route)),
    onClose: (events) => this.#tellEach(events, (event, route) => this.#tellClose(event, route)),
    onFault: (events) => this.#tellEach(events, (event, route) => this.#tellFault(event, route)),
  };

  constructor(options: ReportOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#throttle = new Throttle(options.clock, PERIOD_MS);
  }

  /** Must be called before the first event of this listener can come. */
  addRoute(listener: ListenerId, route: ReportedRoute): void {
    this.#routes.set(listener, { ...route, lastFailure: undefined, reported: { ...NOTHING_REPORTED } });
  }

  /** Must be called when no further event of the listener can come. */
  removeRoute(listener: ListenerId): void {
    this.#routes.delete(listener);
  }

  /** The last failure of a connection of this listener. */
  lastFailure(listener: ListenerId): LastFailure | undefined {
    return this.#routes.get(listener)?.lastFailure;
  }

  /** How often an old answer was used because there was no new one. */
  get staleAnswers(): number {
    return this.#staleAnswers;
  }

  /** Logs that a decision request failed for an unexpected reason. */
  tellError(error: unknown): void {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#throttle.report('error', {
      first: () => this.#log.error(`A decision request could not be answered: ${text}`),
      again: (times) => {
        if (times > 0)
          this.#log.error(`${count(times, 'more decision request')} could not be answered within ${PERIOD}`);
        return times > 0;
      },
    });
  }

  /** Logs that a name cannot be resolved, and that its last good answer stays in use. */
  tellStale(error: VsockProxyError, name: string, ageMs: number): void {
    this.#staleAnswers += 1;
    const hint = error.hint === undefined ? '' : `. Hint: ${error.hint}`;
    const line = `${error.message}; serving the last good answer, ${Math.round(ageMs / 1000)} s old${hint}`;
    const event = 'answer-stale';
    this.#throttle.report(
      'stale',
      {
        first: () => this.#log.warn(line, { event, target: name, ...(error.errno && { errno: error.errno }) }),
        again: (times, subjects) => {
          if (times > 0) {
            const still = `Serving last good answers, as names still cannot be resolved: ${enumerate(subjects)}`;
            this.#log.warn(still, { event });
          }
          return times > 0;
        },
      },
      name,
    );
  }

  /** Logs everything that is held back. */
  stop(): void {
    this.#throttle.stop();
  }

  /** Handles one event at a time, so that a failure with one does not lose the others. */
  #tellEach<Event extends { readonly listener: ListenerId }>(
    events: readonly Event[],
    tell: (event: Event, route: RouteAccount) => void,
  ): void {
    for (const event of events) {
      try {
        const route = this.#routes.get(event.listener);
        if (route !== undefined) tell(event, route);
      } catch (error) {
        this.#log.error(`An event of the data plane could not be reported: ${error}`);
      }
    }
  }

  #tellProgress(progress: Progress, route: ReportedRoute): void {
    const client = formatClient(progress.client, route.on);
    const { connection } = progress;
    if (progress.step === 'accepted') {
      this.#log.info(`Accepted connection on ${client}`, {
        event: 'accepted',
        ...clientFields(progress.client, route),
        connection,
      });
      route.onClient?.();
      return;
    }
    const name = route.target ?? this.#nameTarget(progress.target);
    const target = route.target === undefined ? ` (${name})` : '';
    this.#log.info(`Connected client from ${client} to ${formatServer(progress.server)}${target}`, {
      event: 'connected',
      ...clientFields(progress.client, route),
      target: name,
      server: formatServer(progress.server),
      connection,
    });
  }

  #tellClose(record: CloseRecord, route: RouteAccount): void {
    const refusal = this.#options.refusalOf(record.connection);
    const ending = { record, refusal, target: route.target ?? this.#nameTarget(record.target) };
    const fields = recordFields(ending, route);
    if (this.#log.enables('debug')) this.#log.debug(describeRecord(ending, route), fields);
    const failure = findFailure(ending, route);
    if (failure === undefined) {
      this.#log.info(describeEnd(record, route), { ...fields, event: 'closed' });
      return;
    }
    route.lastFailure = { at: this.#options.now(), problem: failure.problem };
    this.#tellFailure(failure, record, route, { ...fields, event: 'failed' });
  }

  #tellFailure(
    { problem, hint, flood }: ClientFailure,
    record: CloseRecord,
    { on }: ReportedRoute,
    fields: LogFields,
  ): void {
    const line = `Client on ${formatClient(record.client, on)}: ${problem} (after ${Math.round(record.totalMs)} ms)`;
    const ending = hint === undefined ? '' : `. Hint: ${hint}`;
    const again = (times: number, subjects: Subjects) => {
      const more = count(times, 'more client');
      if (times === 0) return false;
      const common = { event: 'failed', listener: writeAddress(on), reason: record.reason } as const;
      if (flood === undefined) this.#log.warn(`The same for ${more} within ${PERIOD}: ${problem}${ending}`, common);
      else this.#log.warn(`${more} within ${PERIOD} ${flood.what}: ${enumerate(subjects)}`, common);
      return true;
    };
    const key = `${record.listener} ${flood === undefined ? problem : `${record.reason} flood`}`;
    const first = () => this.#log.warn(`${line}${ending}`, fields);
    const isFirst = this.#throttle.report(key, { first, again }, flood?.subject);
    // The log of each connection includes how each one ended.
    if (!isFirst) this.#log.info(line, fields);
  }

  #tellFault(fault: Fault, route: RouteAccount): void {
    switch (fault.kind) {
      case 'limit':
        this.#tellLimit(fault.listener, route);
        break;
      case 'accept':
        this.#tellAccept(fault, route);
        break;
      default:
        this.#tellRefused(fault, route);
    }
  }

  #tellAccept({ listener, errno }: Extract<Fault, { kind: 'accept' }>, { on }: ReportedRoute): void {
    const problem = `Could not accept a client on ${formatAddress(on)}: ${describeErrno(errno)}`;
    const hint = `Hint: ${resourceHint(errno)}`;
    const fields = { event: 'accept-failed', listener: writeAddress(on), errno } as const;
    this.#throttle.report(`${listener} accept ${errno}`, {
      first: () => this.#log.warn(`${problem}; it is tried again. ${hint}`, fields),
      again: (times) => {
        if (times > 0) this.#log.warn(`${problem}; this has gone on for ${PERIOD} more. ${hint}`, fields);
        return times > 0;
      },
    });
  }

  #tellLimit(listener: ListenerId, route: RouteAccount): void {
    const { limit, hint } = describeLimit(route);
    const line = `${limit}${this.#onWhich(route)}`;
    const fields = { event: 'limit-reached', listener: writeAddress(route.on) } as const;
    this.#throttle.report(`${listener} limit`, {
      first: () => this.#log.warn(`${line} reached: a client waits. Hint: ${hint}`, fields),
      again: () => {
        const since = this.#waitsSince(listener, route);
        if (since !== undefined) this.#log.warn(`${line}: ${since}. Hint: ${hint}`, fields);
        return since !== undefined;
      },
    });
  }

  /** The clients that had to wait since the last report; undefined if none had to, and none waits now. */
  #waitsSince(listener: ListenerId, { reported }: RouteAccount): string | undefined {
    const now = this.#countersOf(listener);
    if (now === undefined) return undefined;
    const waits = now.limitHits - reported.limitHits;
    if (waits === 0 && now.waitingMs === 0) return undefined;
    const waitedMs = now.limitWaitMs - reported.limitWaitMs;
    reported.limitHits = now.limitHits;
    reported.limitWaitMs = now.limitWaitMs;
    const waiting = now.waitingMs === 0 ? 'none waits now' : `one waits now (for ${seconds(now.waitingMs)})`;
    return `${count(waits, 'client')} had to wait within ${PERIOD} (${seconds(waitedMs)} in all), ${waiting}`;
  }

  #tellRefused({ kind, listener, client }: RefusedFault, route: RouteAccount): void {
    const { reported } = route;
    const { why, hint } = describeRefused(kind, client, route);
    const common = { event: 'refused', listener: writeAddress(route.on), reason: kind } as const;
    this.#throttle.report(
      `${listener} ${kind}`,
      {
        first: () => {
          // One client is reported here; many more may have been counted since.
          reported[kind] += 1;
          const line = `Client on ${formatClient(client, route.on)} refused: ${why}. Hint: ${hint}`;
          this.#log.warn(line, { ...common, ...clientFields(client, route) });
        },
        again: (_, subjects) => {
          const now = this.#countersOf(listener)?.closed[kind] ?? 0;
          if (now <= reported[kind]) return false;
          // Clients in between are only counted; these are some of them.
          const some = subjects.length === 0 ? '' : `, among them ${subjects.map(([name]) => name).join(', ')}`;
          const more = `${count(now - reported[kind], 'more client')}${this.#onWhich(route)}`;
          this.#log.warn(`${more} refused (${kind}) within ${PERIOD}${some}. Hint: ${hint}`, common);
          reported[kind] = now;
          return true;
        },
      },
      nameClient(client),
    );
  }

  #countersOf(listener: ListenerId): ReportedCounters | undefined {
    return this.#options.counters().find((each) => each.listener === listener);
  }

  #nameTarget(id: TargetId | undefined): string {
    return id === undefined ? 'no target' : (this.#options.targetOf(id) ?? 'an earlier target');
  }

  /** Names the listener, if there is more than one. */
  #onWhich({ on }: ReportedRoute): string {
    return this.#routes.size > 1 ? ` on ${formatAddress(on)}` : '';
  }
}

/** The part of a report that listeners need. */
export type ReportedRoutes = Pick<Report, 'addRoute' | 'removeRoute' | 'lastFailure'>;

/** `a.example:443 (3), b.example:443`. */
function enumerate(subjects: Subjects): string {
  return subjects.map(([subject, times]) => (times === 1 ? subject : `${subject} (${times})`)).join(', ');
}
