/** The sections `limits` and `timeouts`, of the file and of each listener. A listener may leave out every key. */
import { defaulted, duration, map, optional, wholeNumber } from './builder.ts';
import { CONNECTIONS } from './connections.ts';

const FILE = 'that of the file';
const SECTION_HINT = 'leave it out, or write at least one key below it';

const { proxyDefault, listenerDefault } = CONNECTIONS;

function connections(absent: string, more = '') {
  return wholeNumber({ description: `Connections open at once; further clients wait${more}`, absent }, CONNECTIONS);
}

function connectionsPerClient(absent?: string) {
  const description =
    'Connections of one client open at once; further ones are refused. A client is a CID, an IP address, or everyone on a unix socket. 0: no such limit. If a reload gives a listener its first limit per client, connections that were open before do not count';
  return wholeNumber({ description, ...(absent && { absent }) }, { min: 0, max: CONNECTIONS.max });
}

function ratePerClient(absent?: string) {
  const description =
    'New connections of one client per second, in bursts of up to one second’s worth; further ones are refused. 0: no such limit';
  return wholeNumber({ description, ...(absent && { absent }) }, { min: 0, max: 1_000_000 });
}

function vsockBuffer(absent?: string) {
  const description =
    'The most KiB that a vsock peer may have sent and that are not read. Both ends of a connection must set it. Only unread bytes take memory, of the kernel: at most this for each connection of a client that sends to a slow server';
  return wholeNumber({ description, ...(absent && { absent }) }, { min: 64, max: 4096 });
}

function connect(absent?: string) {
  const description = 'How long a connection to the server may take, all attempts together';
  return duration('1ms', { description, ...(absent && { absent }) });
}

function idle(absent?: string) {
  const description = 'How long a connection may carry no byte in either direction before it is closed; 0: for ever';
  return duration('0', { description, ...(absent && { absent }) });
}

function head(absent?: string) {
  const description = 'How long a client of a `route` may take to send its request head or ClientHello';
  return duration('1ms', { description, ...(absent && { absent }) });
}

function reuse(absent?: string) {
  const description =
    'With `route: http`, how long a connection to a server is kept for the next GET of the same client for the same server; 0: each request has a connection of its own';
  return duration('0', { description, ...(absent && { absent }) });
}

/** The limits of the file, which hold for each listener. */
export const limits = defaulted(
  map(
    { description: 'Limits of each listener', hint: SECTION_HINT },
    {
      connections: optional(
        connections(
          `${listenerDefault}; ${proxyDefault} for \`vsock-proxy PORT HOST PORT\``,
          '. The option `-w` overrides it',
        ),
      ),
      connections_per_client: defaulted(connectionsPerClient(), 0),
      rate_per_client: defaulted(ratePerClient(), 0),
      vsock_buffer_kib: defaulted(vsockBuffer(), 1024),
    },
  ),
  {},
);

export const timeouts = defaulted(
  map(
    { description: 'Deadlines of each listener and of the process', hint: SECTION_HINT },
    {
      connect: defaulted(connect(), '10s'),
      idle: defaulted(idle(), '1h'),
      head: defaulted(head(), '10s'),
      reuse: defaulted(reuse(), '15s'),
      drain: defaulted(
        duration('0', { description: 'How long open connections may go on when the proxy stops' }),
        '10s',
      ),
    },
  ),
  {},
);

export const listenerLimits = map(
  { description: 'Limits of this listener', hint: SECTION_HINT, absent: 'those of the file' },
  {
    connections: optional(connections(FILE)),
    connections_per_client: optional(connectionsPerClient(FILE)),
    rate_per_client: optional(ratePerClient(FILE)),
    vsock_buffer_kib: optional(vsockBuffer(FILE)),
  },
);

export const listenerTimeouts = map(
  { description: 'Deadlines of this listener', hint: SECTION_HINT, absent: 'those of the file' },
  {
    connect: optional(connect(FILE)),
    idle: optional(idle(FILE)),
    head: optional(head(FILE)),
    reuse: optional(reuse(FILE)),
  },
);
