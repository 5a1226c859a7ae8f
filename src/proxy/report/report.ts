/** Events of the data plane → log lines. No event may throw: that would end the process. */

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
import type { Clock } from '../../platform/clock.ts';
import type { VsockProxyError } from '../../platform/errors.ts';
import type { Log } from '../../platform/log.ts';
import type { Refusal } from '../handlers/dispatcher.ts';
import { describeEnd, describeRecord, findFailure, type ReportedRoute, resourceHint } from './close-records.ts';
import { describeErrno } from './errno.ts';
import { formatAddress, formatClient, formatServer, nameClient } from './format.ts';
import { describeLimit, describeRefused } from './limits.ts';
import { count, seconds } from './quantities.ts';
import { type Subjects, Throttle } from './throttle.ts';

/** Of a trouble that goes on, one line per period is enough. */
const PERIOD_MS = 10_000;
const PERIOD = `${PERIOD_MS / 1000} s`;

export interface ReportOptions {
  readonly log: Log;
  readonly clock: Clock;
  readonly counters: () => readonly ListenerCounters[];
  /** Why a connection that has ended was refused, if it was. */
  readonly refusalOf: (connection: ConnectionId) => Refusal | undefined;
  /** `host:port`; undefined where that is not known any more. */
  readonly targetOf: (target: TargetId) => string | undefined;
}

export interface Report {
  readonly events: Omit<DataPlaneEvents, 'onDecisionRequest'>;
  /** Before the first event of this listener can come. */
  addRoute(listener: ListenerId, route: ReportedRoute): void;
  /** When no event of it can come any more. */
  removeRoute(listener: ListenerId): void;
  /** A question could not be answered, for a reason that nobody thought of. */
  tellError(error: unknown): void;
  /** A name cannot be resolved, and its last good answer stays in use. */
  tellStale(error: VsockProxyError, name: string, ageMs: number): void;
  /** Says what it has held back. */
  stop(): void;
}

type RefusedFault = Extract<Fault, { readonly client: unknown }>;

/** A route, and what the summaries of its listener account for: of clients who waited, and of those who were refused. */
interface Told extends ReportedRoute {
  readonly told: Record<'limitHits' | 'limitWaitMs' | RefusedFault['kind'], number>;
}

const NOTHING_TOLD = { limitHits: 0, limitWaitMs: 0, 'not-admitted': 0, 'client-limit': 0, 'client-rate': 0 };

