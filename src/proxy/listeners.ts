/**
 * All running listeners, and their change to those of another plan: everything new is bound before anything old is
 * closed.
 */
import type { ListenerId, SocketAddress } from '../dataplane/contract.ts';
import type { ListenerPlan } from '../plan.ts';
import { VsockProxyError } from '../platform/errors.ts';
import { quoteBriefly } from '../platform/escape.ts';
import type { Log } from '../platform/log.ts';
import { CID_ANY, CID_LOCAL } from '../platform/vsock.ts';
import { comparePlans, isSame } from './changes.ts';
import { addFigures, type Figures, type FiguresSource, readFigures } from './figures.ts';
import type { FirstRequest, Handler } from './handlers/dispatcher.ts';
import { Listener, type ListenerContext } from './listener.ts';
import { formatAddress } from './report/format.ts';
import { count } from './report/quantities.ts';
import type { ReportedRoutes } from './report/report.ts';
import type { Seam } from './route.ts';

/** Listeners that are prepared and not bound. */
export interface Change {
  readonly added: readonly Listener[];
  readonly changed: readonly { readonly predecessor: Listener; readonly next: Listener }[];
  readonly removed: readonly Listener[];
  readonly unchanged: readonly Listener[];
}

interface Draining {
  readonly listener: Listener;
  /** Which of the sockets of the listener, and of its successors, it is. */
  readonly index: number;
  successor: Listener | undefined;
  /** No connection was left at an earlier reload, and all its events have been delivered since. */
  ended: boolean;
}

export class Listeners {
  readonly #context: ListenerContext;
  readonly #log: Log;
  #running: readonly Listener[] = [];
  /**
   * Closed listeners whose connections may still have events or requests, with the successor that decides about the
   * next requests.
   */
  readonly #draining = new Map<ListenerId, Draining>();

  constructor(context: ListenerContext) {
    this.#context = context;
    this.#log = context.log;
  }

  get running(): readonly Listener[] {
    return this.#running;
  }

