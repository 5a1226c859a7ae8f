/** The listeners of a file with every default filled in. What is not in the file (region, enclave) is still missing. */

import { parseIpAddress, type TcpPort } from '../access/address.ts';
import { denyAll } from '../access/authorize.ts';
import type { Policy, Rule } from '../access/rules.ts';
import { isReachedDirectly } from '../access/upstream-proxy.ts';
import type { ListenerLimits, ListenerTimeouts } from '../dataplane/contract.ts';
import type { ListenerPlan, RoutePlan } from '../plan.ts';
import { VsockProxyError } from '../platform/errors.ts';
import { mayHaveCids } from '../platform/vsock.ts';
import type { LoadedFile } from './load.ts';
import { writtenPath } from './problems.ts';
import type { KeyPath } from './read/untyped.ts';
import { onAnyPort, rulesOf } from './rules.ts';
import { fillTemplate, type TemplateValues } from './schema/addresses.ts';
import { CONNECTIONS } from './schema/connections.ts';
import { egressAddress, ingressAddress } from './schema/egress.ts';
import type { FileSettings } from './schema/file.ts';
import { upstreamProxyOf } from './upstream-proxy.ts';

type Section<Key extends keyof FileSettings> = NonNullable<FileSettings[Key]>;
type Listener = Section<'listeners'>[number];

/** A listener, as far as the file describes it. */
export interface PartialListener extends Omit<ListenerPlan, 'route'> {
  readonly place: string;
  readonly route:
    | RoutePlan
    /** A host with `${region}` or `${domain}` in its name. */
    | { readonly kind: 'template'; readonly host: string; readonly port: TcpPort; readonly proxyHeader: boolean }
    /** This vsock port of the enclave. The command line has its CID or name. */
    | { readonly kind: 'ingress'; readonly port: TcpPort };
  /** The path of the key that sets the route, and its `file:line`. */
  readonly routeKey: string;
  readonly routePlace: string;
}

/** Values of a plan that are not in the file. */
export interface Circumstances {
  readonly placement?: TemplateValues;
  readonly enclaveCid?: number;
  readonly enclaveName?: string;
}

export type Completion =
  | { readonly kind: 'listener'; readonly listener: ListenerPlan & { readonly route: RoutePlan } }
  /** The listener cannot run. */
  | { readonly kind: 'problem'; readonly problem: VsockProxyError }
  /** The listener can run only if this value is known. */
  | { readonly kind: 'unknown'; readonly what: keyof Circumstances };

/** All listeners of the file, in its order. */
export function partialListeners(file: LoadedFile): readonly PartialListener[] {
  const { listeners = [], egress, ingress = [], limits, timeouts } = file.settings;
  const global = globalPolicy(file);
  const partials: { readonly path: KeyPath; readonly partial: PartialListener }[] = [];

  const add = (
    path: KeyPath,
    routeKey: string,
    partial: Omit<PartialListener, 'place' | 'routeKey' | 'routePlace'>,
  ) => {
    const routePath = [...path, routeKey];
    const written = {
      place: file.placeOf(path),
      routeKey: writtenPath(routePath),
      routePlace: file.placeOf(routePath),
    };
    const proxy = upstreamProxy !== undefined && TO_TCP.has(partial.route.kind) && { upstreamProxy };
    partials.push({ path, partial: { ...partial, ...written, ...proxy } });
  };
  const upstreamProxy = upstreamProxyOf(file);
  const defaults = { family: 'any', limits: limitsOf(limits, {}), timeouts: timeoutsOf(timeouts, {}) } as const;

  for (const [index, listener] of listeners.entries()) {
    const path = ['listeners', index];
    const { connect, ip_family: family = 'any', cids, sources } = listener;
    add(path, connect === undefined ? 'route' : 'connect', {
      on: listener.listen,
      route: routeOf(listener),
      policy: {
        ...global,
        allow: joined(rulesOf(file, [...path, 'allowlist'], listener.allowlist), global.allow),
        deny: joined(rulesOf(file, [...path, 'denylist'], listener.denylist), global.deny),
      },
      family,
      ...(cids && { cids }),
      ...(sources && { sources }),
      limits: limitsOf(limits, listener.limits ?? {}),
      timeouts: timeoutsOf(timeouts, listener.timeouts ?? {}),
    });
  }
  const policy = egressPolicy(file);
  if (egress !== undefined && policy !== undefined) {
    add(['egress'], 'allow', { ...defaults, on: egressAddress(egress.proxy_port), route: { kind: 'http' }, policy });
  }
  for (const [index, { listen_port: port }] of ingress.entries()) {
    const route = { kind: 'ingress', port } as const;
    add(['ingress', index], 'listen_port', { ...defaults, on: ingressAddress(port), route, policy: NOTHING });
  }
  return partials.sort((one, other) => file.lineOf(one.path) - file.lineOf(other.path)).map(({ partial }) => partial);
}

/** The kinds of routes that use an upstream proxy. */
const TO_TCP: ReadonlySet<PartialListener['route']['kind']> = new Set(['target', 'template', 'http', 'sni']);