export function openReport({ log, clock, counters, refusalOf, targetOf }: ReportOptions): Report {
  const routes = new Map<ListenerId, Told>();
  const throttle = new Throttle(clock, PERIOD_MS);

  /** One event at a time, so that one which cannot be told does not swallow the others. */
  const each = <Event extends { readonly listener: ListenerId }>(tell: (event: Event, route: Told) => void) => {
    return (events: readonly Event[]) => {
      for (const event of events) {
        try {
          const route = routes.get(event.listener);
          if (route !== undefined) tell(event, route);
        } catch (error) {
          log.error(`An event of the data plane could not be reported: ${error}`);
        }
      }
    };
  };

  const nameTarget = (id: TargetId | undefined) =>
    id === undefined ? 'no target' : (targetOf(id) ?? 'an earlier target');

  const tellProgress = (progress: Progress, route: ReportedRoute) => {
    const client = formatClient(progress.client, route.on);
    if (progress.step === 'accepted') return log.info(`Accepted connection on ${client}`);
    const target = route.target === undefined ? ` (${nameTarget(progress.target)})` : '';
    log.info(`Connected client from ${client} to ${formatServer(progress.server)}${target}`);
  };

  const tellClose = (record: CloseRecord, route: ReportedRoute) => {
    const refusal = refusalOf(record.connection);
    const ending = { record, refusal, target: route.target ?? nameTarget(record.target) };
    if (log.enables('debug')) log.debug(describeRecord(ending, route));
    const failure = findFailure(ending, route);
    if (failure === undefined) return log.info(describeEnd(record, route));
    const { problem, flood } = failure;
    const hint = failure.hint === undefined ? '' : `. Hint: ${failure.hint}`;
    const line = () =>
      `Client on ${formatClient(record.client, route.on)}: ${problem} (after ${Math.round(record.totalMs)} ms)`;
    const first = () => log.warn(`${line()}${hint}`);
    const again = (times: number, subjects: Subjects) => {
      const more = count(times, 'more client');
      if (times === 0) return false;
      if (flood === undefined) log.warn(`The same for ${more} within ${PERIOD}: ${problem}${hint}`);
      else log.warn(`${more} within ${PERIOD} ${flood.what}: ${enumerate(subjects)}`);
      return true;
    };
    const key = flood === undefined ? problem : `${record.reason} flood`;
    const isFirst = throttle.report(`${record.listener} ${key}`, { first, again }, flood?.subject);
    // Whoever reads of each connection reads how each ended.
    if (!isFirst && log.enables('info')) log.info(line());
  };

  const tellFault = (fault: Fault, route: Told) => {
    switch (fault.kind) {
      case 'limit':
        return tellLimit(fault.listener, route);
      case 'accept':
        return tellAccept(fault, route);
      default:
        return tellRefused(fault, route);
    }
  };

  const tellAccept = ({ listener, errno }: Extract<Fault, { kind: 'accept' }>, { on }: ReportedRoute) => {
    const problem = `Could not accept a client on ${formatAddress(on)}: ${describeErrno(errno)}`;
    throttle.report(`${listener} accept ${errno}`, {
      first: () => log.warn(`${problem}; it is tried again. Hint: ${resourceHint(errno)}`),
      again(times) {
        if (times > 0) log.warn(`${problem}; this has gone on for ${PERIOD} more. Hint: ${resourceHint(errno)}`);
        return times > 0;
      },
    });
  };

  const countersOf = (listener: ListenerId) => counters().find((each) => each.listener === listener);

  /** Which listener, where that is a question. */
  const onWhich = ({ on }: ReportedRoute) => (routes.size > 1 ? ` on ${formatAddress(on)}` : '');

  const tellLimit = (listener: ListenerId, route: Told) => {
    const { told } = route;
    const { limit, hint } = describeLimit(route);
    throttle.report(`${listener} limit`, {
      first: () => log.warn(`${limit}${onWhich(route)} reached: a client waits. Hint: ${hint}`),
      again() {
        const now = countersOf(listener);
        if (now === undefined) return false;
        const waits = now.limitHits - told.limitHits;
        if (waits === 0 && now.waitingMs === 0) return false;
        const waited = `${count(waits, 'client')} had to wait within ${PERIOD} (${seconds(now.limitWaitMs - told.limitWaitMs)} in all)`;
        const waiting = now.waitingMs === 0 ? 'none waits now' : `one waits now (for ${seconds(now.waitingMs)})`;
        log.warn(`${limit}${onWhich(route)}: ${waited}, ${waiting}. Hint: ${hint}`);
        told.limitHits = now.limitHits;
        told.limitWaitMs = now.limitWaitMs;
        return true;
      },
    });
  };

  const tellRefused = ({ kind, listener, client }: RefusedFault, route: Told) => {
    const { told } = route;
    const { why, hint } = describeRefused(kind, client, route);
    throttle.report(
      `${listener} ${kind}`,
      {
        first() {
          // One is told of, and many may have been counted since.
          told[kind] += 1;
          log.warn(`Client on ${formatClient(client, route.on)} refused: ${why}. Hint: ${hint}`);
        },
        again(_, subjects) {
          const now = countersOf(listener)?.closed[kind] ?? 0;
          if (now <= told[kind]) return false;
          // Of the clients in between nothing is told: these are some of them.
          const some = subjects.length === 0 ? '' : `, among them ${subjects.map(([name]) => name).join(', ')}`;
          log.warn(
            `${count(now - told[kind], 'more client')}${onWhich(route)} refused (${kind}) within ${PERIOD}${some}. Hint: ${hint}`,
          );
          told[kind] = now;
          return true;
        },
      },
      nameClient(client),
    );
  };

  return {
    events: { onProgress: each(tellProgress), onClose: each(tellClose), onFault: each(tellFault) },
    addRoute: (listener, route) => routes.set(listener, { ...route, told: { ...NOTHING_TOLD } }),
    removeRoute: (listener) => routes.delete(listener),
    tellError(error) {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      throttle.report('error', {
        first: () => log.error(`A question of the data plane could not be answered: ${text}`),
        again(times) {
          if (times > 0) log.error(`${count(times, 'more question')} could not be answered within ${PERIOD}`);
          return times > 0;
        },
      });
    },
    tellStale(error, name, ageMs) {
      const hint = error.hint === undefined ? '' : `. Hint: ${error.hint}`;
      throttle.report(
        'stale',
        {
          first: () =>
            log.warn(`${error.message}; serving the last good answer, ${Math.round(ageMs / 1000)} s old${hint}`),
          again(times, subjects) {
            if (times > 0)
              log.warn(`Serving last good answers, as names still cannot be resolved: ${enumerate(subjects)}`);
            return times > 0;
          },
        },
        name,
      );
    },
    stop: () => throttle.stop(),
  };
}

/** `a.example:443 (3), b.example:443`. */
function enumerate(subjects: Subjects): string {
  return subjects.map(([subject, times]) => (times === 1 ? subject : `${subject} (${times})`)).join(', ');
}
