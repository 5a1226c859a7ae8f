/** Servers and clients on loopback, ended with the test that they belong to. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, connect as dial, type Server, type Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { afterEach } from 'node:test';
import type { RunningProxy } from './proxy.ts';

export const LOOPBACK = '127.0.0.1';

let cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.reverse()) await cleanUp();
  cleanUps = [];
});

/** What is called last is done first. */
export function afterTest(cleanUp: () => unknown): void {
  cleanUps.push(cleanUp);
}

/** A server of its own; `serve` gets each connection. */
export async function listen(serve: (socket: Socket) => void, at: number | string = 0): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    afterTest(() => socket.destroy());
    serve(socket);
  });
  return await started(server, at);
}

/** With a shorter queue than there are clients, the kernel takes them for a flood, and resets some (SYN cookies: tcp(7)). */
const BACKLOG = 4096;

/** @param at a TCP port (0: any), or the path of a unix socket */
export async function started(server: Server, at: number | string = 0): Promise<number> {
  afterTest(() => server.close());
  if (typeof at === 'string') server.listen(at);
  else server.listen(at, LOOPBACK, BACKLOG);
  await once(server, 'listening');
  const address = server.address();
  assert(address !== null);
  return typeof address === 'object' ? address.port : 0;
}

export async function connect(proxy: Pick<RunningProxy, 'dial'>): Promise<Socket> {
  const socket = dial({ ...proxy.dial, allowHalfOpen: true });
  afterTest(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

/** All that arrives until EOF. (node:stream/consumers would destroy the socket then, and what it still has to write.) */
export async function buffer(socket: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk)).resume();
  await once(socket, 'end');
  return Buffer.concat(chunks);
}

export async function text(socket: Readable): Promise<string> {
  return (await buffer(socket)).toString();
}

/** The next bytes; rejects where it ends without any. */
export async function next(socket: Socket): Promise<Buffer> {
  assert.ok(!socket.destroyed, 'it has ended already');
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  socket.once('data', resolve);
  socket.once('error', reject);
  for (const event of ['end', 'close']) socket.once(event, () => reject(new Error('it ended without another byte')));
  return await promise;
}

/** How a stream ended: with an EOF or with an error's code. */
export async function ending(socket: Socket): Promise<string> {
  socket.resume();
  return await new Promise((resolve) => {
    socket.once('end', () => resolve('EOF'));
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  });
}

export function assertSame(received: Buffer, sent: Buffer): void {
  const shared = Math.min(received.length, sent.length);
  let first = 0;
  while (first < shared && received[first] === sent[first]) first += 1;
  assert.ok(received.equals(sent), `${received.length} of ${sent.length} bytes, the first ${first} of them right`);
}
