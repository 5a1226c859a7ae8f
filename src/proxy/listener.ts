/** One listener of the plan as it runs: on one socket, or on all that systemd has passed under one name. */
import type { InheritedSocket, ListenerId, SocketAddress } from '../dataplane/contract.ts';
import type { ListenerPlan } from '../plan.ts';
import { VsockProxyError } from '../platform/errors.ts';
import type { Log } from '../platform/log.ts';
import { bind } from './bind.ts';
import type { ReportedRoutes } from './report/report.ts';
import { openRoute, type Route, type RouteContext, type Seam } from './route.ts';

export interface ListenerContext extends RouteContext {
  /** What systemd has passed, by name. */
  readonly activatedSockets: () => Promise<ReadonlyMap<string, readonly number[]>>;
  /** Whether vsock of this network namespace is its own, so that no enclave is met there. */
  readonly hasOwnVsock: () => boolean;
}

export interface Bound {
  readonly id: ListenerId;
  readonly on: SocketAddress;
}

/** Decided and not yet bound; then bound; then closed. */
export class Listener {
  readonly plan: ListenerPlan;
  readonly route: Route;
  readonly bound: Bound[] = [];
  readonly #sockets: readonly (SocketAddress | InheritedSocket)[];

  private constructor(plan: ListenerPlan, route: Route, sockets: readonly (SocketAddress | InheritedSocket)[]) {
    this.plan = plan;
    this.route = route;
    this.#sockets = sockets;
  }

  /**
   * Takes its sockets over from `predecessor`, if there is one: neither address nor clients in the queue are lost.
   * @throws VsockProxyError that says where in the file
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
   * All sockets or none.
   * @throws VsockProxyError `listen-failed` that says where in the file
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
      // Without anyone who reads them, thousands of lines a second would be composed for nothing.
      report: log.enables('info') ? 'lifecycle' : 'failures',
    } as const;
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

  /** Its connections go on. */
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

/** The error with its place; that of the command line is known. */
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
