/** Finds addresses that a file listens on twice. */
import { escapeControls, quoteBriefly } from '../../platform/escape.ts';
import { type Finding, writtenPath } from '../problems.ts';
import { asList, asMap, asPort, type KeyPath, type Raw } from '../read/untyped.ts';
import { formatListen, type ListenAddress, parseListen, wildcardOf } from '../schema/addresses.ts';
import type { Wrong } from '../schema/builder.ts';
import { DNS_PORT, EGRESS_PORT, egressAddress, ingressAddress, proxyAddress } from '../schema/egress.ts';
import { parseForwardListen } from '../schema/forward.ts';

/** @param placeOf returns the `file:line` of a path, for messages */
export function findTaken(file: Raw, placeOf: (path: KeyPath) => string): Finding[] {
  return [
    ...findRepeated(addressesOf(file), placeOf),
    ...findRepeated(enclaveAddressesOf(file), placeOf),
    ...findTakenPorts(file, placeOf),
    ...findTakenByDns(file),
  ];
}

interface Listened {
  readonly path: KeyPath;
  readonly on: ListenAddress;
}

/** Every address that the file listens on, with its path. */
function addressesOf(file: Raw): readonly Listened[] {
  const own = writtenAddresses(file.listeners, 'listeners', parseListen);
  const egress = asMap(file.egress) ?? {};
  const { proxy_port: proxyPort = EGRESS_PORT } = egress;
  if (asList(egress.allow).length > 0 && typeof proxyPort === 'number') {
    own.push({ path: ['egress', 'proxy_port'], on: egressAddress(proxyPort) });
  }
  for (const [index, entry] of asList(file.ingress).entries()) {
    const port = asPort(asMap(entry)?.listen_port);
    if (port !== undefined) own.push({ path: ['ingress', index, 'listen_port'], on: ingressAddress(port) });
  }
  return own;
}

/** Every address that the same file listens on inside the enclave, except those of `egress.transparent_ports`. */
function enclaveAddressesOf(file: Raw): readonly Listened[] {
  const forwarders = writtenAddresses(file.forward, 'forward', parseForwardListen);
  const egress = asMap(file.egress) ?? {};
  const { proxy_port: proxyPort = EGRESS_PORT } = egress;
  if (asList(egress.allow).length === 0 || typeof proxyPort !== 'number') return forwarders;
  return [{ path: ['egress', 'proxy_port'], on: proxyAddress(proxyPort) }, ...forwarders];
}

/**
 * Transparent ports are listened on at every address of the enclave. Neither another listener nor an application can
 * use them.
 */
function findTakenPorts(file: Raw, placeOf: (path: KeyPath) => string): Finding[] {
  const egress = asMap(file.egress) ?? {};
  if (asList(egress.allow).length === 0) return [];
  const taken = new Map<number, KeyPath>();
  for (const { path, on } of enclaveAddressesOf(file)) if (on.family === 'tcp') taken.set(on.port, path);
  for (const [index, entry] of asList(file.ingress).entries()) {
    const { listen_port: listenPort, enclave_port: port = listenPort } = asMap(entry) ?? {};
    const inside = asPort(port);
    if (inside !== undefined) taken.set(inside, ['ingress', index]);
  }
  return asList(egress.transparent_ports).flatMap((written, index) => {
    const port = asPort(written);
    const other = port === undefined ? undefined : taken.get(port);
    if (other === undefined) return [];
    const message = `port ${port} is taken already by ${writtenPath(other)} (${placeOf(other)})`;
    const hint =
      other[0] === 'ingress'
        ? 'let the application listen on another port of the enclave, and say which with enclave_port of ingress'
        : 'leave it out';
    return [{ path: ['egress', 'transparent_ports', index], message, hint }];
  });
}

/** Finds addresses in the enclave that its DNS server needs. */
function findTakenByDns(file: Raw): Finding[] {
  const { allow, transparent_ports: ports, proxy_port: proxyPort } = asMap(file.egress) ?? {};
  if (asList(allow).length === 0 || (ports !== undefined && asList(ports).length === 0)) return [];
  const taken: KeyPath[] = [
    ...(asPort(proxyPort) === DNS_PORT ? [['egress', 'proxy_port']] : []),
    ...asList(ports).flatMap((port, index) =>
      asPort(port) === DNS_PORT ? [['egress', 'transparent_ports', index]] : [],
    ),
    ...writtenAddresses(file.forward, 'forward', parseForwardListen).flatMap(({ path, on }) =>
      on.family === 'tcp' && on.port === DNS_PORT && ['127.0.0.1', '0.0.0.0'].includes(on.ip) ? [path] : [],
    ),
    ...asList(file.ingress).flatMap((entry, index) => {
      const { listen_port: listenPort, enclave_port: port = listenPort } = asMap(entry) ?? {};
      return asPort(port) === DNS_PORT ? [['ingress', index]] : [];
    }),
  ];
  return taken.map((path) => ({
    path,
    message: 'port 53 is taken already, in the enclave, by the DNS server of transparent egress',
    hint: 'take another port, or have no such server: egress.transparent_ports: []',
  }));
}

/** Finds pairs of addresses that the kernel would not let the process bind together. */
function findRepeated(all: readonly Listened[], placeOf: (path: KeyPath) => string): Finding[] {
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

/** The values of `listen` in the entries of a list, as far as they can be parsed. */
function writtenAddresses(entries: unknown, key: string, parse: (text: string) => ListenAddress | Wrong): Listened[] {
  return asList(entries).flatMap((entry, index) => {
    const written = asMap(entry)?.listen;
    const on = typeof written === 'string' ? parse(written) : undefined;
    return on === undefined || 'problem' in on ? [] : [{ path: [key, index, 'listen'], on }];
  });
}
