/** A running listener of the plan: on one socket, or on all sockets that systemd has passed under one name. */
import type { InheritedSocket, ListenerId, SocketAddress } from '../dataplane/contract.ts';
import type { ListenerPlan } from '../plan.ts';
import { VsockProxyError } from '../platform/errors.ts';
import type { Log } from '../platform/log.ts';
import { bind } from './bind.ts';
import type { Figures } from './figures.ts';
import type { ReportedRoutes } from './report/report.ts';
import { openRoute, type Route, type RouteContext, type Seam } from './route.ts';

export interface ListenerContext extends RouteContext {
  /** The sockets of systemd, by name. */
  readonly activatedSockets: () => Promise<ReadonlyMap<string, readonly number[]>>;
  /** Whether this network namespace has a vsock of its own, which no enclave can reach. */
  readonly hasOwnVsock: () => boolean;
}

export interface Bound {
  readonly id: ListenerId;
  readonly on: SocketAddress;
}

/** First decided but not bound, then bound, then closed. */
export class Listener {
  readonly plan: ListenerPlan;
  readonly route: Route;
  readonly bound: Bound[] = [];
  /** For each socket, what predecessors have counted whose connections have all ended. */
  readonly inherited: (Figures | undefined)[] = [];
  readonly #sockets: readonly (SocketAddress | InheritedSocket)[];

  private constructor(plan: ListenerPlan, route: Route, sockets: readonly (SocketAddress | InheritedSocket)[]) {
    this.plan = plan;
    this.route = route;
    this.#sockets = sockets;
  }

  /**
   * Takes over the sockets of `predecessor`, if there is one. Neither the address nor the clients in the queue are
   * lost.
   * @throws VsockProxyError with the place in the file
   */
  static async prepare(plan: ListenerPlan, context: ListenerContext, predecessor?: Listener): Promise<Listener> {
    try {
      const sockets = await findSockets(plan, context);
      return new Listener(plan, await openRoute(plan, context, predecessor), sockets);
    } catch (error) {
      throw placed(error, plan);
    }
  }

  /**
   * Binds all sockets or none.
   * @throws VsockProxyError `listen-failed` with the place in the file
   */
  bind(seam: Seam, report: ReportedRoutes, log: Log, predecessor?: Listener): void {
    const { plan, route } = this;
    const { limits, timeouts, cids, sources } = plan;
    const spec = {
      kind: route.kind,
      limits,
      admission: {
        ...(cids === undefined ? {} : { cids }),
        ...(sources === undefined
          ? {}
          : { sources: sources.map(({ network, prefixLength }) => ({ ip: network.text, prefixLength })) }),
      },
      timeouts,
      // Thousands of lines per second are not composed if nobody reads them.
      report: log.enables('info') ? 'lifecycle' : 'failures',
    } as const;
    this.inherited.push(...(predecessor?.inherited ?? []));
    const sockets =
      predecessor?.bound.map(({ id }) => ({ family: 'predecessor', listener: id }) as const) ?? this.#sockets;
    try {
      for (const socket of sockets) {
        const { id, on } = bind(seam.dataPlane, { ...spec, on: socket }, plan.on);
        this.bound.push({ id, on });
        const { target } = route;
        const absence = () => route.absence();
        const onClient = () => route.client();
        const reported = {
          on,
          limits,
          timeouts,
          absence,
          onClient,
          ...(plan.place !== undefined && { place: plan.place }),
        };
        report.addRoute(id, target === undefined ? reported : { ...reported, target });
        route.attach(id, seam);
      }
    } catch (error) {
      throw placed(error, plan);
    }
  }

  /** Closes the listener. Its connections go on. */
  close({ dataPlane }: Seam): void {
    this.route.stop();
    for (const { id } of this.bound) dataPlane.closeListener(id);
  }
}

async function findSockets(
  { on }: ListenerPlan,
  { activatedSockets }: ListenerContext,
): Promise<readonly (SocketAddress | InheritedSocket)[]> {
  if (on.family !== 'systemd') return [on];
  const sockets = await activatedSockets();
  const fds = sockets.get(on.name);
  if (fds !== undefined) return fds.map((fd) => ({ family: 'inherited', fd }));
  const names = [...sockets.keys()].map((name) => `"${name}"`).join(', ');
  throw new VsockProxyError('listen-failed', `systemd has passed no socket with the name "${on.name}"`, {
    hint:
      names === ''
        ? 'it has passed none at all: the service needs a .socket unit, with FileDescriptorName='
        : `it has passed ${names}: the name is FileDescriptorName= of the .socket unit`,
  });
}

/** The error with its place. An error of the command line needs none. */
function placed(error: unknown, { place }: ListenerPlan): unknown {
  if (!(error instanceof VsockProxyError) || place === undefined) return error;
  const { code, message, hint, errno } = error;
  return new VsockProxyError(code, message, {
    place,
    ...(hint === undefined ? {} : { hint }),
    ...(errno === undefined ? {} : { errno }),
    cause: error,
  });
}
