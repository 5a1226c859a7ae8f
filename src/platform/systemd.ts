/**
 * The protocols between systemd and this process: sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3).
 *
 * All of them begin with environment variables. Without these, this file is not loaded.
 */
import type { Clock } from './clock.ts';
import { escapeControls } from './escape.ts';
import type { Log } from './log.ts';

/** sd_listen_fds(3): the first descriptor that is passed. */
const FIRST_FD = 3;
/** sd_listen_fds_with_names(3): the name of sockets that were passed without one. */
const UNNAMED = 'unknown';
const STATUS_PERIOD_MS = 10_000;
/** From the end of the drain to the end of the process, on a busy machine. */
const STOP_MARGIN_MS = 10_000;

/**
 * The listening sockets that systemd has passed to this process, by name (`FileDescriptorName=`); several may have the
 * same name. The variables are removed from the environment.
 */
export function takeActivatedSockets(env: NodeJS.ProcessEnv, pid: number): ReadonlyMap<string, readonly number[]> {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES } = env;
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete env[name];
  const sockets = new Map<string, readonly number[]>();
  // The variables are for another process, and were passed on.
  if (LISTEN_PID !== String(pid) || !/^\d{1,5}$/.test(LISTEN_FDS ?? '')) return sockets;
  const names = LISTEN_FDNAMES?.split(':') ?? [];
  for (let index = 0; index < Number(LISTEN_FDS); index += 1) {
    const name = names[index] ?? UNNAMED;
    sockets.set(name, [...(sockets.get(name) ?? []), FIRST_FD + index]);
  }
  return sockets;
}

export interface NotifierOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly pid: number;
  /** Sends a datagram to the unix socket at this path; a path with `@` in front is abstract. Throws if that fails. */
  readonly send: (path: string, text: string) => void;
  readonly clock: Clock;
  /** CLOCK_MONOTONIC in microseconds. */
  readonly monotonicMicros: () => bigint;
  readonly log: Log;
}

/** The messages to systemd. */
export interface ServiceHealth {
  /** One line for people. */
  status(): string;
  /** Whether all threads have run since the last call. */
  beat(): boolean;
}

export interface Notifier {
  /** The service is up. From now on its status is updated, and the watchdog is fed while its threads run. */
  ready(service: ServiceHealth): void;
  reloading(): void;
  /** Call it after every reload, successful or not. */
  reloaded(): void;
  /** @param withinMs how long the stop may take; systemd waits for this time, whatever TimeoutStopSec= says */
  stopping(status: string, withinMs: number): void;
}

/** Undefined if systemd expects no messages. The variables are removed from the environment. */
export function openNotifier({ env, pid, send, clock, monotonicMicros, log }: NotifierOptions): Notifier | undefined {
  const { NOTIFY_SOCKET: path = '', WATCHDOG_USEC, WATCHDOG_PID } = env;
  for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete env[name];
  if (path === '') return undefined;
  const isWatched = /^[1-9]\d{0,15}$/.test(WATCHDOG_USEC ?? '') && [undefined, String(pid)].includes(WATCHDOG_PID);
  const watchdogMs = isWatched ? Number(WATCHDOG_USEC) / 1000 : undefined;

  let hasFailed = false;
  let isOver = false;
  const tell = (...assignments: readonly string[]): void => {
    if (isOver) return;
    try {
      send(path, assignments.map(escapeControls).join('\n'));
    } catch (error) {
      if (!hasFailed) log.warn(`systemd cannot be told of the service's state: ${error}`);
      hasFailed = true;
    }
  };

  const timers = new Map<string, () => void>();
  const every = (name: string, ms: number, act: () => void): void => {
    const again = () => {
      timers.set(name, clock.setTimer(ms, again));
      act();
    };
    timers.set(name, clock.setTimer(ms, again));
  };

  let running: ServiceHealth | undefined;
  let told = '';
  const statusOf = (service: ServiceHealth): string => {
    told = service.status();
    return `STATUS=${told}`;
  };
  return {
    ready(service) {
      running = service;
      tell('READY=1', statusOf(service));
      every('status', STATUS_PERIOD_MS, () => {
        if (service.status() !== told) tell(statusOf(service));
      });
      if (watchdogMs === undefined) return;
      let missed = 0;
      // Once may be chance: a thread was busy, or a tick came early.
      every('watchdog', watchdogMs / 2, () => {
        missed = service.beat() ? 0 : missed + 1;
        if (missed < 2) tell('WATCHDOG=1');
        else if (missed === 2)
          log.error('A relay thread hangs: systemd is not told any more that the service is alive');
      });
    },
    reloading: () => tell('RELOADING=1', `MONOTONIC_USEC=${monotonicMicros()}`, 'STATUS=Reloading the configuration'),
    reloaded() {
      if (running !== undefined) tell('READY=1', statusOf(running));
    },
    stopping(status, withinMs) {
      for (const cancel of timers.values()) cancel();
      tell('STOPPING=1', `EXTEND_TIMEOUT_USEC=${(withinMs + STOP_MARGIN_MS) * 1000}`, `STATUS=${status}`);
      isOver = true;
    },
  };
}
