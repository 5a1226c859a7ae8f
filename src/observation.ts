/** Metrics and the control socket of a running proxy, as its plan and the environment of its process say. */
import type { Observers, ObserversOptions } from './observe/observers.ts';
import type { MetricsPlan } from './plan.ts';
import type { Environment } from './platform/environment.ts';
import { VsockProxyError } from './platform/errors.ts';
import { quoteBriefly } from './platform/escape.ts';
import type { Log } from './platform/log.ts';
import type { RunningProxy } from './proxy/server.ts';

/** The open sockets. They are kept as the plan says. */
export interface Observation {
  /**
   * Called after a reload. Never rejected: if an address cannot be opened, the log has the error, and the old one
   * stays.
   */
  follow(): Promise<void>;
  close(): Promise<void>;
}

export interface ObservedProcess {
  readonly env: Environment;
  readonly version: string;
  /** Ways over vsock, for engines whose own sockets have none. */
  readonly vsock?: () => Promise<Pick<ObserversOptions, 'expose' | 'fetchMetrics'>>;
}

/** @throws VsockProxyError `listen-failed` for the address in the file */
export async function openObservation(proxy: RunningProxy, log: Log, process: ObservedProcess): Promise<Observation> {
  const control = controlPath(process.env);
  const fallback = process.env.VSOCK_PROXY_METRICS || undefined;
  let observers: Observers | undefined;
  const apply = async (plan: MetricsPlan | undefined): Promise<void> => {
    if (plan !== undefined) observers ??= await openObservers(proxy, log, process);
    await observers?.applyMetrics(plan);
  };
  // The code is loaded only if there is an address.
  if (control !== undefined) {
    observers = await openObservers(proxy, log, process);
    await observers.openControl(control);
  }
  const metrics = proxy.metrics();
  if (metrics !== undefined) await apply(metrics);
  else if (fallback !== undefined) await apply(await readMetricsAddress(fallback)).catch(warnOf(log));
  const followOnce = async (): Promise<void> => {
    try {
      await apply(proxy.metrics() ?? (fallback === undefined ? undefined : await readMetricsAddress(fallback)));
    } catch (error) {
      log.error(lineOf(error));
    }
  };
  /** The last one. Two at the same time would both open the new address. */
  let following: Promise<void> = Promise.resolve();
  return {
    follow() {
      following = following.then(followOnce);
      return following;
    },
    close: async () => await observers?.close(),
  };
}

/** The path of the control socket. An empty variable switches it off; systemd makes the directory. */
function controlPath(env: Environment): string | undefined {
  if (env.VSOCK_PROXY_CONTROL !== undefined) return env.VSOCK_PROXY_CONTROL || undefined;
  const [directory] = (env.RUNTIME_DIRECTORY ?? '').split(':');
  return directory ? `${directory}/control.sock` : undefined;
}

/** Metrics are on by default in the service, so their failure does not stop it. */
function warnOf(log: Log): (error: unknown) => void {
  return (error) => log.warn(`There are no metrics: ${lineOf(error)}`);
}

function lineOf(error: unknown): string {
  return error instanceof VsockProxyError ? error.line : String(error);
}

/** The address in the environment variable. @throws VsockProxyError `argument` */
async function readMetricsAddress(text: string): Promise<MetricsPlan> {
  const { parseListen } = await import('./config/schema/addresses.ts');
  const listen = parseListen(text);
  if (!('problem' in listen) && listen.family !== 'systemd') {
    return { place: 'VSOCK_PROXY_METRICS', listen, enclaves: [] };
  }
  throw new VsockProxyError('argument', `VSOCK_PROXY_METRICS is not valid: ${quoteBriefly(text)}`, {
    hint: 'write unix:PATH, tcp:IP:PORT or vsock:PORT',
  });
}

async function openObservers(proxy: RunningProxy, log: Log, { version, vsock }: ObservedProcess): Promise<Observers> {
  const { Observers } = await import('./observe/observers.ts');
  const { ProcessWatch } = await import('./observe/process.ts');
  const watch = new ProcessWatch();
  return new Observers({
    log,
    ...(await vsock?.()),
    observed: {
      version,
      snapshot: () => proxy.snapshot(),
      connections: () => proxy.connections(),
      process: () => watch.read(),
    },
  });
}
