/**
 * What is to run: the one shape between where it is written (command line, file) and what runs it (`control`).
 *
 * Types only; every value is checked, every default filled in.
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
 * Where a listener's clients are connected to, and who says so. `via`: through the HTTP proxy at this address, which
 * resolves and connects, and has a policy of its own.
 */
export type RoutePlan =
  /** To a TCP server; the policy was or will be asked for this one target. */
  | {
      readonly kind: 'target';
      readonly target: Target;
      /** Its host as the operator wrote it, for the log; absent: in its one spelling. */
      readonly written?: string;
      readonly proxyHeader: boolean;
    }
  /** To an address that the operator wrote down: there is no name, and nothing for the allowlist to decide. */
  | { readonly kind: 'address'; readonly address: SocketAddress; readonly proxyHeader: boolean }
  /** To this vsock port of the enclave with this name, whatever its CID is at the moment. */
  | { readonly kind: 'enclave'; readonly name: string; readonly port: number }
  /** Nowhere: what clients send are lines for the log. */
  | { readonly kind: 'log' }
  /** To what each client asks for in an HTTP request: CONNECT, or an absolute URI. */
  | { readonly kind: 'http'; readonly via?: SocketAddress }
  /** To the name that each client's TLS ClientHello gives, at this port. */
  | { readonly kind: 'sni'; readonly port: TcpPort; readonly starttls?: 'postgres' };

/** Inside an enclave: to the name that the address stands for which each client has connected to, and to the same port. */
export interface NamesRoute {
  readonly kind: 'names';
  readonly via: SocketAddress;
}

export interface ListenerPlan {
  /** Where it is written: `vsock-proxy.yaml:14`; absent: on the command line. */
  readonly place?: string;
  readonly on: SocketAddress | ActivatedSocket;
  readonly route: RoutePlan | NamesRoute;
  /** The listener's own rules and the global ones together. */
  readonly policy: Policy;
  /** The HTTP proxy on the way to TCP servers. */
  readonly upstreamProxy?: UpstreamProxy;
  /** Which addresses of servers are used. */
  readonly family: Family;
  /** The only CIDs that may connect; absent: all. */
  readonly cids?: readonly number[];
  /** The only source addresses that may connect to a TCP listener; absent: all. */
  readonly sources?: readonly Cidr[];
  readonly limits: ListenerLimits;
  readonly timeouts: ListenerTimeouts;
}

/** What the operator should know of a valid file. */
export interface PlanNote {
  readonly level: 'info' | 'warn';
  readonly text: string;
}

export interface Plan {
  readonly listeners: readonly ListenerPlan[];
  /** How long open connections may go on when the process is told to end. */
  readonly drainMs: number;
  readonly notes?: readonly PlanNote[];
  /** Absent: the file says nothing of metrics. */
  readonly metrics?: MetricsPlan;
  /** Absent: the file says nothing of the log. */
  readonly logFormat?: LogFormat;
  /** Absent: no file was read. */
  readonly source?: ConfigSource;
}

/** Where metrics can be asked for. */
export type ObserverAddress = SocketAddress;

export interface MetricsPlan {
  /** The place of `metrics.listen`. */
  readonly place: string;
  readonly listen: ObserverAddress;
  /** Whose metrics are served beside the own ones. */
  readonly enclaves: readonly { readonly cid: number; readonly port: number }[];
}

/** The file that a plan was made of. */
export interface ConfigSource {
  readonly path: string;
  /** SHA-256 of its bytes, in hexadecimal; computed when it is asked for. */
  sha256(): string;
}

/** What is to run inside an enclave. */
export interface EnclavePlan extends Plan {
  /** Absent: nothing may be reached by name. */
  readonly egress?: EgressPlan;
  /** Names that lead to listeners of the plan. */
  readonly hosts: readonly { readonly name: Hostname; readonly ip: IpAddress }[];
}

export interface EgressPlan {
  /** Of the parent's HTTP proxy. */
  readonly parent: SocketAddress;
  /** Of the HTTP proxy. */
  readonly proxy: { readonly ip: string; readonly port: number };
  readonly policy: Policy;
  /** Those that applications which know of no proxy reach as they are, on the ports below. */
  readonly addresses: readonly IpAddress[];
  /** Search list of /etc/resolv.conf. */
  readonly search: readonly Hostname[];
  /** On which applications that know of no proxy reach names. None: no DNS server is needed. */
  readonly transparentPorts: readonly TcpPort[];
}
