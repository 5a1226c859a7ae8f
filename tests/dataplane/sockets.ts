/** The harness with real sockets on loopback around a data plane, by default the addon. */
import { once } from 'node:events';
import { type AddressInfo, createServer, connect as dial, type Socket } from 'node:net';
import { Worker } from 'node:worker_threads';
import { openDataPlane } from '../../src/dataplane/addon.ts';
import type { DataPlane, SocketAddress } from '../../src/dataplane/contract.ts';
import type { Harness, Peer, Server } from './harness.ts';

const LOOPBACK = '127.0.0.1';

export function openSocketHarness(threads: number, open: typeof openDataPlane = openDataPlane): Harness {
  const cleanUps: (() => unknown)[] = [];
  const opened: DataPlane[] = [];

  const freeAddress = async (): Promise<SocketAddress> => {
    const server = createServer().listen(0, LOOPBACK);
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    return { family: 'tcp', ip: LOOPBACK, port };
  };

  const peerOf = (socket: Socket): Peer => {
    cleanUps.push(() => socket.destroy());
    return socketPeer(socket);
  };

  return {
    open(events) {
      const dataPlane = open(events, { threads });
      opened.push(dataPlane);
      return dataPlane;
    },
    freeAddress,
    async connect(to: SocketAddress) {
      if (to.family === 'vsock') throw new Error('not on a machine whose vsock belongs to others');
      const target = to.family === 'tcp' ? { host: to.ip, port: to.port } : { path: to.path };
      const socket = dial({ ...target, allowHalfOpen: true });
      const peer = peerOf(socket);
      await new Promise<void>((resolve, reject) => {
        socket.once('connect', resolve);
        // Accepted and reset before Node looked: the peer reports it.
        socket.once('error', (error: NodeJS.ErrnoException) =>
          error.code === 'ECONNRESET' ? resolve() : reject(error),
        );
      });
      return peer;
    },
    async serve(): Promise<Server> {
      const server = createServer({ allowHalfOpen: true }).listen(0, LOOPBACK);
      cleanUps.push(() => server.close());
      const arrived: Peer[] = [];
      const awaited: ((peer: Peer) => void)[] = [];
      server.on('connection', (socket) => {
        const peer = peerOf(socket);
        const waiting = awaited.shift();
        if (waiting === undefined) arrived.push(peer);
        else waiting(peer);
      });
      await once(server, 'listening');
      return {
        address: { family: 'tcp', ip: LOOPBACK, port: (server.address() as AddressInfo).port },
        accept() {
          const peer = arrived.shift();
          return peer === undefined ? new Promise((resolve) => awaited.push(resolve)) : Promise.resolve(peer);
        },
      };
    },
    async silentAddress() {
      const { worker, port } = await startDeafServer();
      cleanUps.push(() => worker.terminate());
      // The kernel completes connections until the queue is full.
      for (let i = 0; i <= DEAF_BACKLOG; i += 1) {
        const socket = dial({ host: LOOPBACK, port }).on('error', () => undefined); // when the worker ends
        cleanUps.push(() => socket.destroy());
        await once(socket, 'connect');
      }
      return { family: 'tcp', ip: LOOPBACK, port };
    },
    async close() {
      for (const dataPlane of opened) dataPlane.stop();
      for (const cleanUp of cleanUps) await cleanUp();
    },
  };
}

const DEAF_BACKLOG = 1;

/** A server that never accepts, because its thread waits for ever. Once its queue is full, SYNs to it get no answer. */
export async function startDeafServer(): Promise<{ readonly worker: Worker; readonly port: number }> {
  const worker = new Worker(
    `const { parentPort } = require('node:worker_threads');
    const server = require('node:net').createServer();
    server.listen({ port: 0, host: '${LOOPBACK}', backlog: ${DEAF_BACKLOG} }, () => {
      parentPort.postMessage(server.address().port);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    });`,
    { eval: true },
  );
  const [port] = await once(worker, 'message');
  return { worker, port };
}

function socketPeer(socket: Socket): Peer {
  let received = '';
  const watchers = new Set<() => void>();
  const changed = () => {
    for (const watcher of watchers) watcher();
  };
  let ending: 'eof' | 'reset' | undefined;
  const ended = new Promise<'eof' | 'reset'>((resolve) => {
    const end = (how: 'eof' | 'reset') => {
      ending ??= how;
      resolve(ending);
      changed();
    };
    socket.on('end', () => end('eof'));
    socket.on('error', () => end('reset'));
  });
  socket.setEncoding('utf8').on('data', (text) => {
    received += text;
    changed();
  });
  return {
    ended,
    write: (data) => socket.write(data),
    end: () => socket.end(),
    reset: () => socket.resetAndDestroy(),
    receives: (text) =>
      new Promise((resolve, reject) => {
        const check = () => {
          if (received === text) resolve();
          else if (!text.startsWith(received) || ending !== undefined) {
            reject(new Error(`received ${JSON.stringify(received)}, ${ending}, not ${JSON.stringify(text)}`));
          }
        };
        watchers.add(check);
        check();
      }),
  };
}
