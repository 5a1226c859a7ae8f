/** Opens the control socket of a running proxy, and the address of metrics and health. */
import type { SocketAddress } from '../dataplane/contract.ts';
import { writeAddress } from '../dataplane/format.ts';
import type { MetricsPlan } from '../plan.ts';
import { VsockProxyError } from '../platform/errors.ts';
import type { Log } from '../platform/log.ts';
import { type FetchMetrics, mergeEnclaves } from './enclaves.ts';
import { type Page, type PageAddress, type PageServer, type Pages, servePages } from './http.ts';
import { controlPages, metricsPages, type Observed } from './pages.ts';

export interface ObserversOptions {
  readonly observed: Observed;
  readonly log: Log;
  /**
   * Forwards clients of a vsock address to this TCP port of 127.0.0.1. Absent: the engine's own sockets listen on vsock.
   * @throws VsockProxyError `listen-failed`
   */
  readonly expose?: (on: SocketAddress, port: number) => { close(): void };
  /** Requests the metrics of an enclave. Absent: only a parent has enclaves. */
  readonly fetchMetrics?: FetchMetrics;
}

interface Door {
  /** In the form of {@link keyOf}. */
  readonly address: string;
  /** The pages for requests from now on can be changed here. */
  readonly pages: Record<string, Page>;
  close(): Promise<void>;
}

/** Readable for the group of the process, which decides who may look. */
const SOCKET_MODE = 0o660;

export class Observers {
  readonly #options: ObserversOptions;
  #control: PageServer | undefined;
  #metrics: Door | undefined;

  constructor(options: ObserversOptions) {
    this.#options = options;
  }

  /** Opens the control socket. A proxy works without one, so a failure is only a warning. */
  async openControl(path: string): Promise<void> {
    const { observed, log } = this.#options;
    try {
      this.#control = await servePages({ family: 'unix', path, mode: SOCKET_MODE }, controlPages(observed), log);
      log.info(`The control socket is ${path}`);
    } catch (error) {
      if (!(error instanceof VsockProxyError)) throw error;
      log.warn(`There is no control socket: ${error.line}`);
    }
  }

  /**
   * Serves metrics as this plan says, from now on. The new address is open before the old one closes, and an address that
   * stays is not closed. Await it before the next call.
   * @throws VsockProxyError `listen-failed` with its place; then the old address stays open
   */
  async applyMetrics(plan: MetricsPlan | undefined): Promise<void> {
    const before = this.#metrics;
    if (plan !== undefined && before?.address === keyOf(plan)) {
      Object.assign(before.pages, this.#pagesFor(plan));
      return;
    }
    this.#metrics = plan === undefined ? undefined : await this.#open(plan);
    await before?.close();
  }

  async #open(plan: MetricsPlan): Promise<Door> {
    const { log } = this.#options;
    try {
      const pages = { ...this.#pagesFor(plan) };
      const close = await this.#serve(plan.listen, pages);
      log.info(`Metrics are served on ${writeAddress(plan.listen)}`);
      return { address: keyOf(plan), pages, close };
    } catch (error) {
      if (!(error instanceof VsockProxyError)) throw error;
      const { code, message, hint, errno } = error;
      throw new VsockProxyError(code, `metrics.listen: ${message}`, {
        place: plan.place,
        ...(hint !== undefined && { hint }),
        ...(errno !== undefined && { errno }),
        cause: error,
      });
    }
  }

  #pagesFor({ enclaves }: MetricsPlan): Pages {
    const { observed, fetchMetrics, log } = this.#options;
    const pages = metricsPages(observed);
    return enclaves.length === 0 || fetchMetrics === undefined
      ? pages
      : mergeEnclaves(pages, enclaves, fetchMetrics, log);
  }

  async #serve(address: SocketAddress, pages: Pages): Promise<() => Promise<void>> {
    const { log, expose } = this.#options;
    if (address.family !== 'vsock' || expose === undefined) {
      const server = await servePages(toPageAddress(address), pages, log);
      return () => server.close();
    }
    const server = await servePages({ family: 'tcp', ip: '127.0.0.1', port: 0 }, pages, log);
    try {
      const { address: inner } = server;
      const exposed = expose(address, inner.family === 'tcp' ? inner.port : 0);
      return async () => {
        exposed.close();
        await server.close();
      };
    } catch (error) {
      await server.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.#control?.close(), this.#metrics?.close()]);
  }
}

function toPageAddress(address: SocketAddress): PageAddress {
  return address.family === 'unix' ? { ...address, mode: SOCKET_MODE } : address;
}

function keyOf({ listen }: MetricsPlan): string {
  return JSON.stringify(listen);
}
