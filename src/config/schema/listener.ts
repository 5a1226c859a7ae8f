/** One entry of `listeners`. checks/exclusive-keys.ts checks its keys together. */
import { parseConnect, parseListen } from './addresses.ts';
import { choice, expected, map, optional, scalar, text } from './builder.ts';
import { listenerLimits, listenerTimeouts } from './limits.ts';
import { tcpPort } from './port.ts';
import { allowlist, cids, denylist, sources } from './rule.ts';

const listen = scalar(
  {
    description:
      'The address for clients: `vsock:PORT` (at CID 3), `vsock:CID:PORT` (CID: a number, `any` or `local`), `tcp:IP:PORT`, `unix:PATH`, or `systemd:NAME`, a socket that systemd passes by this name (`FileDescriptorName=`)',
    hint: 'write vsock:PORT, vsock:CID:PORT, tcp:IP:PORT, unix:PATH or systemd:NAME',
    type: 'address',
    json: { type: 'string', pattern: '^(vsock:((any|local|[0-9]+):)?[0-9]+|tcp:.+:[0-9]+|unix:/.+|systemd:.+)$' },
  },
  // A number is most likely a port, as on the command line.
  (value) =>
    typeof value === 'string' || typeof value === 'number'
      ? parseListen(String(value))
      : expected('an address to listen on', value),
);

const connect = text(
  'an address to connect to',
  {
    description:
      'The server of every client: `HOST:PORT` (`[IPv6]:PORT`), `vsock:CID:PORT` or `unix:PATH`. In HOST, `${region}` and `${domain}` are replaced by the answers of the metadata service, such as `us-east-1` and `amazonaws.com`',
    hint: 'write HOST:PORT, vsock:CID:PORT or unix:PATH, in quotes if it begins with a bracket',
    type: 'address',
    absent: '`route` takes its place',
    json: { pattern: '^(vsock:(local|[0-9]+):[0-9]+|unix:/.+|[^/:]+:[0-9]+|\\[.+\\]:[0-9]+)$' },
  },
  parseConnect,
);

const route = choice(
  {
    description:
      'Each client names its server: `http`: in an HTTP request (CONNECT, or an absolute URI); `sni`: by the name in its TLS ClientHello. `log` has no server: what clients send, as `vsock-proxy enclave --log` does, is written to standard error line by line',
    absent: '`connect` takes its place',
  },
  ['http', 'sni', 'log'],
);

const ipFamily = { description: 'Which addresses of servers are used; with `any`, IPv4 goes first', absent: '`any`' };

const proxyProtocol = {
  description:
    'With `connect`: the version of the PROXY protocol. The proxy first sends the server a header with the address of the client; the server must expect it',
  absent: 'not spoken',
};

const starttls = {
  description:
    'With `route: sni`: the protocol in which clients and servers start TLS. `postgres`: SSLRequest, as clients of PostgreSQL send it; clients with `sslnegotiation=direct` work, too',
  absent: 'nothing: TLS begins at once',
};

export const listener = map(
  {
    description: 'One address that clients connect to',
    hint: 'a listener looks like this: - {listen: "vsock:8001", connect: "kms.us-east-1.amazonaws.com:443"}',
    json: { oneOf: [{ required: ['connect'] }, { required: ['route'] }] },
  },
  {
    listen,
    connect: optional(connect),
    route: optional(route),
    port: optional(
      tcpPort({
        description: 'With `route: sni`: the port of every server',
        absent: '443; 5432 with `starttls: postgres`',
      }),
    ),
    starttls: optional(choice(starttls, ['postgres'])),
    allowlist: optional(
      allowlist({ description: 'Targets that are allowed in addition to those of the file', absent: 'none' }),
    ),
    denylist: optional(
      denylist({ description: 'Targets that are denied in addition to those of the file', absent: 'none' }),
    ),
    cids: optional(cids({ description: 'For vsock: the only clients that may connect', absent: 'all clients' })),
    sources: optional(sources({ description: 'For TCP: the only clients that may connect', absent: 'all addresses' })),
    limits: optional(listenerLimits),
    timeouts: optional(listenerTimeouts),
    ip_family: optional(choice(ipFamily, ['any', 'ipv4', 'ipv6'])),
    proxy_protocol: optional(choice(proxyProtocol, ['v2'])),
  },
);