  /** For each listener that may have connections, its address and the target of all its clients. */
  addressesById(): ReadonlyMap<ListenerId, { readonly on: SocketAddress; readonly target: string | undefined }> {
    const all = [...this.#running, ...[...this.#draining.values()].map(({ listener }) => listener)];
    return new Map(all.flatMap(({ bound, route }) => bound.map(({ id, on }) => [id, { on, target: route.target }])));
  }

  /** Reads what a running listener has counted on each of its sockets, together with its predecessors there. */
  figures(seam: Seam, report: ReportedRoutes): (listener: Listener) => readonly (Figures | undefined)[] {
    const source = sourceOf(seam, report);
    return (listener) =>
      listener.bound.map(({ id }, index) => {
        const own = readFigures(id, listener.route, source);
        const predecessors = [...this.#draining].flatMap(([other, draining]) =>
          draining.successor === listener && draining.index === index
            ? [readFigures(other, draining.listener.route, source)]
            : [],
        );
        return [listener.inherited[index], ...predecessors].reduce(addAll, own);
      });
  }

  /**
   * Decides whether every listener of the plan is allowed. Binds nothing.
   * @throws VsockProxyError for the first listener that is denied
   */
  async prepare(plans: readonly ListenerPlan[]): Promise<Change> {
    const { added, changed, removed, unchanged } = comparePlans(this.#running, plans);
    const wanted = [...added.map((plan) => ({ plan, predecessor: undefined })), ...changed];
    const outcomes = await Promise.allSettled(
      wanted.map(({ plan, predecessor }) => Listener.prepare(plan, this.#context, predecessor)),
    );
    const prepared = outcomes.filter((outcome) => outcome.status === 'fulfilled').map(({ value }) => value);
    const failure = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failure !== undefined) {
      for (const listener of prepared) listener.route.stop();
      throw failure.reason;
    }
    return {
      added: prepared.slice(0, added.length),
      changed: changed.flatMap(({ predecessor }, index) => {
        const next = prepared[added.length + index];
        return next === undefined ? [] : [{ predecessor, next }];
      }),
      removed,
      unchanged,
    };
  }

  /**
   * Binds the new listeners, then closes the old ones. If any cannot be bound, the running ones stay.
   * @throws VsockProxyError `listen-failed`
   */
  commit(change: Change, seam: Seam, report: ReportedRoutes): void {
    this.#forgetDrained(seam, report);
    try {
      for (const listener of change.added) listener.bind(seam, report, this.#log);
      for (const { predecessor, next } of change.changed) next.bind(seam, report, this.#log, predecessor);
    } catch (error) {
      for (const listener of change.added) this.#close(listener, undefined, seam);
      for (const { predecessor, next } of change.changed) this.#close(next, predecessor, seam);
      throw explainConflict(error, change);
    }
    for (const listener of change.added) {
      for (const { on } of listener.bound) this.#log.info(`Bound to ${formatAddress(on)}`);
    }
    this.#tellUnreachable(change.added);
    for (const { predecessor, next } of change.changed) this.#close(predecessor, next, seam);
    for (const listener of change.removed) this.#close(listener, undefined, seam);
    this.#running = [...change.unchanged, ...newOnes(change)];
  }

  /**
   * Logs which sockets of systemd no listener uses. They stay open, because they belong to systemd. Clients can connect
   * to them and wait, and the next plan may use them.
   */
  async tellUnusedSockets(): Promise<void> {
    const used = new Set(this.#running.map(({ plan: { on } }) => (on.family === 'systemd' ? on.name : undefined)));
    for (const name of (await this.#context.activatedSockets()).keys()) {
      if (used.has(name)) continue;
      this.#log.warn(
        `systemd has passed a socket with the name ${quoteBriefly(name)}, which no listener uses: its clients wait for nobody. ` +
          `Hint: give it a listener (listen: ${quoteBriefly(`systemd:${name}`)}), or stop its .socket unit`,
      );
    }
  }

  /** A socket of systemd was bound elsewhere. A loopback address is reachable from this machine only. */
  #tellUnreachable(added: readonly Listener[]): void {
    const vsock = added.flatMap(({ plan: { on } }) => (on.family === 'vsock' && on.cid !== CID_LOCAL ? [on] : []));
    const [first] = vsock;
    if (first === undefined || !this.#context.hasOwnVsock()) return;
    const more = vsock.length === 1 ? '' : ` (and ${vsock.length - 1} more)`;
    this.#log.warn(
      `No enclave can reach ${formatAddress(first)}${more}: vsock of this network namespace is its own ` +
        '(net.vsock.ns_mode is local). Hint: run the proxy in the network namespace of the host ' +
        '(docker: --network host; Kubernetes: hostNetwork: true; systemd: no PrivateNetwork=)',
    );
  }

  /** Releases listeners that were prepared and are no longer needed. */
  discard(change: Change): void {
    for (const listener of newOnes(change)) listener.route.stop();
  }

  /** Stops resolving names. The data plane closes the sockets. */
  stop(): void {
    for (const { route } of this.#running) route.stop();
  }

  /**
   * Closes a listener. Its connections go on. Its successor decides about their next requests; without one they are
   * refused.
   */
  #close(listener: Listener, successor: Listener | undefined, seam: Seam): void {
    listener.close(seam);
    for (const [index, { id }] of listener.bound.entries()) {
      this.#draining.set(id, { listener, index, successor: listener, ended: false });
    }
    for (const [id, draining] of this.#draining) {
      if (draining.successor !== listener) continue;
      draining.successor = successor;
      const { kind, handler } = draining.listener.route;
      if (handler !== undefined) seam.dispatcher.setHandler(id, inherit(handler, successorOf(draining)));
      if (kind !== 'fixed') continue;
      // Some of its clients may wait for the first addresses of a name.
      if (successor?.route.kind === 'fixed') successor.route.attach(id, seam);
      else seam.dataPlane.setUpstream(id, []);
    }
  }

  /** Forgets closed listeners that have no connections and no events left. Their successors keep what they counted. */
  #forgetDrained(seam: Seam, report: ReportedRoutes): void {
    const { dataPlane, dispatcher } = seam;
    const source = sourceOf(seam, report);
    for (const [id, draining] of this.#draining) {
      const { listener, index, successor } = draining;
      if (source.counters.get(id)?.active !== 0) continue;
      if (!draining.ended) {
        draining.ended = true;
        continue;
      }
      if (successor !== undefined) {
        successor.inherited[index] = addAll(readFigures(id, listener.route, source), successor.inherited[index]);
      }
      this.#draining.delete(id);
      dataPlane.forget(id);
      dispatcher.removeHandler(id);
      report.removeRoute(id);
    }
  }
}

function sourceOf({ dataPlane, dispatcher }: Seam, report: ReportedRoutes): FiguresSource {
  return {
    counters: new Map(dataPlane.counters().map((each) => [each.listener, each])),
    denialsOf: (id) => dispatcher.denialsOf(id),
    lastFailure: (id) => report.lastFailure(id),
  };
}

function addAll(one: Figures | undefined, other: Figures | undefined): Figures | undefined {
  return one === undefined || other === undefined ? (one ?? other) : addFigures(one, other);
}

/** `added tcp: 127.0.0.1:80; removed unix: /run/x; 3 listeners unchanged`. */
export function describeChange({ added, changed, removed, unchanged }: Change): string {
  const meaningful = changed.filter(({ predecessor, next }) => !isSame(predecessor.plan, next.plan));
  const same = unchanged.length + changed.length - meaningful.length;
  const list = (verb: string, listeners: readonly Listener[]) =>
    listeners.length === 0 ? [] : [`${verb} ${listeners.map(({ plan }) => formatAddress(plan.on)).join(', ')}`];
  return [
    ...list('added', added),
    ...list(
      'changed',
      meaningful.map(({ next }) => next),
    ),
    ...list('removed', removed),
    ...(same > 0 ? [`${count(same, 'listener')} unchanged`] : []),
  ].join('; ');
}

function newOnes({ added, changed }: Change): readonly Listener[] {
  return [...added, ...changed.map(({ next }) => next)];
}

function successorOf({
  listener,
  successor,
}: {
  readonly listener: Listener;
  readonly successor: Listener | undefined;
}) {
  return successor?.plan.route.kind === listener.plan.route.kind ? successor.route.handler : undefined;
}

/** Open requests are finished by the old handler. New requests go to the successor. */
function inherit(predecessor: Handler, successor: Handler | undefined): Handler {
  const first = successor === undefined ? () => GONE : (request: FirstRequest) => successor.first(request);
  return { first, later: (decisionRequest, request) => predecessor.later(decisionRequest, request) };
}

const GONE = {
  decision: { action: 'reject', reason: 'denied' },
  refusal: { problem: 'its listener has been removed from the configuration', subject: 'of a removed listener' },
} as const;

/** A removed listener may hold the address that could not be bound, under another name. */
function explainConflict(error: unknown, { added, removed }: Change): unknown {
  if (!(error instanceof VsockProxyError) || error.errno !== 'EADDRINUSE') return error;
  const { code, message, errno, place } = error;
  const failed = added.filter(({ plan }) => plan.place === place);
  const holders = removed.filter(({ plan }) => failed.some((listener) => mayOverlap(listener.plan.on, plan.on)));
  if (holders.length === 0) return error;
  const hint =
    `${holders.map(({ plan }) => formatAddress(plan.on)).join(', ')} may overlap with it and is removed in the same step: ` +
    'reload once without the new one, then with it';
  return new VsockProxyError(code, message, { hint, errno, ...(place === undefined ? {} : { place }), cause: error });
}

/** Whether two different addresses may be one for the kernel. A socket of systemd stays open in any case. */
function mayOverlap(one: ListenerPlan['on'], other: ListenerPlan['on']): boolean {
  if (one.family === 'vsock' && other.family === 'vsock') {
    return one.port === other.port && [one.cid, other.cid].includes(CID_ANY);
  }
  if (one.family === 'tcp' && other.family === 'tcp') {
    // A listener at `::` takes no IPv4 clients.
    const wildcard = one.ip.includes(':') ? '::' : '0.0.0.0';
    return (
      one.port === other.port &&
      one.ip.includes(':') === other.ip.includes(':') &&
      [one.ip, other.ip].includes(wildcard)
    );
  }
  return one.family === 'unix' && other.family === 'unix' && basename(one.path) === basename(other.path);
}

/** Two paths with the same end may lead to one file, by a link such as /var/run. */
function basename(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
