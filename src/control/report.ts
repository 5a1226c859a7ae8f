/** Events of the data plane → log lines. No event may throw: that would end the process. */
import type {
  CloseRecord,
  DataPlaneEvents,
  Fault,
  ListenerCounters,
  ListenerId,
  Progress,
  SocketAddress,
} from '../dataplane/contract.ts';
import type { Clock } from '../dns/clock.ts';
import type { Log } from '../log.ts';
import { formatAddress, formatClient, formatServer } from './address.ts';
import { describeErrno } from './errno.ts';
import { describeEnd, describeRecord, findFailure, type ReportedRoute, resourceHint } from './record.ts';
import { Throttle } from './throttle.ts';
import { count, seconds } from './words.ts';

/** Of a trouble that goes on, one line per period is enough. */
const PERIOD_MS = 10_000;
const PERIOD = `${PERIOD_MS / 1000} s`;

const RAISE_LIMIT = 'raise --num_workers or limits.connections';

export interface ReportOptions {
  readonly log: Log;
  readonly clock: Clock;
  readonly counters: () => readonly ListenerCounters[];
}

export interface Report {
  readonly events: Omit<DataPlaneEvents, 'onAsk'>;
  /** Before the first event of this listener can come. */
  addRoute(listener: ListenerId, route: ReportedRoute): void;
  /** Says what it has held back. */
  stop(): void;
}

export function openReport({ log, clock, counters }: ReportOptions): Report {
  const routes = new Map<ListenerId, ReportedRoute>();
  const throttle = new Throttle(clock, PERIOD_MS);

  /** One event at a time, so that one which cannot be told does not swallow the others. */
  const each = <Event extends { readonly listener: ListenerId }>(
    tell: (event: Event, route: ReportedRoute) => void,
  ) => {
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

  const tellProgress = (progress: Progress, route: ReportedRoute) => {
    const client = formatClient(progress.client, route.on);
    if (progress.step === 'accepted') log.info(`Accepted connection on ${client}`);
    else log.info(`Connected client from ${client} to ${formatServer(progress.server)}`);
  };

  const tellClose = (record: CloseRecord, route: ReportedRoute) => {
    if (log.enables('debug')) log.debug(describeRecord(record, route));
    const failure = findFailure(record, route);
    if (failure === undefined) return log.info(describeEnd(record, route));
    const { problem, hint } = failure;
    throttle.report(`${record.listener} ${problem}`, {
      first() {
        const client = formatClient(record.client, route.on);
        log.warn(`Client on ${client}: ${problem} (after ${Math.round(record.totalMs)} ms). Hint: ${hint}`);
      },
      again(times) {
        if (times > 0)
          log.warn(`The same for ${count(times, 'more client')} within ${PERIOD}: ${problem}. Hint: ${hint}`);
        return times > 0;
      },
    });
  };

  const tellFault = (fault: Fault, route: ReportedRoute) => {
    if (fault.kind === 'limit') return tellLimit(fault.listener, route);
    if (fault.kind !== 'accept') return tellRefusal(fault, route);
    const problem = `Could not accept a client on ${formatAddress(route.on)}: ${describeErrno(fault.errno)}`;
    throttle.report(`${fault.listener} accept ${fault.errno}`, {
      first: () => log.warn(`${problem}; it is tried again. Hint: ${resourceHint(fault.errno)}`),
      again(times) {
        if (times > 0) log.warn(`${problem}; this has gone on for ${PERIOD} more. Hint: ${resourceHint(fault.errno)}`);
        return times > 0;
      },
    });
  };

  const tellRefusal = ({ kind, listener, client }: Extract<Fault, { client: SocketAddress }>, route: ReportedRoute) => {
    const refused = () => countersOf(listener)?.closed[kind] ?? 0;
    let told = refused();
    throttle.report(`${listener} ${kind}`, {
      first: () => log.warn(`Refused a client on ${formatClient(client, route.on)}: ${kind}`),
      again() {
        const now = refused();
        if (now === told) return false;
        log.warn(`Refused ${count(now - told, 'more client')} on ${formatAddress(route.on)} within ${PERIOD}: ${kind}`);
        told = now;
        return true;
      },
    });
  };

  const countersOf = (listener: ListenerId) => counters().find((each) => each.listener === listener);

  const tellLimit = (listener: ListenerId, { maxConnections }: ReportedRoute) => {
    const limit = `Limit of ${maxConnections} simultaneous connections`;
    const { limitHits = 1, limitWaitMs = 0 } = countersOf(listener) ?? {};
    let told = { limitHits: limitHits - 1, limitWaitMs }; // before this one
    throttle.report(`${listener} limit`, {
      first: () => log.warn(`${limit} reached: a client waits. Hint: ${RAISE_LIMIT}`),
      again() {
        const now = countersOf(listener);
        if (now === undefined) return false;
        const waits = now.limitHits - told.limitHits;
        if (waits === 0 && now.waitingMs === 0) return false;
        const waited = `${count(waits, 'client')} had to wait within ${PERIOD} (${seconds(now.limitWaitMs - told.limitWaitMs)} in all)`;
        const waiting = now.waitingMs === 0 ? 'none waits now' : `one waits now (for ${seconds(now.waitingMs)})`;
        log.warn(`${limit}: ${waited}, ${waiting}. Hint: ${RAISE_LIMIT}`);
        told = now;
        return true;
      },
    });
  };

  return {
    events: { onProgress: each(tellProgress), onClose: each(tellClose), onFault: each(tellFault) },
    addRoute: (listener, route) => routes.set(listener, route),
    stop: () => throttle.stop(),
  };
}
