/** Connects from Node.js, which has no vsock, to a socket address of any family, through a data plane of its own. */
import { createConnection, type Socket } from 'node:net';
import type { CloseRecord, DataPlane, DataPlaneEvents, SocketAddress } from './contract.ts';

/** The result of a connection attempt; `ms` is its duration. */
export type Dialled =
  | { readonly kind: 'connected'; readonly ms: number; readonly socket: Socket }
  | { readonly kind: 'failed'; readonly ms: number; readonly errno: string };

/** Carries connections to vsock. Close it when it is no longer needed, because it has a thread. */
export interface Path {
  /** The caller destroys the socket. */
  dial(to: SocketAddress, timeoutMs: number): Promise<Dialled>;
  close(): void;
}

const LIMITS = { connections: 1, connectionsPerClient: 0, ratePerClient: 0 };

/** @param open starts a data plane with one relay thread */
export function openPath(open: (events: DataPlaneEvents) => DataPlane): Path {
  let dataPlane: DataPlane | undefined;
  const connected = new Map<number, () => void>();
  const ended = new Map<number, (record: CloseRecord) => void>();
  const events: DataPlaneEvents = {
    onProgress(steps) {
      for (const { step, listener } of steps) if (step === 'connected') connected.get(listener)?.();
    },
    onClose(records) {
      for (const record of records) {
        ended.get(record.listener)?.(record);
        dataPlane?.forget(record.listener);
      }
    },
    onFault: () => undefined,
    onDecisionRequest: () => undefined,
  };

  const dialThrough = async (plane: DataPlane, to: SocketAddress, timeoutMs: number): Promise<Dialled> => {
    const began = performance.now();
    const elapsed = () => Math.round(performance.now() - began);
    const { id, on } = plane.listen({
      kind: 'fixed',
      on: { family: 'tcp', ip: '127.0.0.1', port: 0 },
      limits: LIMITS,
      admission: {},
      timeouts: { connectMs: timeoutMs, idleMs: 0, headMs: timeoutMs, reuseMs: 0 },
      report: 'lifecycle',
    });
    plane.setUpstream(id, [to]);
    const { promise, resolve } = Promise.withResolvers<Dialled>();
    const socket = createConnection({ host: '127.0.0.1', port: on.family === 'tcp' ? on.port : 0 });
    socket.on('error', ({ code = 'EIO' }: NodeJS.ErrnoException) =>
      resolve({ kind: 'failed', ms: elapsed(), errno: code }),
    );
    connected.set(id, () => resolve({ kind: 'connected', ms: elapsed(), socket }));
    ended.set(id, ({ reason, errno }) => resolve({ kind: 'failed', ms: elapsed(), errno: errno ?? reason }));
    const outcome = await promise;
    plane.closeListener(id);
    plane.forget(id); // one that has carried nothing, and the others with their only connection
    connected.delete(id);
    ended.delete(id);
    if (outcome.kind === 'failed') socket.destroy();
    return outcome;
  };

  return {
    dial(to, timeoutMs) {
      if (to.family !== 'vsock') return dialDirectly(to, timeoutMs);
      dataPlane ??= open(events);
      return dialThrough(dataPlane, to, timeoutMs);
    },
    close: () => dataPlane?.stop(),
  };
}

function dialDirectly(to: Exclude<SocketAddress, { family: 'vsock' }>, timeoutMs: number): Promise<Dialled> {
  const began = performance.now();
  const elapsed = () => Math.round(performance.now() - began);
  const { promise, resolve } = Promise.withResolvers<Dialled>();
  const socket = createConnection(to.family === 'unix' ? { path: to.path } : { host: to.ip, port: to.port });
  socket.setTimeout(timeoutMs, () =>
    socket.destroy(Object.assign(new Error('no answer in time'), { code: 'ETIMEDOUT' })),
  );
  socket.on('error', ({ code = 'EIO' }: NodeJS.ErrnoException) =>
    resolve({ kind: 'failed', ms: elapsed(), errno: code }),
  );
  socket.once('connect', () => {
    socket.setTimeout(0);
    resolve({ kind: 'connected', ms: elapsed(), socket });
  });
  return promise;
}

/** Forwards clients of a vsock address to a TCP port of 127.0.0.1. @throws VsockProxyError `listen-failed` */
export function exposeOnVsock(
  open: (events: DataPlaneEvents) => DataPlane,
  on: SocketAddress,
  port: number,
): { close(): void } {
  const nothing = () => undefined;
  const dataPlane = open({ onProgress: nothing, onClose: nothing, onFault: nothing, onDecisionRequest: nothing });
  try {
    const { id } = dataPlane.listen({
      kind: 'fixed',
      on,
      limits: { connections: MOST_EXPOSED, connectionsPerClient: 0, ratePerClient: 0 },
      admission: {},
      timeouts: { connectMs: EXPOSED_MS, idleMs: EXPOSED_MS, headMs: EXPOSED_MS, reuseMs: 0 },
      report: 'failures',
    });
    dataPlane.setUpstream(id, [{ family: 'tcp', ip: '127.0.0.1', port }]);
  } catch (error) {
    dataPlane.stop();
    throw error;
  }
  return { close: () => dataPlane.stop() };
}

const MOST_EXPOSED = 64;
const EXPOSED_MS = 10_000;
