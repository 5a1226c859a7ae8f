import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';

/** A TCP port of loopback that nobody listens on. */
export async function freePort(ip = '127.0.0.1'): Promise<number> {
  const server = createServer().listen(0, ip);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
