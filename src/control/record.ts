/** Close records in words. */
import type { CloseRecord, SocketAddress } from '../dataplane/contract.ts';
import { formatAddress, formatClient, formatServer } from './address.ts';
import { describeErrno } from './errno.ts';

/** What the records of a listener are told with. */
export interface ReportedRoute {
  readonly on: SocketAddress;
  /** What clients want to reach, as `host:port`. */
  readonly target: string;
  readonly maxConnections: number;
  readonly connectTimeoutMs: number;
  readonly idleTimeoutMs: number;
  /** Why there is no address, while there is none. */
  readonly absence: () => string;
}

/** Why a client could not be served, and what to do about it. */
export interface Failure {
  readonly problem: string;
  readonly hint: string;
}

/** @returns undefined when the connection came about, and then ended in one way or another */
export function findFailure(record: CloseRecord, route: ReportedRoute): Failure | undefined {
  const at = record.server === undefined ? '' : ` at ${formatServer(record.server)}`;
  const errno = record.errno ?? 'unknown reason';
  switch (record.reason) {
    case 'no-upstream':
      return {
        problem: `no address for ${route.target}: ${route.absence()}`,
        hint: 'the name is tried again all the time; see the warnings about it',
      };
    case 'connect-failed':
      return {
        problem: `could not connect to ${route.target}${at}: ${describeErrno(errno)}`,
        hint: connectHint(errno),
      };
    case 'connect-timeout':
      return {
        problem: `could not connect to ${route.target}${at} within ${route.connectTimeoutMs} ms`,
        hint: 'check security groups, network ACLs and routes to the address; the deadline is timeouts.connect',
      };
    case 'internal':
      return {
        problem: `the proxy itself failed while ${record.phase}: ${describeErrno(errno)}`,
        hint: resourceHint(errno),
      };
    case 'finished':
    case 'reset':
    case 'idle-timeout':
    case 'drained':
    case 'head-timeout':
    case 'denied':
    case 'malformed':
    case 'not-admitted':
    case 'client-limit':
    case 'client-rate':
      return undefined;
  }
}

/** The AWS proxy's line at the end of a connection, with the reason where it was not the usual one. */
export function describeEnd(record: CloseRecord, route: ReportedRoute): string {
  const line = `Client on ${formatClient(record.client, route.on)} disconnected`;
  switch (record.reason) {
    case 'reset':
      return `${line}: reset by the ${record.endedBy}${record.errno === undefined ? '' : ` (${record.errno})`}`;
    case 'idle-timeout':
      return `${line}: nothing was sent for ${route.idleTimeoutMs} ms (timeouts.idle)`;
    case 'drained':
      return `${line}: still open at the end of the drain`;
    default:
      return line;
  }
}

/** Everything that a close record holds, in one line. */
export function describeRecord(record: CloseRecord, route: ReportedRoute): string {
  const server = record.server === undefined ? '' : ` at ${formatServer(record.server)}`;
  const errno = record.errno === undefined ? '' : ` (${record.errno})`;
  return (
    `Closed connection ${record.connection} from ${formatClient(record.client, route.on)} on ${formatAddress(route.on)} ` +
    `to ${route.target}${server}: ${record.reason}${errno} by the ${record.endedBy} while ${record.phase}; ` +
    `bytes up ${record.bytesUp}, down ${record.bytesDown}; ` +
    `ms queued ${round(record.queuedMs)}, connect ${round(record.connectMs)}, total ${round(record.totalMs)}`
  );
}

function round(ms: number): string {
  return ms.toFixed(1);
}

function connectHint(errno: string): string {
  switch (errno) {
    case 'ECONNREFUSED':
      return 'nothing listens there, or a firewall rejects it';
    case 'ETIMEDOUT':
      return 'check security groups, network ACLs and routes to the address';
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return 'there is no route to the address; for an IPv6 address without IPv6 on this machine, use --ipv4';
    case 'EACCES':
    case 'EPERM':
      return 'a firewall rule, or IPAddressDeny= of the service, forbids it';
    case 'EADDRNOTAVAIL':
      return 'all local ports to this address are in use; see net.ipv4.ip_local_port_range';
    default:
      return resourceHint(errno);
  }
}

/** For errors that may befall every system call which makes something. */
export function resourceHint(errno: string): string {
  switch (errno) {
    case 'EMFILE':
      return 'raise the number of open files: LimitNOFILE= of the service, or ulimit -n';
    case 'ENFILE':
      return 'the whole system has no file left to open: see fs.file-max';
    case 'ENOBUFS':
    case 'ENOMEM':
      return 'the system is short of memory';
    default:
      return 'RUST_LOG=debug tells more of each connection';
  }
}
