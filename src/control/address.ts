/** Socket addresses as log lines and error texts show them, after the AWS proxy's `cid: 3 port: 8000`. */
import type { SocketAddress, UpstreamAddress } from '../dataplane/contract.ts';
import type { Target } from '../policy/rules.ts';

export function formatAddress(address: SocketAddress): string {
  switch (address.family) {
    case 'vsock':
      return `cid: ${address.cid} port: ${address.port}`;
    case 'tcp':
      return `tcp: ${formatIpPort(address)}`;
    case 'unix':
      return `unix: ${address.path}`;
  }
}

/** A client as seen on the listener at `on`: unix clients seldom have a name of their own. */
export function formatClient(client: SocketAddress, on: SocketAddress): string {
  return formatAddress(client.family === 'unix' && client.path === '' ? on : client);
}

/** What clients want to reach: `kms.eu-west-1.amazonaws.com:443`. */
export function formatTarget({ host, port }: Target): string {
  return host.kind === 'name' ? `${host.name}:${port}` : formatIpPort({ ip: host.ip.text, port });
}

/** `10.0.0.7:443`, `[::1]:443`. */
export function formatIpPort({ ip, port }: Pick<UpstreamAddress, 'ip' | 'port'>): string {
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
}
