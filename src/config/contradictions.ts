/**
 * What no key of the file can say alone: keys that exclude or need each other, addresses that are listened on twice.
 *
 * It looks at the value as written and not at what the schema makes of it, so that these problems are told together with
 * those of single keys. What is of the wrong type is passed over here: the schema tells that.
 */
import { escapeControls, quoteBriefly } from '../escape.ts';
import { parseTcpPort } from '../policy/address.ts';
import { EGRESS_PORT, egressAddress, ingressAddress, proxyAddress } from './enclaver.ts';
import {
  type Destination,
  formatListen,
  type ListenAddress,
  parseConnect,
  parseListen,
  wildcardOf,
} from './endpoint.ts';
import { parseForwardListen } from './forward.ts';
import { MISSING } from './key.ts';
import { type Finding, writtenPath } from './problem.ts';

/** Who is to use the file: the form of the AWS proxy, `serve`, `enclave`, or whoever comes. */
export type Purpose = 'proxy' | 'serve' | 'enclave' | 'any';

type Path = readonly PropertyKey[];
type Raw = Readonly<Record<string, unknown>>;

/** @param placeOf where what stands at a path begins, for messages */
export function findContradictions(value: unknown, purpose: Purpose, placeOf: (path: Path) => string): Finding[] {
  const file = asMap(value);
  if (file === undefined) return [];
  const listeners = asList(file.listeners).map(look);
  return [
    ...findNothing(file, purpose),
    ...listeners.flatMap(clashesOf),
    ...('allowlist' in file ? [] : listeners.filter(needsAllowlist).map(noAllowlist)),
    ...findRepeated(addressesOf(file, listeners), placeOf),
    ...findRepeated(enclaveAddressesOf(file), placeOf),
    ...findTakenPorts(file, placeOf),
  ];
}

/** A listener, as far as it can be understood. */
interface Look {
  readonly path: Path;
  readonly raw: Raw;
  readonly on?: ListenAddress;
  readonly to?: Destination;
}

function look(value: unknown, index: number): Look {
  const raw = asMap(value) ?? {};
  const on = typeof raw.listen === 'string' ? parseListen(raw.listen) : undefined;
  const to = typeof raw.connect === 'string' ? parseConnect(raw.connect) : undefined;
  return {
    path: ['listeners', index],
    raw,
    ...(on !== undefined && !('problem' in on) && { on }),
    ...(to !== undefined && !('problem' in to) && { to }),
  };
}

/** Keys that mean nothing beside others. */
const CLASHES: readonly {
  readonly key?: string;
  readonly when: (listener: Look) => boolean;
  readonly message: string;
  readonly hint: string;
}[] = [
  {
    when: ({ raw }) => 'listen' in raw && !('connect' in raw || 'route' in raw),
    message: 'neither connect nor route',
    hint: 'say where clients are connected to: connect: HOST:PORT, or route: http',
  },
  {
    key: 'route',
    when: ({ raw }) => 'connect' in raw && 'route' in raw,
    message: 'it excludes connect',
    hint: 'keep connect for one server, or route for the one that each client asks for',
  },
  {
    key: 'port',
    when: ({ raw }) => 'port' in raw && ('connect' in raw || raw.route === 'http'),
    message: 'only route: sni has a port of its own',
    hint: 'connect: HOST:PORT has it behind the host, and what clients of route: http ask for has one',
  },
  {
    key: 'proxy_protocol',
    when: ({ raw }) => 'proxy_protocol' in raw && 'route' in raw,
    message: 'only the server of connect can be told who the client is',
    hint: 'leave it out: what clients ask for is not told',
  },
  {
    key: 'cids',
    when: ({ raw, on }) => 'cids' in raw && (on?.family === 'tcp' || on?.family === 'unix'),
    message: 'only clients over vsock have a CID',
    hint: 'leave it out; over TCP, sources says who may connect, and on a unix socket its directory does',
  },
  {
    key: 'sources',
    when: ({ raw, on }) => 'sources' in raw && (on?.family === 'vsock' || on?.family === 'unix'),
    message: 'only clients over TCP have a source address',
    hint: 'leave it out; over vsock, cids says who may connect, and on a unix socket its directory does',
  },
  ...['allowlist', 'denylist', 'ip_family'].map((key) => ({
    key,
    when: ({ raw, to }: Look) => key in raw && to?.kind === 'address',
    message: 'it decides nothing here: connect leads to a vsock or unix address',
    hint: 'leave it out',
  })),
  {
    key: 'ip_family',
    when: ({ raw, to }) => {
      const host = to?.kind === 'target' ? to.target.host : undefined;
      const { ip_family: family = 'any' } = raw;
      return host?.kind === 'ip' && (family === 'ipv4' || family === 'ipv6') && family !== `ipv${host.ip.family}`;
    },
    message: 'the address of connect is of the other family',
    hint: 'leave it out, or give a name or an address of that family',
  },
  {
    key: 'timeouts.head',
    when: ({ raw }) => 'head' in (asMap(raw.timeouts) ?? {}) && 'connect' in raw,
    message: 'nothing is read from a client of connect',
    hint: 'leave it out: it is the deadline of route: http and route: sni',
  },
];

