/** A web server behind the proxy, in HTTP/1.1 and, over TLS, HTTP/2. It records its requests. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createSecureServer } from 'node:http2';
import type { Server } from 'node:net';

export interface Origin extends AsyncDisposable {
  /** `GET /path`, in the order in which requests came. */
  readonly requests: readonly string[];
  /** How many connections it has accepted. */
  readonly connections: number;
}

export interface OriginOptions {
  /** Speak TLS. */
  readonly certificate?: { readonly key: string; readonly cert: string };
  /** What `/download` sends. */
  readonly download?: Buffer;
  /** More paths, or others. */
  readonly paths?: Readonly<Record<string, Answer>>;
}

export type Answer = (request: IncomingMessage, response: ServerResponse, download: Buffer) => unknown;

/** Listens on each of these addresses. */
export async function startOrigin(
  port: number,
  ips: readonly string[],
  { certificate, download = randomBytes(1000), paths = {} }: OriginOptions = {},
): Promise<Origin> {
  const requests: string[] = [];
  let connections = 0;
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    const path = request.url ?? '';
    requests.push(`${request.method} ${path}`);
    void (paths[path] ?? PATHS[path] ?? notFound)(request, response, download);
  };
  const servers = await Promise.all(
    ips.map(async (ip) => {
      const server: Server =
        certificate === undefined
          ? createServer(answer)
          : createSecureServer({ ...certificate, allowHTTP1: true }, answer as unknown as SecureListener);
      server.on(certificate === undefined ? 'connection' : 'secureConnection', () => {
        connections += 1;
      });
      server.listen(port, ip);
      await once(server, 'listening');
      return server;
    }),
  );
  return {
    requests,
    get connections() {
      return connections;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
    },
  };
}

type SecureListener = Parameters<typeof createSecureServer>[1];
const notFound: Answer = (_, response) => response.writeHead(404).end();

const PATHS: Readonly<Record<string, Answer>> = {
  '/hello': (request, response) => {
    const text = `hello from ${request.headers.host ?? request.headers[':authority']}\n`;
    response.writeHead(200, { 'content-length': text.length }).end(text);
  },
  /** Without a length: in chunks, or until the connection ends. */
  '/stream': (_, response) => {
    response.write('one,');
    response.write('two,');
    response.end('three\n');
  },
  '/digest': async (request, response) => {
    const hash = createHash('sha256');
    for await (const chunk of request) hash.update(chunk as Buffer);
    response.end(hash.digest('hex'));
  },
  '/download': (_, response, download) => {
    response.writeHead(200, { 'content-length': download.length }).end(download);
  },
  '/empty': (_, response) => response.writeHead(204).end(),
  '/not-modified': (_, response) => response.writeHead(304, { etag: '"1"' }).end(),
  /** The requests: the version, the header fields, the address of the peer. */
  '/received': (request, response) => {
    const { httpVersion, headers } = request;
    response.end(JSON.stringify({ httpVersion, headers }));
  },
};
