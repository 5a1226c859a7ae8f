/** The enclave's DNS server: one address, UDP and TCP. Its clients are programs of the same machine. */
import { VsockProxyError } from '../platform/errors.ts';
import type { SystemError } from '../platform/system/errors.ts';
import {
  type Connection,
  createServer,
  createSocket,
  type DatagramSocket,
  type StreamServer,
} from '../platform/system/sockets.ts';
import { answerQuery, LONGEST_QUERY, type LookUp } from './dns-message.ts';

export interface DnsServer {
  close(): void;
}

/** RFC 7766: connections may be kept open, but only some, and only for a time. */
const MAX_CONNECTIONS = 64;
const IDLE_MS = 10_000;
const LENGTH_BYTES = 2;
/** A client that does not read gets no more answers than this, besides those that the kernel keeps. */
const MAX_UNREAD_BYTES = 64 * 1024;

/** @throws VsockProxyError `listen-failed` */
export async function openDnsServer(ip: string, port: number, lookUp: LookUp): Promise<DnsServer> {
  const udp = createSocket('udp4');
  const tcp = createServer({ allowHalfOpen: false }, (socket) => serveConnection(socket, lookUp));
  tcp.maxConnections = MAX_CONNECTIONS;
  let closed = false;
  const close = (): void => {
    closed = true;
    udp.close();
    tcp.close();
  };
  const sendUnlessClosed = (reply: Buffer, to: number, address: string): void => {
    if (!closed) udp.send(reply, to, address);
  };
  try {
    await Promise.all([bindUdp(udp, ip, port), listenTcp(tcp, ip, port)]);
  } catch (error) {
    close();
    throw describe(error, ip, port);
  }
  udp.on('message', (message, { address, port: from }) => {
    if (from === 0) return; // a client with this port expects no reply (RFC 768), and none can be sent
    const reply = answerQuery(message, 'udp', lookUp);
    if (reply instanceof Promise) void reply.then((settled) => sendUnlessClosed(settled, from, address));
    else if (reply !== undefined) udp.send(reply, from, address);
  });
  return { close };
}

async function bindUdp(socket: DatagramSocket, ip: string, port: number): Promise<void> {
  socket.bind({ address: ip, port });
  await listening(socket);
}

async function listenTcp(server: StreamServer, ip: string, port: number): Promise<void> {
  server.listen({ host: ip, port });
  await listening(server);
}

function listening(socket: DatagramSocket | StreamServer): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('listening', resolve);
    socket.on('error', reject); // later errors reject a promise that is already settled
  });
}

/** Reads messages with a length prefix (RFC 1035 4.2.2), and answers them in order. */
function serveConnection(socket: Connection, lookUp: LookUp): void {
  let bytes: Buffer = Buffer.alloc(0);
  /** While an answer is pending nothing more is read, so that answers keep the order of the queries. */
  let waiting = false;
  const write = (reply: Buffer): void => {
    const length = Buffer.alloc(LENGTH_BYTES);
    length.writeUInt16BE(reply.length, 0);
    socket.write(Buffer.concat([length, reply]));
    if (socket.writableLength > MAX_UNREAD_BYTES) socket.destroy();
  };
  const answerAll = (): void => {
    while (!waiting && !socket.destroyed && bytes.length >= LENGTH_BYTES) {
      const end = LENGTH_BYTES + bytes.readUInt16BE(0);
      if (end > LENGTH_BYTES + LONGEST_QUERY) return void socket.destroy();
      if (bytes.length < end) return;
      const reply = answerQuery(bytes.subarray(LENGTH_BYTES, end), 'tcp', lookUp);
      bytes = bytes.subarray(end);
      if (reply === undefined) return void socket.destroy();
      if (reply instanceof Promise) waitFor(reply);
      else write(reply);
    }
  };
  const waitFor = (reply: Promise<Buffer>): void => {
    waiting = true;
    socket.pause();
    void reply.then((settled) => {
      waiting = false;
      if (socket.destroyed) return;
      write(settled);
      socket.resume();
      answerAll();
    });
  };
  socket.on('error', () => socket.destroy());
  socket.setTimeout(IDLE_MS, () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
    answerAll();
  });
}

const HINTS: Readonly<Record<string, string>> = {
  EACCES: 'ports below 1024 take root, or the capability CAP_NET_BIND_SERVICE',
  EADDRINUSE: 'another DNS server runs in the enclave; without ours, set egress.transparent_ports to []',
  EADDRNOTAVAIL: 'the loopback interface is not up',
};

function describe(error: unknown, ip: string, port: number): VsockProxyError {
  const { code = 'EIO', syscall = 'bind' } = error as SystemError;
  const hint = HINTS[code];
  return new VsockProxyError('listen-failed', `Could not bind the DNS server to ${ip}:${port}: ${syscall}: ${code}`, {
    errno: code,
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  });
}