function clashesOf(listener: Look): Finding[] {
  const clashes = CLASHES.filter(({ when }) => when(listener));
  return [
    ...clashes.map(({ key, message, hint }) => ({
      path: [...listener.path, ...(key?.split('.') ?? [])],
      message,
      hint,
    })),
    ...unusableCids(listener),
  ];
}

/** CIDs in the own entries of a listener whose clients have none. */
function unusableCids({ path, raw, on }: Look): Finding[] {
  if (on?.family !== 'tcp' && on?.family !== 'unix') return [];
  return ['allowlist', 'denylist'].flatMap((list) =>
    asList(raw[list]).flatMap((entry, index) =>
      'cids' in (asMap(entry) ?? {})
        ? [
            {
              path: [...path, list, index, 'cids'],
              message: 'only clients over vsock have a CID',
              hint: 'leave it out: the entry could never apply',
            },
          ]
        : [],
    ),
  );
}

function needsAllowlist({ raw, to }: Look): boolean {
  return !('allowlist' in raw) && ('route' in raw || ('connect' in raw && to?.kind !== 'address'));
}

function noAllowlist({ path }: Look): Finding {
  const message = 'no allowlist says what may be reached';
  return { path, message, hint: 'give this listener one, or the file one for all listeners' };
}

/** A file that lets nobody do anything. */
function findNothing(file: Raw, purpose: Purpose): Finding[] {
  const entries: Readonly<Record<string, unknown>> = { ...file, egress: asMap(file.egress)?.allow };
  const nothingIn = (keys: readonly string[], hint: string): Finding[] => {
    if (keys.some((key) => asList(entries[key]).length > 0)) return [];
    const found = keys.filter((key) => key in file);
    const message =
      found.length === 0 ? 'nothing to listen on' : `nothing to listen on: ${found.join(', ')} without an entry`;
    return [{ path: found.slice(0, 1), message, hint }];
  };
  if (purpose === 'serve') {
    const hint = 'serve needs listeners, egress.allow or ingress; for a single one, see vsock-proxy --help';
    return nothingIn(['listeners', 'egress', 'ingress'], hint);
  }
  if (purpose === 'enclave') {
    return nothingIn(['egress', 'ingress', 'forward'], 'enclave needs egress.allow, ingress or forward');
  }
  const sections = ['listeners', 'egress', 'ingress', 'forward'].filter((key) => key in file);
  const isMissing = !('allowlist' in file) && (purpose === 'proxy' || sections.length === 0);
  return isMissing ? [{ path: ['allowlist'], message: MISSING }] : [];
}

interface Listened {
  readonly path: Path;
  readonly on: ListenAddress;
}

