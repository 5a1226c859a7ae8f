/** Socket addresses as the configuration file writes them. */
import { CID_ANY } from '../platform/vsock.ts';
import type { SocketAddress } from './contract.ts';

/**
 * `vsock:3:8000`, `vsock:any:8000`, `tcp:127.0.0.1:80`, `tcp:[::1]:80`, `unix:/run/x`: each address has exactly one
 * form.
 */
export function writeAddress(address: SocketAddress): string {
  switch (address.family) {
    case 'vsock':
      return `vsock:${address.cid === CID_ANY ? 'any' : address.cid}:${address.port}`;
    case 'tcp':
      return `tcp:${address.ip.includes(':') ? `[${address.ip}]` : address.ip}:${address.port}`;
    case 'unix':
      return `unix:${address.path}`;
  }
}
