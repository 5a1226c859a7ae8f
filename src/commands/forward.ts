/** `vsock-proxy forward`: one address inside the enclave that leads to a vsock address; the arguments of `vsock-forwarder`. */

import type { Malformed } from '../access/address.ts';
import { parseConnect, parseListen, parseTcp } from '../config/schema/addresses.ts';
import { CONNECTIONS } from '../config/schema/connections.ts';
import { isInRange, LONGEST, toMs } from '../config/schema/duration.ts';
import type { SocketAddress } from '../dataplane/contract.ts';
import type { Plan } from '../plan.ts';
import { VsockProxyError } from '../platform/errors.ts';
import { quoteBriefly } from '../platform/escape.ts';
import { parseNumberOption } from './line/number.ts';
import { defineCommand, type Parsed, parseArguments } from './line/parse.ts';

const HELP = `
Arguments:
  <local>  where clients connect to: IP:PORT, [IPv6]:PORT, unix:PATH,
           vsock:PORT (every CID of this machine) or vsock:CID:PORT
  <cid>    of the machine to connect to; the parent of a Nitro Enclave is 3
  <port>   its vsock port

<local_ip> <local_port> <cid> <port> says the same in four words. In the place of
<cid> <port> one word may stand: IP:PORT, unix:PATH or vsock:CID:PORT.

A vsock or unix server that is not there is tried again until the deadline; a
failure ends one connection and nothing else.

Examples:
  vsock-proxy forward 127.0.0.1:443 3 8001        TCP in the enclave to its parent
  vsock-proxy forward vsock:3000 127.0.0.1:3000   the parent to a server in the enclave
`;

/** As commander names and leaves them. */
interface RawOptions {
  readonly connections?: string;
  readonly connectTimeout: string;
  readonly idleTimeout: string;
}

const DRAIN_MS = 10_000;
/** Nothing is read from a client of a fixed address. */
const UNUSED_HEAD_MS = 10_000;

/**
 * @param argv without the program's and the command's name
 * @throws VsockProxyError `usage`
 */
export function parseForwardCommand(
  argv: readonly string[],
): { readonly kind: 'run'; readonly plan: Plan } | { readonly kind: 'text'; readonly text: string } {
  const command = defineCommand('forward')
    .argument('<local>')
    .argument('<target...>')
    .option('--connections <n>', `most connections at the same time (default: ${CONNECTIONS.listenerDefault})`)
    .option('--connect-timeout <t>', 'until the server has answered', '10s')
    .option('--idle-timeout <t>', 'without a byte in either direction; 0: never', '1h')
    .addHelpText('after', HELP);
  const parsed: Parsed<RawOptions> = parseArguments(command, argv);
  if (parsed.kind === 'text') return parsed;
  const { connections, connectTimeout, idleTimeout } = parsed.options;
  const { on, address } = readAddresses(parsed.args);
  const listener = {
    place: 'command line of forward',
    on,
    route: { kind: 'address', address, proxyHeader: false },
    policy: { allow: [], deny: [] },
    family: 'any',
    limits: {
      connections:
        connections === undefined
          ? CONNECTIONS.listenerDefault
          : parseNumberOption('--connections', connections, CONNECTIONS),
      connectionsPerClient: 0,
      ratePerClient: 0,
    },
    timeouts: {
      connectMs: parseTimeout('--connect-timeout', connectTimeout, '1ms'),
      idleMs: parseTimeout('--idle-timeout', idleTimeout, '0'),
      headMs: UNUSED_HEAD_MS,
    },
  } as const;
  return { kind: 'run', plan: { listeners: [listener], drainMs: DRAIN_MS } };
}

function readAddresses(words: readonly string[]): { readonly on: SocketAddress; readonly address: SocketAddress } {
  const [first = '', second = '', third = '', fourth = ''] = words;
  switch (words.length) {
    case 2:
      if (/^\d+$/.test(second)) throw new VsockProxyError('usage', "missing required argument 'port'");
      return { on: parseLocal(first), address: parseTarget(second) };
    case 3:
      return { on: parseLocal(first), address: parseTarget(`vsock:${second}:${third}`) };
    case 4:
      return { on: parseLocal(joinPort(first, second)), address: parseTarget(`vsock:${third}:${fourth}`) };
    default:
      throw new VsockProxyError('usage', `too many arguments: ${quoteBriefly(words[4] ?? '')} is the fifth`);
  }
}

function joinPort(ip: string, port: string): string {
  return ip.includes(':') && !ip.startsWith('[') ? `[${ip}]:${port}` : `${ip}:${port}`;
}

function parseLocal(text: string): SocketAddress {
  const [, port] = /^vsock:(\d+)$/.exec(text) ?? [];
  const on = /^(vsock|unix|tcp):/.test(text)
    ? parseListen(port === undefined ? text : `vsock:any:${port}`)
    : parseTcp(text);
  if (!('problem' in on) && on.family !== 'systemd') return on;
  throw wrong('Local address', on);
}

function parseTarget(text: string): SocketAddress {
  if (!/^(vsock|unix):/.test(text)) {
    const address = parseTcp(text.replace(/^tcp:/, ''));
    if (!('problem' in address)) return address;
    throw wrong('Target', address);
  }
  const destination = parseConnect(text);
  if (!('problem' in destination) && destination.kind === 'address') return destination.address;
  throw wrong('Target', destination);
}

function wrong(what: string, parsed: Malformed | object): VsockProxyError {
  const { problem = 'it is of the wrong kind', hint = 'see --help' } = parsed as Partial<Malformed>;
  return new VsockProxyError('usage', `${what} is not valid: ${problem}`, { hint });
}

function parseTimeout(option: string, text: string, shortest: '0' | '1ms'): number {
  const ms = toMs(text);
  if (ms !== undefined && isInRange(ms, shortest)) return ms;
  throw new VsockProxyError(
    'usage',
    `option '${option}' wants a time such as 500ms, 10s, 5m or 1h, ${shortest}–${LONGEST}, not ${quoteBriefly(text)}`,
  );
}
