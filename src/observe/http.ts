/**
 * A small HTTP server that answers GET and HEAD: for metrics, health, and the control socket.
 *
 * Whoever asks is not trusted: connections, their time, and what they may send are bounded, a body is refused, and an answer
 * that is not read in time ends with its connection. Nothing of it touches the proxy's own connections.
 */
import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createConnection, type ListenOptions } from 'node:net';
import { getSystemErrorMessage } from 'node:util';
import { writeAddress } from '../dataplane/format.ts';
import { VsockProxyError } from '../platform/errors.ts';
import { escapeControls } from '../platform/escape.ts';
import type { Log } from '../platform/log.ts';

export interface Request {
  readonly path: string;
  readonly query: URLSearchParams;
  /** The header, lower case; empty where there is none. */
  readonly accept: string;
}

export interface Reply {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** Answers by path. A path that is not here is 404. */
export type Pages = Readonly<Record<string, (request: Request) => Reply | Promise<Reply>>>;

export type PageAddress =
  | { readonly family: 'unix'; readonly path: string; readonly mode: number }
  | { readonly family: 'tcp'; readonly ip: string; readonly port: number };

export interface PageServer {
  /** Where it listens, with the port that the kernel chose. */
  readonly address: PageAddress;
  close(): Promise<void>;
}

/** More would be a load, not a look. */
const MOST_CONNECTIONS = 64;
/** From the first byte of a request to its end; and how long a kept connection may be silent. */
const REQUEST_MS = 5_000;
/** For the answer to be taken. */
const ANSWER_MS = 10_000;
const MOST_HEADER_BYTES = 8 * 1024;
const WARNING_PERIOD_MS = 10_000;

const JSON_TYPE = 'application/json; charset=utf-8';

export function json(value: unknown, status = 200): Reply {
  return { status, contentType: JSON_TYPE, body: `${JSON.stringify(value, undefined, 2)}\n` };
}

/**
 * Listens for requests. A unix socket that nobody listens on any more is replaced; anything else at its path is not.
 * @throws VsockProxyError `listen-failed`
 */
export async function servePages(address: PageAddress, pages: Pages, log: Log): Promise<PageServer> {
  const options = {
    maxHeaderSize: MOST_HEADER_BYTES,
    requireHostHeader: false,
    connectionsCheckingInterval: REQUEST_MS,
  };
  const server = createServer(options, (request, response) => void answer(pages, request, response, log));
  server.maxConnections = MOST_CONNECTIONS;
  server.headersTimeout = REQUEST_MS;
  server.requestTimeout = REQUEST_MS;
  server.keepAliveTimeout = REQUEST_MS;
  server.timeout = ANSWER_MS;
  server.on('checkContinue', (_request, response: ServerResponse) => refuse(response, 413));
  server.on('clientError', (_error, socket) => socket.destroy());
  server.on('timeout', (socket) => {
    log.debug(`Closed a connection to ${writeAddress(address)}: nothing moved for ${ANSWER_MS / 1000} s`);
    socket.destroy();
  });
  let warnedAt = Number.NEGATIVE_INFINITY;
  server.on('drop', () => {
    if (performance.now() - warnedAt < WARNING_PERIOD_MS) return;
    warnedAt = performance.now();
    log.warn(`${writeAddress(address)} has ${MOST_CONNECTIONS} connections open, and closes all others at once`);
  });
  const bound = await listen(server, address);
  server.unref();
  return {
    address: bound,
    close() {
      const { promise, resolve } = Promise.withResolvers<void>();
      server.close(() => resolve());
      server.closeAllConnections();
      return promise;
    },
  };
}

async function listen(server: Server, address: PageAddress): Promise<PageAddress> {
  try {
    if (address.family === 'unix') await removeStale(address.path);
    await start(server, address.family === 'unix' ? { path: address.path } : { host: address.ip, port: address.port });
    if (address.family === 'unix') {
      chmodSync(address.path, address.mode);
      return address;
    }
    const bound = server.address();
    return typeof bound === 'object' && bound !== null ? { ...address, port: bound.port } : address;
  } catch (error) {
    if (error instanceof VsockProxyError) throw error;
    const { code = 'EIO', errno } = error as NodeJS.ErrnoException;
    const words = errno === undefined ? code : `${code}: ${getSystemErrorMessage(errno)}`;
    throw new VsockProxyError(
      'listen-failed',
      escapeControls(`Could not listen on ${writeAddress(address)}: ${words}`),
      {
        errno: code,
      },
    );
  }
}

function start(server: Server, options: ListenOptions): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen(options, () => {
    server.off('error', reject);
    server.on('error', () => undefined); // accept(2) for want of descriptors: the next client may have one
    resolve();
  });
  return promise;
}

/** The socket of a process that was killed stays behind; that of one that listens is not touched. */
async function removeStale(path: string): Promise<void> {
  try {
    if (!lstatSync(path).isSocket()) return; // bind(2) says EADDRINUSE
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
  unlinkSync(path);
}

function isAlive(path: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = createConnection(path, () => {
    socket.destroy();
    resolve(true);
  });
  socket.on('error', ({ code }: NodeJS.ErrnoException) => resolve(code !== 'ECONNREFUSED'));
  return promise;
}

async function answer(pages: Pages, request: IncomingMessage, response: ServerResponse, log: Log): Promise<void> {
  const { method = '', url = '' } = request;
  if (method !== 'GET' && method !== 'HEAD') return refuse(response, 405);
  if ('content-length' in request.headers || 'transfer-encoding' in request.headers) return refuse(response, 413);
  const target = URL.parse(url, 'http://localhost');
  if (target === null) return send(response, json({ error: 'bad request' }, 400));
  const { pathname, searchParams } = target;
  const page = Object.hasOwn(pages, pathname) ? pages[pathname] : undefined;
  if (page === undefined) return send(response, json({ error: 'not found', paths: Object.keys(pages) }, 404));
  try {
    send(response, await page({ path: pathname, query: searchParams, accept: request.headers.accept ?? '' }));
  } catch (error) {
    log.error(`${pathname} could not be answered: ${error instanceof Error ? error.message : String(error)}`);
    send(response, json({ error: 'internal' }, 500));
  }
}

/** Without reading what comes: the connection ends. */
function refuse(response: ServerResponse, status: 405 | 413): void {
  response.setHeader('connection', 'close');
  if (status === 405) response.setHeader('allow', 'GET, HEAD');
  send(response, json({ error: status === 405 ? 'only GET and HEAD' : 'no body' }, status));
}

function send(response: ServerResponse, { status, contentType, body }: Reply): void {
  response.writeHead(status, { 'content-type': contentType, 'content-length': Buffer.byteLength(body) });
  response.end(body);
}
