/**
 * One transfer: a request of a known length, half-close, and a reply of a known length, each with its checksum. So what
 * was cut, changed or added cannot pass for complete.
 */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { crc32 } from 'node:zlib';

export type Result = 'complete' | `failed: ${string}` | `wrong: ${string}`;

export interface Transfer {
  readonly host: string;
  readonly port: number;
  readonly up: Buffer;
  readonly downBytes: number;
  readonly timeoutMs: number;
}

const LENGTHS_BYTES = 8;
const CHECKSUM_BYTES = 4;

/** Replies with the checksum of the request, so many of `bytes` as it asks for, and their checksum. */
export async function serveTransfers(host: string, port: number, bytes: Buffer): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, (socket) => void reply(socket, bytes));
  server.listen(port, host, 1024);
  await once(server, 'listening');
  return server;
}

async function reply(socket: Socket, bytes: Buffer): Promise<void> {
  try {
    const request = Buffer.concat(await socket.toArray());
    const isWhole = request.length >= LENGTHS_BYTES && request.readUInt32BE(0) === request.length;
    if (!isWhole) return void socket.resetAndDestroy();
    const body = bytes.subarray(0, request.readUInt32BE(4));
    socket.end(Buffer.concat([checksum(request), body, checksum(body)]));
    socket.on('error', () => socket.destroy());
  } catch {
    socket.destroy(); // the client knows
  }
}

/** Never rejected: what goes wrong is a result. */
export async function runTransfer({ host, port, up, downBytes, timeoutMs }: Transfer): Promise<Result> {
  const lengths = Buffer.alloc(LENGTHS_BYTES);
  lengths.writeUInt32BE(LENGTHS_BYTES + up.length, 0);
  lengths.writeUInt32BE(downBytes, 4);
  const request = Buffer.concat([lengths, up]);
  const socket = connect({ host, port, allowHalfOpen: true });
  socket.setTimeout(timeoutMs, () => socket.destroy(new Error(`silent for ${timeoutMs} ms`)));
  socket.end(request);
  try {
    return judge(Buffer.concat(await socket.toArray()), request, downBytes);
  } catch (error) {
    return `failed: ${(error as Error).message}`;
  } finally {
    socket.destroy();
  }
}

function judge(reply: Buffer, request: Buffer, downBytes: number): Result {
  const whole = CHECKSUM_BYTES + downBytes + CHECKSUM_BYTES;
  if (reply.length < whole) return `failed: cut after ${reply.length} of ${whole} bytes`;
  if (reply.length > whole) return `wrong: ${reply.length} bytes instead of ${whole}`;
  const body = reply.subarray(CHECKSUM_BYTES, -CHECKSUM_BYTES);
  if (!reply.subarray(0, CHECKSUM_BYTES).equals(checksum(request))) return 'wrong: the request arrived changed';
  if (!reply.subarray(-CHECKSUM_BYTES).equals(checksum(body))) return 'wrong: the reply arrived changed';
  return 'complete';
}

function checksum(bytes: Buffer): Buffer {
  const sum = Buffer.alloc(CHECKSUM_BYTES);
  sum.writeUInt32BE(crc32(bytes));
  return sum;
}
