/** Socket addresses in log lines and errors, in the form of AWS's proxy: `cid: 3 port: 8000`. */

import type { Target } from '../../access/rules.ts';
import type { SocketAddress } from '../../dataplane/contract.ts';
import type { ActivatedSocket } from '../../plan.ts';
import { quoteBriefly } from '../../platform/escape.ts';

export function formatAddress(address: SocketAddress | ActivatedSocket): string {
  switch (address.family) {
    case 'vsock':
      return `cid: ${address.cid} port: ${address.port}`;
    case 'tcp':
      return `tcp: ${formatIpPort(address)}`;
    case 'unix':
      return `unix: ${address.path}`;
    case 'systemd':
      return `systemd: ${address.name}`;
  }
}

/** A client of the listener at `on`. Unix clients rarely have a name of their own. */
export function formatClient(client: SocketAddress, on: SocketAddress): string {
  return formatAddress(client.family === 'unix' && client.path === '' ? on : client);
}

/** A client without its port, as limits per client count it. */
export function nameClient(client: SocketAddress): string {
  switch (client.family) {
    case 'vsock':
      return `CID ${client.cid}`;
    case 'tcp':
      return client.ip;
    case 'unix':
      return 'the unix socket';
  }
}

/** A target: `kms.eu-west-1.amazonaws.com:443`. */
export function formatTarget({ host, port }: Target): string {
  return host.kind === 'name' ? `${host.name}:${port}` : formatIpPort({ ip: host.ip.text, port });
}

/** `port 3000 of the enclave "app"`. */
export function formatEnclave({ name, port }: { readonly name: string; readonly port: number }): string {
  return `port ${port} of the enclave ${quoteBriefly(name)}`;
}

/** A server: `10.0.0.7:443`; addresses other than TCP are as in `formatAddress`. */
export function formatServer(server: SocketAddress): string {
  return server.family === 'tcp' ? formatIpPort(server) : formatAddress(server);
}

/** `10.0.0.7:443`, `[::1]:443`. */
export function formatIpPort({ ip, port }: { readonly ip: string; readonly port: number }): string {
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
}
