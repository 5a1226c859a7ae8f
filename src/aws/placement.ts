/** Finds the region of this instance by its metadata service, and waits until the service is up. */
import type { Clock } from '../platform/clock.ts';
import { VsockProxyError } from '../platform/errors.ts';
import type { Log } from '../platform/log.ts';
import { type Conversation, requestPlacement, SERVICE_ADDRESSES, type ServiceAddress } from './metadata-service.ts';
import type { Placement } from './partitions.ts';

export interface PlacementOptions {
  /** How long to try; 0: for ever. */
  readonly timeoutMs: number;
  /** The version of the protocol; see {@link Conversation}. */
  readonly version: 1 | 2;
  readonly clock: Clock;
  /** From 0 to below 1. */
  readonly random: () => number;
  readonly log: Log;
  /** What to do if there is no such service: a clause for a hint. */
  readonly elsewhere: string;
}

/**
 * Requests go to all addresses at the same time, and the first good answer is used. Tests replace the real addresses.
 */
export interface MetadataService {
  readonly addresses: readonly ServiceAddress[];
  readonly request: (address: ServiceAddress, conversation: Conversation) => Promise<Placement>;
}

/** The service answers within milliseconds. If it does not, the network is not up yet. */
const ATTEMPT_MS = 5_000;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 5_000;
/** Pauses are shorter by a random part of up to this. */
const JITTER = 0.5;
/** The interval of the log lines while it waits. */
const REPORT_MS = 60_000;

/**
 * Sends requests until there is an answer. Every failure may end: the network may come up, or the service may be
 * enabled.
 * @throws VsockProxyError `metadata` after `timeoutMs`, with the last reason
 */
export async function readPlacement(
  { timeoutMs, version, clock, random, log, elsewhere }: PlacementOptions,
  { addresses, request }: MetadataService = { addresses: SERVICE_ADDRESSES, request: requestPlacement },
): Promise<Placement> {
  const hint = `on EC2, the metadata service must be enabled for the instance; elsewhere, ${elsewhere}`;
  const started = clock.now();
  const over = new AbortController();
  const cancelDeadline = timeoutMs === 0 ? undefined : clock.setTimer(timeoutMs, () => over.abort());
  let reason: VsockProxyError | undefined;
  let nextReportMs = 0;
  try {
    for (let attempt = 1; ; attempt += 1) {
      const outcome = await withinLimit(clock, over.signal, (signal) => {
        return requestFromAll(addresses, hint, (address) => request(address, { version, signal }));
      });
      const waitedMs = clock.now() - started;
      if (!(outcome instanceof VsockProxyError)) {
        if (attempt > 1) log.info(`The metadata service answered after ${seconds(waitedMs)}`);
        return outcome;
      }
      // If the deadline cut off this attempt, the reason of the attempt before says more.
      if (reason === undefined || !over.signal.aborted) reason = outcome;
      if (!over.signal.aborted && waitedMs >= nextReportMs) {
        const progress = nextReportMs === 0 ? limitOf(timeoutMs) : `, ${seconds(waitedMs)} so far`;
        log.warn(`Waiting for the metadata service${progress}: ${reason.line}`);
        nextReportMs = waitedMs + REPORT_MS;
      }
      await pause(clock, pauseMs(attempt, random()), over.signal);
      if (over.signal.aborted) throw giveUp(reason, hint, timeoutMs, attempt);
    }
  } finally {
    cancelDeadline?.();
  }
}

function pauseMs(attempt: number, random: number): number {
  return Math.min(FIRST_PAUSE_MS * 2 ** (attempt - 1), LONGEST_PAUSE_MS) * (1 - JITTER * random);
}

/**
 * Runs the action with a signal, which aborts when the time for one attempt or for all is over, and when the action has
 * ended.
 */
async function withinLimit<T>(
  clock: Clock,
  over: AbortSignal,
  action: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const ending = new AbortController();
  const cancelLimit = clock.setTimer(ATTEMPT_MS, () => ending.abort());
  try {
    return await action(AbortSignal.any([over, ending.signal]));
  } finally {
    cancelLimit();
    ending.abort();
  }
}

/** @returns the first answer, or the reason why there is none */
async function requestFromAll(
  addresses: readonly ServiceAddress[],
  hint: string,
  request: (address: ServiceAddress) => Promise<Placement>,
): Promise<Placement | VsockProxyError> {
  try {
    return await Promise.any(addresses.map(request));
  } catch (error) {
    const failures: readonly unknown[] = error instanceof AggregateError ? error.errors : [error];
    const known = failures.filter((failure) => failure instanceof VsockProxyError);
    if (known.length < failures.length) throw error;
    // The error of a service that answered says more than that of an address without a service.
    const answered = known.find(({ errno }) => errno === undefined);
    return answered ?? new VsockProxyError('metadata', known.map(({ message }) => message).join('; '), { hint });
  }
}

function giveUp(
  { message, hint }: VsockProxyError,
  otherwise: string,
  timeoutMs: number,
  attempts: number,
): VsockProxyError {
  const tries = attempts === 1 ? '1 attempt' : `${attempts} attempts`;
  const problem = `The metadata service did not tell the region within ${seconds(timeoutMs)} (${tries})`;
  return new VsockProxyError('metadata', `${problem}: ${message}`, { hint: hint ?? otherwise });
}

function limitOf(timeoutMs: number): string {
  return timeoutMs === 0 ? '' : `, ${seconds(timeoutMs)} at most`;
}

/** Waits until the time is over or the signal aborts. */
function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const cancel = clock.setTimer(ms, resolve);
  signal.addEventListener('abort', () => resolve(), { once: true });
  if (signal.aborted) resolve();
  return promise.finally(cancel);
}

function seconds(ms: number): string {
  return `${Math.round(ms / 1000)} s`;
}
