/**
 * Every name that crosses the seam, checked twice. The compiler checks the table against contract.ts: it refuses a
 * missing or an extra name. Loading checks it against the lists of native/core/messages.h.
 */
import { VsockProxyError } from '../platform/errors.ts';
import type { Batch } from './addon.ts';
import type {
  ClientRefusal,
  CloseReason,
  CloseRecord,
  Decision,
  DecisionRequest,
  Fault,
  ListenSpec,
  Phase,
  Progress,
  SocketAddress,
} from './contract.ts';
import { LIMITS } from './limits.ts';

/** The lists, by their names in native/core/messages.h. */
interface Lists {
  eventKinds: keyof Batch;
  parties: CloseRecord['endedBy'];
  phases: Phase;
  closeReasons: CloseReason;
  refusals: ClientRefusal;
  faultKinds: Fault['kind'];
  steps: Progress['step'];
  requestKinds: DecisionRequest['kind'];
  actions: Decision['action'];
  listenerKinds: ListenSpec['kind'];
  reportKinds: ListenSpec['report'];
  framings: Extract<Decision, { readonly action: 'respond' }>['body']['kind'];
  families: SocketAddress['family'];
  socketKinds: ListenSpec['on']['family'];
}

export const NAMES: { readonly [List in keyof Lists]: Readonly<Record<Lists[List], true>> } = {
  eventKinds: { progress: true, close: true, fault: true, request: true, listing: true, drained: true },
  parties: { client: true, server: true, proxy: true },
  phases: { deciding: true, connecting: true, relaying: true },
  closeReasons: {
    finished: true,
    reset: true,
    'connect-failed': true,
    'no-upstream': true,
    'connect-timeout': true,
    'idle-timeout': true,
    'head-timeout': true,
    'decision-timeout': true,
    denied: true,
    malformed: true,
    drained: true,
    internal: true,
    'not-admitted': true,
    'client-limit': true,
    'client-rate': true,
  },
  refusals: { 'not-admitted': true, 'client-limit': true, 'client-rate': true },
  faultKinds: { limit: true, accept: true, 'not-admitted': true, 'client-limit': true, 'client-rate': true },
  steps: { accepted: true, connected: true },
  requestKinds: { client: true, head: true, response: true, failed: true },
  actions: { more: true, connect: true, exchange: true, interim: true, respond: true, relay: true, reject: true },
  listenerKinds: { fixed: true, 'decide-client': true, 'decide-head': true },
  reportKinds: { failures: true, lifecycle: true },
  framings: { none: true, length: true, chunked: true, eof: true },
  families: { vsock: true, tcp: true, unix: true },
  socketKinds: { vsock: true, tcp: true, unix: true, inherited: true, predecessor: true },
};

/** The tables that the addon exports. */
export interface NativeTables {
  readonly names: Readonly<Record<string, readonly string[]>>;
  readonly limits: Readonly<Record<string, number>>;
}

/** @throws VsockProxyError `internal` if the two planes were built from different tables */
export function checkTables({ names, limits }: NativeTables): void {
  const problems = [
    ...differences('list', Object.keys(NAMES), Object.keys(names)),
    ...Object.entries(NAMES).flatMap(([list, known]) =>
      differences(`name in ${list}`, Object.keys(known), names[list] ?? []),
    ),
    ...differences('limit', Object.entries(LIMITS).map(show), Object.entries(limits).map(show)),
  ];
  if (problems.length === 0) return;
  throw new VsockProxyError('internal', `The data plane does not fit the control plane: ${problems.join('; ')}`, {
    hint: 'both are built from one source: native/core/messages.h and src/dataplane/names.ts; build them together',
  });
}

function differences(what: string, ours: readonly string[], theirs: readonly string[]): readonly string[] {
  return [
    ...theirs.filter((one) => !ours.includes(one)).map((one) => `only the data plane has the ${what} "${one}"`),
    ...ours.filter((one) => !theirs.includes(one)).map((one) => `only the control plane has the ${what} "${one}"`),
  ];
}

function show([name, value]: readonly [string, number]): string {
  return `${name} = ${value}`;
}
