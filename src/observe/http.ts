/**
 * A small HTTP server that answers GET and HEAD, for metrics, health, and the control socket.
 *
 * Clients are not trusted. Their connections, time and bytes are bounded (conversation.ts). Nothing here affects the
 * connections of the proxy.
 */
import { writeAddress } from '../dataplane/format.ts';
import { VsockProxyError } from '../platform/errors.ts';
import { escapeControls } from '../platform/escape.ts';
import type { Log } from '../platform/log.ts';
import { getSystemErrorMessage, type SystemError } from '../platform/system/errors.ts';
import { chmodSync, lstatSync, rmSync } from '../platform/system/files.ts';
import {
  type Connection,
  connect,
  createServer,
  type StreamAddress,
  type StreamServer,
  type VsockAddress,
} from '../platform/system/sockets.ts';
import { bindHint } from '../proxy/bind-hint.ts';
import { ANSWER_MS, converse, type RefusedStatus, type Reply, type Request } from './conversation.ts';

export type Page = (request: Request) => Reply | Promise<Reply>;
/** Answers by path. Any other path is 404. */
export type Pages = Readonly<Record<string, Page>>;

export type PageAddress =
  | { readonly family: 'unix'; readonly path: string; readonly mode: number }
  | { readonly family: 'tcp'; readonly ip: string; readonly port: number }
  /** Under QuickJS only. */
  | { readonly family: 'vsock'; readonly cid: number; readonly port: number };

export interface PageServer {
  /** Its address, with the port that the kernel chose. */
  readonly address: PageAddress;
  close(): Promise<void>;
}

/** More connections would be load, not observation. */
const MOST_CONNECTIONS = 64;
const WARNING_PERIOD_MS = 10_000;

const JSON_TYPE = 'application/json; charset=utf-8';

export function json(value: unknown, status = 200): Reply {
  return { status, contentType: JSON_TYPE, body: `${JSON.stringify(value, undefined, 2)}\n` };
}

/**
 * Listens for requests. A unix socket without a listener is replaced; any other file at its path is not.
 * @throws VsockProxyError `listen-failed`
 */
export async function servePages(address: PageAddress, pages: Pages, log: Log): Promise<PageServer> {
  const sockets = new Set<Connection>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    converse(socket, {
      toRequest: (request) => answer(pages, request, log),
      toRefused: refusal,
      onAbandoned: () => {
        const late = `its answer was not taken within ${ANSWER_MS / 1000} s`;
        log.debug(`Closed a connection to ${writeAddress(address)}: ${late}`);
      },
    });
  });
  server.maxConnections = MOST_CONNECTIONS;
  let warnedAt = Number.NEGATIVE_INFINITY;
  server.on('drop', () => {
    if (performance.now() - warnedAt < WARNING_PERIOD_MS) return;
    warnedAt = performance.now();
    log.warn(`${writeAddress(address)} has ${MOST_CONNECTIONS} connections open, and closes all others at once`);
  });
  const bound = await listen(server, address);
  return {
    address: bound,
    close() {
      const { promise, resolve } = Promise.withResolvers<void>();
      server.close(() => resolve());
      for (const socket of sockets) socket.destroy();
      return promise;
    },
  };
}

async function listen(server: StreamServer, address: PageAddress): Promise<PageAddress> {
  try {
    if (address.family === 'unix') await removeStale(address.path);
    await start(server, toStreamAddress(address));
    if (address.family === 'unix') {
      chmodSync(address.path, address.mode);
      return address;
    }
    const bound = server.address();
    return typeof bound === 'object' && bound !== null ? { ...address, port: bound.port } : address;
  } catch (error) {
    if (error instanceof VsockProxyError) throw error;
    const { code = 'EIO', errno } =
      (address.family === 'unix' ? failureOf(address.path) : undefined) ?? (error as SystemError);
    const words = errno === undefined ? code : `${code}: ${getSystemErrorMessage(errno)}`;
    throw new VsockProxyError(
      'listen-failed',
      escapeControls(`Could not listen on ${writeAddress(address)}: ${words}`),
      { errno: code, hint: bindHint(code, address) },
    );
  }
}

/** Why the directory of a socket cannot be used, if it cannot: libuv says EACCES where it does not exist. */
function failureOf(path: string): SystemError | undefined {
  try {
    lstatSync(path.replace(/[^/]*$/, '.'));
    return undefined;
  } catch (error) {
    return error as SystemError;
  }
}

function toStreamAddress(address: PageAddress): StreamAddress | VsockAddress {
  switch (address.family) {
    case 'unix':
      return { path: address.path };
    case 'tcp':
      return { host: address.ip, port: address.port };
    case 'vsock':
      return { vsock: { cid: address.cid, port: address.port } };
  }
}

function start(server: StreamServer, address: StreamAddress | VsockAddress): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  // Once it listens: accept(2) lacked descriptors; the next client may get one.
  server.on('error', reject);
  server.once('listening', resolve);
  server.listen(address);
  return promise;
}

/** Removes the socket of a process that was killed. The socket of a listening process is not touched. */
async function removeStale(path: string): Promise<void> {
  try {
    if (!lstatSync(path).isSocket()) return; // bind(2) fails with EADDRINUSE
  } catch {
    return;
  }
  if (await isAlive(path)) {
    throw new VsockProxyError(
      'listen-failed',
      escapeControls(`Could not listen on unix:${path}: another process listens there`),
      {
        errno: 'EADDRINUSE',
        hint: 'give this one a socket of its own',
      },
    );
  }
  rmSync(path, { force: true });
}

function isAlive(path: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect({ path });
  socket.on('connect', () => {
    socket.destroy();
    resolve(true);
  });
  socket.on('error', ({ code }: SystemError) => resolve(code !== 'ECONNREFUSED'));
  return promise;
}

async function answer(pages: Pages, request: Request, log: Log): Promise<Reply> {
  const { path } = request;
  const page = Object.hasOwn(pages, path) ? pages[path] : undefined;
  if (page === undefined) return json({ error: 'not found', paths: Object.keys(pages) }, 404);
  try {
    return await page(request);
  } catch (error) {
    log.error(`${path} could not be answered: ${error instanceof Error ? error.message : String(error)}`);
    return json({ error: 'internal' }, 500);
  }
}

const REFUSALS: Readonly<Record<RefusedStatus, string>> = {
  400: 'bad request',
  405: 'only GET and HEAD',
  413: 'no body',
  431: 'the head of the request is too long',
};

function refusal(status: RefusedStatus): Reply {
  return json({ error: REFUSALS[status] }, status);
}
