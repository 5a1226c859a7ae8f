/** One entry of `listeners`. What its keys mean together is looked at in contradictions.ts. */
import { parseConnect, parseListen } from './addresses.ts';
import { choice, expected, map, optional, scalar, text } from './builder.ts';
import { listenerLimits, listenerTimeouts } from './limits.ts';
import { tcpPort } from './port.ts';
import { allowlist, cids, denylist, sources } from './rule.ts';

const listen = scalar(
  {
    description:
      'Where clients connect to: `vsock:PORT` (at CID 3), `vsock:CID:PORT` (CID: a number, `any` or `local`), `tcp:IP:PORT`, `unix:PATH`, or `systemd:NAME`, a socket that systemd listens on and passes by this name (`FileDescriptorName=`)',
    hint: 'write vsock:PORT, vsock:CID:PORT, tcp:IP:PORT, unix:PATH or systemd:NAME',
    type: 'address',
    json: { type: 'string', pattern: '^(vsock:((any|local|[0-9]+):)?[0-9]+|tcp:.+:[0-9]+|unix:/.+|systemd:.+)$' },
  },
  // A number is most likely a port, as the command line takes it.
  (value) =>
    typeof value === 'string' || typeof value === 'number'
      ? parseListen(String(value))
      : expected('an address to listen on', value),
);

const connect = text(
  'an address to connect to',
  {
    description:
      'The server of every client: `HOST:PORT` (`[IPv6]:PORT`), `vsock:CID:PORT` or `unix:PATH`. In HOST, `${region}` and `${domain}` stand for what the metadata service of the instance says, such as `us-east-1` and `amazonaws.com`',
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
      'The server is what each client asks for: in an HTTP request (CONNECT, or an absolute URI), or by the name in its TLS ClientHello. With `log` there is none: what clients send is written to standard error, line by line, as `vsock-proxy enclave --log` sends it',
    absent: '`connect` takes its place',
  },
  ['http', 'sni', 'log'],
);

const ipFamily = { description: 'Which addresses of servers are used; with `any`, IPv4 goes first', absent: '`any`' };

const proxyProtocol = {
  description:
    'With `connect`: the version of the PROXY protocol in which the server is told first who the client is. It must expect that',
  absent: 'not spoken',
};

const starttls = {
  description:
    'With `route: sni`: what clients say before TLS begins, and servers are told. `postgres`: SSLRequest, as every client of PostgreSQL sends it; one with `sslnegotiation=direct` is served, too',
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
      allowlist({ description: 'What may be reached besides the entries of the file', absent: 'those alone' }),
    ),
    denylist: optional(
      denylist({ description: 'What may not be reached besides the entries of the file', absent: 'those alone' }),
    ),
    cids: optional(cids({ description: 'The only clients that may connect, for vsock', absent: 'all clients' })),
    sources: optional(sources({ description: 'Where clients may connect from, for TCP', absent: 'all addresses' })),
    limits: optional(listenerLimits),
    timeouts: optional(listenerTimeouts),
    ip_family: optional(choice(ipFamily, ['any', 'ipv4', 'ipv6'])),
    proxy_protocol: optional(choice(proxyProtocol, ['v2'])),
  },
);
