/**
 * The plan: all that is to run. The command line and the file become a plan, and `proxy` runs it.
 *
 * This file has types only. Every value of a plan is checked, and every default is filled in.
 */

import type { Hostname, IpAddress, TcpPort } from './access/address.ts';
import type { Cidr } from './access/cidr.ts';
import type { Policy, Target } from './access/rules.ts';
import type { UpstreamProxy } from './access/upstream-proxy.ts';
import type { ListenerLimits, ListenerTimeouts, SocketAddress } from './dataplane/contract.ts';
import type { Family } from './dns/resolver.ts';
import type { LogFormat } from './platform/log.ts';

/** A socket that systemd listens on and passes by this name (`FileDescriptorName=`): systemd.socket(5). */
export interface ActivatedSocket {
  readonly family: 'systemd';
  readonly name: string;
}

/**
 * The server of a listener's clients, and who names it. `via`: connections go through the HTTP proxy at this address,
 * which resolves names, connects, and has its own policy.
 */
export type RoutePlan =
  /** A TCP server. The policy decides about this one target. */
  | {
      readonly kind: 'target';
      readonly target: Target;
      /** The host as the operator wrote it, for the log; absent: it was written in normalised form. */
      readonly written?: string;
      readonly proxyHeader: boolean;
    }
  /** An address that the operator wrote. There is no name, and the allowlist does not apply. */
  | { readonly kind: 'address'; readonly address: SocketAddress; readonly proxyHeader: boolean }
  /** This vsock port of the enclave with this name, whatever its current CID. */
  | { readonly kind: 'enclave'; readonly name: string; readonly port: number }
  /** No server: what clients send are lines for the log. */
  | { readonly kind: 'log' }
  /** The target that each client names in an HTTP request: CONNECT, or an absolute URI. */
  | { readonly kind: 'http'; readonly via?: SocketAddress }
  /** The name in each client's TLS ClientHello, at this port. */
  | { readonly kind: 'sni'; readonly port: TcpPort; readonly starttls?: 'postgres' };

/**
 * Inside an enclave: each name has an address of its own. A client that connects to this address goes to the name, at the
 * same port.
 */
export interface NamesRoute {
  readonly kind: 'names';
  readonly via: SocketAddress;
}

export interface ListenerPlan {
  /** Its place in the file: `vsock-proxy.yaml:14`; absent: on the command line. */
  readonly place?: string;
  readonly on: SocketAddress | ActivatedSocket;
  readonly route: RoutePlan | NamesRoute;
  /** The rules of the listener and those of the file. */
  readonly policy: Policy;
  /** The upstream proxy for TCP servers. */
  readonly upstreamProxy?: UpstreamProxy;
  /** The addresses of servers that are used. */
  readonly family: Family;
  /** The only CIDs that may connect; absent: all clients. */
  readonly cids?: readonly number[];
  /** The only source addresses that may connect to a TCP listener; absent: all. */
  readonly sources?: readonly Cidr[];
  readonly limits: ListenerLimits;
  readonly timeouts: ListenerTimeouts;
}

/** A note about a valid file for the operator. */
export interface PlanNote {
  readonly level: 'info' | 'warn';
  readonly text: string;
}

export interface Plan {
  readonly listeners: readonly ListenerPlan[];
  /** How long open connections may go on when the process stops. */
  readonly drainMs: number;
  readonly notes?: readonly PlanNote[];
  /** Absent: the file has no `metrics`. */
  readonly metrics?: MetricsPlan;
  /** Absent: the file has no `log`. */
  readonly logFormat?: LogFormat;
  /** Absent: no file was read. */
  readonly source?: ConfigSource;
}

/** Where metrics are served. */
export type ObserverAddress = SocketAddress;

export interface MetricsPlan {
  /** The place of `metrics.listen`. */
  readonly place: string;
  readonly listen: ObserverAddress;
  /** Enclaves whose metrics are served together with those of this process. */
  readonly enclaves: readonly { readonly cid: number; readonly port: number }[];
}

/** The file from which a plan was made. */
export interface ConfigSource {
  readonly path: string;
  /** SHA-256 of its bytes, in hexadecimal; computed on the first call. */
  sha256(): string;
}

/** What runs inside an enclave. */
export interface EnclavePlan extends Plan {
  /** Absent: no name can be reached. */
  readonly egress?: EgressPlan;
  /** Names that resolve to listeners of the plan. */
  readonly hosts: readonly { readonly name: Hostname; readonly ip: IpAddress }[];
}

export interface EgressPlan {
  /** The address of the parent's HTTP proxy. */
  readonly parent: SocketAddress;
  /** The address of the HTTP proxy in the enclave. */
  readonly proxy: { readonly ip: string; readonly port: number };
  readonly policy: Policy;
  /** Addresses that applications reach without a proxy setting, on the ports below. */
  readonly addresses: readonly IpAddress[];
  /** The search list of /etc/resolv.conf. */
  readonly search: readonly Hostname[];
  /** The ports on which applications reach names without a proxy setting. None: no DNS server is needed. */
  readonly transparentPorts: readonly TcpPort[];
}
