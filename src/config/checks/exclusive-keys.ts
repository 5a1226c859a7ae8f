/**
 * Finds keys that exclude or need each other, and addresses that are used twice.
 *
 * These checks use the value as it is written, not the result of the schema. So their findings are reported together
 * with those about single keys. A value of the wrong type is ignored here, because the schema reports it.
 */

import type { Finding } from '../problems.ts';
import { mentions } from '../read/did-you-mean.ts';
import { asList, asMap, type KeyPath, type Raw } from '../read/untyped.ts';
import { type ConnectAddress, type ListenAddress, parseConnect, parseListen } from '../schema/addresses.ts';
import { MISSING } from '../schema/builder.ts';
import { findTaken } from './address-conflicts.ts';

/** The user of the file: the drop-in form, `serve`, `enclave`, or any of them. */
export type FilePurpose = 'proxy' | 'serve' | 'enclave' | 'any';

/** @param placeOf returns the `file:line` of a path, for messages */
export function findContradictions(
  value: unknown,
  purpose: FilePurpose,
  placeOf: (path: KeyPath) => string,
): Finding[] {
  const file = asMap(value);
  if (file === undefined) return [];
  const listeners = asList(file.listeners).map(look);
  return [
    ...findNothing(file, purpose),
    ...findProxyless(file),
    ...listeners.flatMap(clashesOf),
    ...(mentions(file, ['allowlist']) ? [] : listeners.filter(needsAllowlist).map(noAllowlist)),
    ...findTaken(file, placeOf),
  ];
}

/** Finds keys of an upstream proxy that the file does not have. */
function findProxyless(file: Raw): Finding[] {
  if ('upstream_proxy' in file) return [];
  const keys = ['upstream_proxy_credentials', 'no_proxy'].filter((key) => key in file);
  const hint = 'add upstream_proxy: http://HOST:PORT, or leave it out';
  return keys.map((key) => ({ path: [key], message: 'there is no upstream_proxy', hint }));
}

/** A listener, as far as it can be parsed. */
interface Look {
  readonly path: KeyPath;
  readonly raw: Raw;
  readonly on?: ListenAddress;
  readonly to?: ConnectAddress;
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

/** Keys that have no effect together with others. */
const CLASHES: readonly {
  readonly key?: string;
  readonly when: (listener: Look) => boolean;
  readonly message: string;
  readonly hint: string;
}[] = [
  {
    when: ({ raw }) => 'listen' in raw && !mentions(raw, ['connect', 'route']),
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
    when: ({ raw }) => 'port' in raw && ('connect' in raw || raw.route === 'http' || raw.route === 'log'),
    message: 'only route: sni has a port of its own',
    hint: 'connect: HOST:PORT has it behind the host, and what clients of route: http ask for has one',
  },
  {
    key: 'starttls',
    when: ({ raw }) => 'starttls' in raw && raw.route !== 'sni',
    message: 'only route: sni looks for TLS',
    hint: 'leave it out: with connect, all bytes go on as they come',
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
  ...['allowlist', 'denylist', 'ip_family'].map((key) => ({
    key,
    when: ({ raw }: Look) => key in raw && raw.route === 'log',
    message: 'it decides nothing here: route: log leads nowhere',
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
    when: ({ raw }) => 'head' in (asMap(raw.timeouts) ?? {}) && ('connect' in raw || raw.route === 'log'),
    message: 'nothing is read from a client before it is connected',
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

/** Finds CIDs in the entries of a listener whose clients have no CID. */
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
  return (
    !mentions(raw, ['allowlist']) &&
    (('route' in raw && raw.route !== 'log') || ('connect' in raw && to?.kind !== 'address'))
  );
}

function noAllowlist({ path }: Look): Finding {
  const message = 'no allowlist says what may be reached';
  return { path, message, hint: 'give this listener one, or the file one for all listeners' };
}

/** Finds a file that allows nothing to any client. */
function findNothing(file: Raw, purpose: FilePurpose): Finding[] {
  const entries: Readonly<Record<string, unknown>> = { ...file, egress: asMap(file.egress)?.allow };
  const nothingIn = (keys: readonly string[], hint: string): Finding[] => {
    if (keys.some((key) => asList(entries[key]).length > 0)) return [];
    const found = keys.filter((key) => key in file);
    // The misspelt key is reported as the problem.
    if (found.length === 0 && mentions(file, keys)) return [];
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
