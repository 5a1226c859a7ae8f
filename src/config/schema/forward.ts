/**
 * The section `forward`: TCP addresses inside the enclave that `vsock-proxy enclave` connects to vsock ports of its
 * parent.
 */
import { parseHostname } from '../../access/address.ts';
import type { SocketAddress } from '../../dataplane/contract.ts';
import { parseConnect, parseTcp } from './addresses.ts';
import { list, map, optional, text, type Wrong } from './builder.ts';

type TcpAddress = Extract<SocketAddress, { family: 'tcp' }>;

/** Parses `127.0.0.1:443`, also with `tcp:` in front, as `listeners` has it. */
export function parseForwardListen(written: string): TcpAddress | Wrong {
  return parseTcp(written.replace(/^tcp:/, ''));
}

const listen = text(
  'an address to listen on',
  {
    description: 'The address for applications, inside the enclave: `IP:PORT`',
    hint: 'write IP:PORT, such as 127.0.0.1:443',
    type: 'address',
    json: { pattern: '^(tcp:)?.+:[0-9]+$' },
  },
  parseForwardListen,
);

const CONNECT_HINT = 'write vsock:CID:PORT, such as vsock:3:8001; 3 is the parent';

const connect = text(
  'an address to connect to',
  {
    description: 'The server: `vsock:CID:PORT`, where the parent is CID 3, or `unix:PATH`',
    hint: CONNECT_HINT,
    type: 'address',
    json: { pattern: '^(vsock:[0-9]+:[0-9]+|unix:/.+)$' },
  },
  (written) => {
    const destination = parseConnect(written);
    if ('problem' in destination) return destination;
    if (destination.kind === 'address') return destination.address;
    return { problem: 'a name or an IP address cannot be reached from an enclave', hint: CONNECT_HINT };
  },
);

/** A host name without a port. */
export function hostname(example: string) {
  const meta = { description: 'A host name', hint: `write a host name, such as ${example}`, type: 'name' };
  return text('a host name', meta, parseHostname);
}

export const forward = list(
  {
    description:
      'For `vsock-proxy enclave`: TCP addresses inside the enclave that lead to vsock ports, such as those of `listeners` at the parent',
    hint: 'it looks like this: forward: [{listen: "127.0.0.1:443", connect: "vsock:3:8001"}]',
    absent: 'none',
  },
  map(
    {
      description: 'One address',
      hint: 'it looks like this: - {listen: "127.0.0.1:443", connect: "vsock:3:8001"}',
    },
    {
      listen,
      connect,
      names: optional(
        list(
          {
            description: 'Names that lead to the address of `listen`, by /etc/hosts of the enclave',
            hint: 'write host names: [ip-ranges.amazonaws.com]',
            absent: 'none',
          },
          hostname('ip-ranges.amazonaws.com'),
        ),
      ),
    },
  ),
);