/** The rules that hold for every listener. */
export function globalPolicy(file: LoadedFile): Policy {
  const { allowlist, denylist, match_names_by_ip: matchNamesByIp } = file.settings;
  return {
    allow: rulesOf(file, ['allowlist'], allowlist),
    deny: rulesOf(file, ['denylist'], denylist),
    ...(matchNamesByIp && { matchNamesByIp }),
  };
}

/** The policy of `egress`; undefined if nothing is allowed, and there is no proxy. */
export function egressPolicy(file: LoadedFile): Policy | undefined {
  const { egress, denylist } = file.settings;
  if (!egress?.allow?.length) return undefined;
  const deny = rulesOf(file, ['egress', 'deny'], egress.deny?.map(onAnyPort));
  return {
    allow: rulesOf(file, ['egress', 'allow'], egress.allow.map(onAnyPort)).map(withAlias),
    deny: joined(deny, rulesOf(file, ['denylist'], denylist)),
    allowKey: 'egress.allow',
  };
}

/** Enclaver's name for the parent itself. */
const PARENT_ALIAS = 'host';
const PARENT_LOOPBACK = parseIpAddress('127.0.0.1');

function withAlias(rule: Rule): Rule {
  const isAlias = rule.address.kind === 'name' && rule.address.name === PARENT_ALIAS;
  return isAlias && PARENT_LOOPBACK !== undefined ? { ...rule, leadsTo: PARENT_LOOPBACK } : rule;
}

/** Fills in the values that are known now. */
export function complete(partial: PartialListener, { placement, enclaveCid, enclaveName }: Circumstances): Completion {
  const { routeKey, routePlace, route, ...listener } = partial;
  const problem = (message: string, hint: string | undefined): Completion => {
    const error = new VsockProxyError('config', `${routeKey}: ${message}`, { hint, place: routePlace });
    return { kind: 'problem', problem: error };
  };
  switch (route.kind) {
    case 'ingress': {
      if (enclaveName !== undefined) {
        return {
          kind: 'listener',
          listener: { ...listener, route: { kind: 'enclave', name: enclaveName, port: route.port } },
        };
      }
      if (enclaveCid === undefined) return { kind: 'unknown', what: 'enclaveCid' };
      const address = { family: 'vsock', cid: enclaveCid, port: route.port } as const;
      return { kind: 'listener', listener: { ...listener, route: { kind: 'address', address, proxyHeader: false } } };
    }
    case 'template': {
      if (placement === undefined) return { kind: 'unknown', what: 'placement' };
      const { proxyHeader } = route;
      const target = fillTemplate(route.host, route.port, placement);
      if ('problem' in target) return problem(target.problem, target.hint);
      return complete({ ...partial, route: { kind: 'target', target, proxyHeader } }, {});
    }
    case 'target': {
      const { policy, family, on, cids } = listener;
      const denial = denyAll({ policy, family, target: route.target }, { mayHaveCids: mayHaveCids(on), cids });
      if (denial !== undefined) return problem(denial.reason, denial.hint);
      const { upstreamProxy: proxy } = listener;
      if (route.proxyHeader && proxy !== undefined && !isReachedDirectly(proxy, route.target)) {
        return problem(
          'proxy_protocol does not pass through upstream_proxy',
          'leave it out, or list the server in no_proxy',
        );
      }
      return { kind: 'listener', listener: { ...listener, route } };
    }
    default:
      return { kind: 'listener', listener: { ...listener, route } };
  }
}

const HTTPS = 443 as TcpPort;
const POSTGRES = 5432 as TcpPort;
const NOTHING: Policy = { allow: [], deny: [] };

function routeOf({
  connect,
  route,
  starttls,
  port = starttls ? POSTGRES : HTTPS,
  proxy_protocol: proxyProtocol,
}: Listener): PartialListener['route'] {
  if (connect !== undefined) return { ...connect, proxyHeader: proxyProtocol !== undefined };
  switch (route) {
    case 'sni':
      return { kind: 'sni', port, ...(starttls && { starttls }) };
    case 'log':
      return { kind: 'log' };
    case 'http':
    case undefined:
      return { kind: 'http' };
  }
}

/** The same list if nothing is added, so that the policy is prepared only once. */
function joined(own: readonly Rule[], global: readonly Rule[]): readonly Rule[] {
  return own.length === 0 ? global : [...own, ...global];
}

export function limitsOf(global: Section<'limits'>, own: NonNullable<Listener['limits']>): ListenerLimits {
  return {
    connections: own.connections ?? global.connections ?? CONNECTIONS.listenerDefault,
    connectionsPerClient: own.connections_per_client ?? global.connections_per_client,
    ratePerClient: own.rate_per_client ?? global.rate_per_client,
    vsockBufferKib: own.vsock_buffer_kib ?? global.vsock_buffer_kib,
  };
}

export function timeoutsOf(global: Section<'timeouts'>, own: NonNullable<Listener['timeouts']>): ListenerTimeouts {
  return {
    connectMs: own.connect ?? global.connect,
    idleMs: own.idle ?? global.idle,
    headMs: own.head ?? global.head,
    reuseMs: own.reuse ?? global.reuse,
  };
}
