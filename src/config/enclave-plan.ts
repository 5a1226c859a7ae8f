/** The plan of `enclave`: the listeners inside the enclave, from the sections that parent and enclave share. */

import { type IpAddress, parseIpAddress, type TcpPort, toTcpPort } from '../access/address.ts';
import { findDenial } from '../access/authorize.ts';
import { cidrCovers, constantCidr } from '../access/cidr.ts';
import type { Policy } from '../access/rules.ts';
import type { SocketAddress } from '../dataplane/contract.ts';
import type { EgressPlan, EnclavePlan, ListenerPlan } from '../plan.ts';
import { type LoadedFile, loadFile } from './load.ts';
import { egressPolicy, limitsOf, timeoutsOf } from './partial-plan.ts';
import { observedBy } from './proxy-plan.ts';
import { proxyAddress } from './schema/egress.ts';

export interface EnclaveAddresses {
  /** The address of a vsock port of the parent. */
  readonly parentAddress: (port: number) => SocketAddress;
  /** The address where a vsock port of this enclave is listened on. */
  readonly ownAddress: (port: number) => SocketAddress;
}

export interface EnclaveSource extends EnclaveAddresses {
  readonly configPath: string;
}

/** There are no limits per client: all clients are the application, or the parent on behalf of all others. */
const NO_SHARES = { connections_per_client: 0, rate_per_client: 0 };
const NOTHING: Policy = { allow: [], deny: [] };
const DEFAULT_TRANSPARENT_PORTS = [80, 443].map(toTcpPort).filter((port) => port !== undefined);

/** @throws VsockProxyError `config`, for the first problem of the file */
export function loadEnclavePlan({ configPath, ...addresses }: EnclaveSource): EnclavePlan {
  return planEnclave(loadFile(configPath, 'enclave'), addresses);
}

/** The plan that a file describes; it has no listener if the file has no section for an enclave. */
export function planEnclave(file: LoadedFile, source: EnclaveAddresses): EnclavePlan {
  const { forward = [], ingress = [], limits, timeouts } = file.settings;
  const egress = readEgress(file, source);
  const defaults = {
    family: 'any',
    limits: limitsOf(limits, NO_SHARES),
    timeouts: timeoutsOf(timeouts, {}),
  } as const;
  const listen = (path: readonly PropertyKey[], listener: Pick<ListenerPlan, 'on' | 'route' | 'sources'>) => {
    return { ...defaults, place: file.placeOf(path), policy: egress?.policy ?? NOTHING, ...listener };
  };
  const toAddress = (address: SocketAddress) => ({ kind: 'address', address, proxyHeader: false }) as const;
  const listeners: ListenerPlan[] = [
    ...forward.map(({ listen: on, connect }, index) => listen(['forward', index], { on, route: toAddress(connect) })),
    ...ingress.map(({ listen_port: port, enclave_port: inside = port }, index) =>
      listen(['ingress', index], { on: source.ownAddress(port), route: toAddress(proxyAddress(inside)) }),
    ),
  ];
  const hosts = forward.flatMap(({ listen, names = [] }) => {
    const ip = parseIpAddress(listen.ip);
    return ip === undefined ? [] : names.map((name) => ({ name, ip }));
  });
  const plan = { listeners, ...observedInside(file, source), drainMs: timeouts.drain, notes: file.notes, hosts };
  if (egress === undefined) return plan;

  const via = egress.parent;
  listeners.push(listen(['egress'], { on: proxyAddress(egress.proxy.port), route: { kind: 'http', via } }));
  for (const port of egress.transparentPorts) {
    // The listener is at every address, because each name has its own. Clients from outside this machine are refused.
    // If the enclave adds further addresses to itself, it also adds them to `sources`.
    const on = { family: 'tcp', ip: '0.0.0.0', port } as const;
    listeners.push(listen(['egress'], { on, route: { kind: 'names', via }, sources: LOOPBACK }));
    if (!egress.addresses.some(({ family }) => family === 6)) continue;
    listeners.push(listen(['egress'], { on: { ...on, ip: '::' }, route: { kind: 'names', via }, sources: LOOPBACK }));
  }
  return { ...plan, egress };
}

/** The parent asks at the enclave's CID, which the file does not know. */
function observedInside(file: LoadedFile, { ownAddress }: EnclaveAddresses): ReturnType<typeof observedBy> {
  const { metrics, ...rest } = observedBy(file);
  if (metrics === undefined) return rest;
  const listen = metrics.listen.family === 'vsock' ? ownAddress(metrics.listen.port) : metrics.listen;
  // The enclaves of the file are for the parent: none of them reaches another.
  return { ...rest, metrics: { ...metrics, listen, enclaves: [] } };
}

const LOOPBACK = ['127.0.0.0/8', '::1/128'].map(constantCidr);

/** Addresses that no interface can have, and those of the enclave itself. */
const NOT_OUTSIDE = ['0.0.0.0/8', '127.0.0.0/8', '224.0.0.0/3', '::/127', 'fe80::/10', 'ff00::/8'].map(constantCidr);

/** The addresses that are listed one by one and not denied on every port. */
function listedAddresses(policy: Policy, ports: readonly TcpPort[]): readonly IpAddress[] {
  const listed = policy.allow.flatMap(({ address }) => (address.kind === 'ip' ? [address.ip] : []));
  const reached = listed.filter((ip) => {
    if (NOT_OUTSIDE.some((cidr) => cidrCovers(cidr, ip))) return false;
    const request = { policy, client: {}, family: 'any', namedBy: 'client' } as const;
    return ports.some((port) => findDenial({ ...request, target: { host: { kind: 'ip', ip }, port } }) === undefined);
  });
  return [...new Map(reached.map((ip) => [ip.text, ip])).values()];
}

function readEgress(file: LoadedFile, { parentAddress }: EnclaveAddresses): EgressPlan | undefined {
  const { egress, forward = [], ingress = [] } = file.settings;
  const policy = egressPolicy(file);
  if (egress === undefined || policy === undefined) return undefined;
  const proxy = proxyAddress(egress.proxy_port);
  const taken = [
    proxy.port,
    ...forward.map(({ listen }) => listen.port),
    ...ingress.map(({ listen_port: port, enclave_port: inside = port }) => inside),
  ];
  const written = egress.transparent_ports ?? DEFAULT_TRANSPARENT_PORTS.filter((port) => !taken.includes(port));
  const transparentPorts = [...new Set(written)];
  const addresses = listedAddresses(policy, transparentPorts);
  const parent = parentAddress(proxy.port);
  return { parent, proxy, policy, addresses, search: egress.search ?? [], transparentPorts };
}