/** Every address that the file listens on, and where it says so. */
function addressesOf(file: Raw, listeners: readonly Look[]): readonly Listened[] {
  const own = listeners.flatMap(({ path, on }) => (on === undefined ? [] : [{ path: [...path, 'listen'], on }]));
  const egress = asMap(file.egress) ?? {};
  const { proxy_port: proxyPort = EGRESS_PORT } = egress;
  if (asList(egress.allow).length > 0 && typeof proxyPort === 'number') {
    own.push({ path: ['egress', 'proxy_port'], on: egressAddress(proxyPort) });
  }
  for (const [index, entry] of asList(file.ingress).entries()) {
    const port = parseTcpPort(String(asMap(entry)?.listen_port));
    if (port !== undefined) own.push({ path: ['ingress', index, 'listen_port'], on: ingressAddress(port) });
  }
  return own;
}

/** Every address that the same file listens on inside the enclave, but for those of `egress.transparent_ports`. */
function enclaveAddressesOf(file: Raw): readonly Listened[] {
  const forwarders = asList(file.forward).flatMap((entry, index) => {
    const written = asMap(entry)?.listen;
    const on = typeof written === 'string' ? parseForwardListen(written) : undefined;
    return on === undefined || 'problem' in on ? [] : [{ path: ['forward', index, 'listen'], on }];
  });
  const egress = asMap(file.egress) ?? {};
  const { proxy_port: proxyPort = EGRESS_PORT } = egress;
  if (asList(egress.allow).length === 0 || typeof proxyPort !== 'number') return forwarders;
  return [{ path: ['egress', 'proxy_port'], on: proxyAddress(proxyPort) }, ...forwarders];
}

/** Transparent ports are listened on at every address of the enclave, so nothing else can be, an application neither. */
function findTakenPorts(file: Raw, placeOf: (path: Path) => string): Finding[] {
  const egress = asMap(file.egress) ?? {};
  if (asList(egress.allow).length === 0) return [];
  const taken = new Map<number, Path>();
  for (const { path, on } of enclaveAddressesOf(file)) if (on.family === 'tcp') taken.set(on.port, path);
  for (const [index, entry] of asList(file.ingress).entries()) {
    const { listen_port: listenPort, enclave_port: port = listenPort } = asMap(entry) ?? {};
    taken.set(Number(port), ['ingress', index]);
  }
  return asList(egress.transparent_ports).flatMap((port, index) => {
    const other = taken.get(Number(port));
    if (other === undefined) return [];
    const message = `port ${Number(port)} is taken already by ${writtenPath(other)} (${placeOf(other)})`;
    const hint =
      other[0] === 'ingress'
        ? 'let the application listen on another port of the enclave, and say which with enclave_port of ingress'
        : 'leave it out';
    return [{ path: ['egress', 'transparent_ports', index], message, hint }];
  });
}

/** Addresses that the kernel would not let both be listened on. */
function findRepeated(all: readonly Listened[], placeOf: (path: Path) => string): Finding[] {
  const seen = new Map<string, Listened>();
  /** The first address that each wildcard would take. */
  const covered = new Map<string, Listened>();
  return all.flatMap((listened) => {
    const own = formatListen(listened.on);
    const wildcard = wildcardOf(listened.on) ?? own;
    const earlier = seen.get(own) ?? seen.get(wildcard) ?? covered.get(own);
    if (earlier !== undefined) {
      const other = `${writtenPath(earlier.path)}: ${formatListen(earlier.on)}`;
      const message = `${quoteBriefly(own)} is taken already by ${escapeControls(other)} (${placeOf(earlier.path)})`;
      return [{ path: listened.path, message, hint: 'every listener needs an address of its own' }];
    }
    seen.set(own, listened);
    if (!covered.has(wildcard)) covered.set(wildcard, listened);
    return [];
  });
}

function asMap(value: unknown): Raw | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Raw) : undefined;
}

function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
