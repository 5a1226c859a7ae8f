/** The texts for close records. */
import type { CloseReason, CloseRecord, SocketAddress } from '../../dataplane/contract.ts';
import type { ListenerPlan } from '../../plan.ts';
import type { Refusal } from '../handlers/dispatcher.ts';
import { describeErrno } from './errno.ts';
import { formatAddress, formatClient, formatServer, nameClient } from './format.ts';

/** The facts about a listener that its log lines need. */
export interface ReportedRoute extends Pick<ListenerPlan, 'place' | 'limits' | 'timeouts'> {
  /** The address as bound. */
  readonly on: SocketAddress;
  /** The target of all clients, as `host:port`; absent if each client names its own. */
  readonly target?: string;
  /** The reason why there is no address, while there is none. */
  readonly absence: () => string;
  /** Called after the log line about each new client. */
  readonly onClient?: () => void;
}

/** A close record, and further facts about its connection. */
export interface Ending {
  readonly record: CloseRecord;
  /** The reason of the refusal, if the client was refused. */
  readonly refusal?: Refusal | undefined;
  /** The target, as `host:port`. */
  readonly target: string;
}

/** Why a client could not be served, and a hint. */
export interface ClientFailure {
  readonly problem: string;
  readonly hint?: string | undefined;
  /** For problems that differ from client to client: what the clients have in common, and what differs. */
  readonly flood?: { readonly what: string; readonly subject: string };
}

/** @returns undefined if the connection was established */
export function findFailure({ record, refusal, target }: Ending, route: ReportedRoute): ClientFailure | undefined {
  const what = WHAT_FLOODS[record.reason];
  if (what === undefined) return undefined;
  if (refusal !== undefined) return { ...refusal, flood: { what, subject: refusal.subject } };
  const server = record.server === undefined ? target : formatServer(record.server);
  const at = server === target ? '' : ` at ${server}`;
  const failure = describeFailure(record, target, at, route);
  if (failure === undefined || route.target !== undefined) return failure;
  const errno = record.errno === undefined ? '' : `: ${record.errno}`;
  const subject = record.reason === 'head-timeout' ? nameClient(record.client) : `${target}${at}${errno}`;
  return { ...failure, flood: { what, subject } };
}

/** For each close reason, what its clients have in common; undefined if they were served, or if faults report them. */
const WHAT_FLOODS: Readonly<Record<CloseReason, string | undefined>> = {
  denied: 'met a denial',
  malformed: 'sent or got a malformed message',
  'head-timeout': 'did not name their target in time',
  'decision-timeout': 'got no decision in time',
  'no-upstream': 'could not be served for want of an address',
  'connect-failed': 'could not be connected',
  'connect-timeout': 'could not be connected in time',
  internal: 'failed in the proxy itself',
  finished: undefined,
  reset: undefined,
  'idle-timeout': undefined,
  drained: undefined,
  'not-admitted': undefined,
  'client-limit': undefined,
  'client-rate': undefined,
};

function describeFailure(
  record: CloseRecord,
  target: string,
  at: string,
  route: ReportedRoute,
): ClientFailure | undefined {
  const errno = record.errno ?? 'unknown reason';
  switch (record.reason) {
    case 'no-upstream':
      return {
        problem: `no address for ${target}: ${route.absence()}`,
        hint: 'the name is tried again all the time; see the warnings about it',
      };
    case 'connect-failed':
      return {
        problem: `could not connect to ${target}${at}: ${describeErrno(errno)}`,
        hint: connectHint(errno, record.server),
      };
    case 'connect-timeout':
      if (record.phase === 'relaying') {
        const { headMs, connectMs } = route.timeouts;
        return {
          problem: `connected for ${target}${at}, and got no answer there within ${headMs + connectMs} ms`,
          hint: 'the proxy or server there is slow or hangs; the deadline is timeouts.head and timeouts.connect together',
        };
      }
      return {
        problem: `could not connect to ${target}${at} within ${route.timeouts.connectMs} ms`,
        hint: `${connectHint('ETIMEDOUT', record.server)}; the deadline is timeouts.connect`,
      };
    case 'internal':
      return {
        problem: `the proxy itself failed while ${record.phase}: ${describeErrno(errno)}`,
        hint: resourceHint(errno),
      };
    case 'head-timeout':
      return {
        problem: `no whole request head or ClientHello came within ${route.timeouts.headMs} ms (timeouts.head)`,
        hint: 'its protocol may be one in which the server speaks first (MySQL, SMTP, …), and that needs a listener with connect',
      };
    case 'decision-timeout':
      return {
        problem: `there was no decision about its target within ${route.timeouts.headMs} ms (timeouts.head)`,
        hint: 'most likely the DNS servers are slow; see the warnings about names',
      };
    case 'malformed':
      return record.endedBy === 'server'
        ? {
            problem:
              'its response has a body that is not framed as announced, a head without an end, or too many interim responses',
          }
        : { problem: 'the body of its request is not framed as announced' };
    default:
      return undefined;
  }
}

/** AWS's line at the end of a connection, with the reason if it is unusual. */
export function describeEnd(record: CloseRecord, { on, timeouts }: ReportedRoute): string {
  const line = `Client on ${formatClient(record.client, on)} disconnected`;
  switch (record.reason) {
    case 'reset':
      return `${line}: reset by the ${record.endedBy}${record.errno === undefined ? '' : ` (${record.errno})`}`;
    case 'idle-timeout':
      return `${line}: nothing was sent for ${timeouts.idleMs} ms (timeouts.idle)`;
    case 'drained':
      return `${line}: still open at the end of the drain`;
    case 'finished':
    case 'connect-failed':
    case 'connect-timeout':
    case 'no-upstream':
    case 'head-timeout':
    case 'decision-timeout':
    case 'denied':
    case 'malformed':
    case 'internal':
    case 'not-admitted':
    case 'client-limit':
    case 'client-rate':
      return line;
  }
}

/** All values of a close record, in one line. */
export function describeRecord({ record, target }: Ending, { on }: ReportedRoute): string {
  const server = record.server === undefined ? '' : ` at ${formatServer(record.server)}`;
  const errno = record.errno === undefined ? '' : ` (${record.errno})`;
  return (
    `Closed connection ${record.connection} from ${formatClient(record.client, on)} on ${formatAddress(on)} ` +
    `to ${target}${server}: ${record.reason}${errno} by the ${record.endedBy} while ${record.phase}; ` +
    `bytes up ${record.bytesUp}, down ${record.bytesDown}; ` +
    `ms queued ${round(record.queuedMs)}, connect ${round(record.connectMs)}, total ${round(record.totalMs)}`
  );
}

function round(ms: number): string {
  return ms.toFixed(1);
}

function connectHint(errno: string, server: SocketAddress | undefined): string {
  switch (server?.family) {
    case 'vsock':
      return vsockHint(errno);
    case 'unix':
      return unixHint(errno);
    default:
      return tcpHint(errno);
  }
}

function vsockHint(errno: string): string {
  switch (errno) {
    case 'ECONNRESET':
    case 'ECONNREFUSED':
      return 'nothing listens on this port there; if it is the parent, is vsock-proxy running on it?';
    case 'ETIMEDOUT':
      return 'no machine answers for this CID; the parent of a Nitro Enclave is 3';
    case 'ENODEV':
      return (
        'no machine has this CID, or this one has no vsock device, or vhost_vsock hides the enclaves (before Linux 5.11: ' +
        '`rmmod vhost_vsock`); the parent of a Nitro Enclave is 3'
      );
    case 'ENETUNREACH':
      return 'vsock of this network namespace may be its own (net.vsock.ns_mode is local): run the proxy in that of the host';
    case 'EACCES':
    case 'EPERM':
      return 'in a container, the seccomp profile must allow AF_VSOCK; in a service, RestrictAddressFamilies= must';
    case 'EAFNOSUPPORT':
      return 'this system has no AF_VSOCK: `modprobe vsock`; in a service, RestrictAddressFamilies= must allow it';
    default:
      return resourceHint(errno);
  }
}

function unixHint(errno: string): string {
  switch (errno) {
    case 'ECONNREFUSED':
      return 'nothing listens there';
    case 'ENOENT':
      return 'the file of the socket does not exist';
    case 'EAGAIN':
      return 'the queue of the server is full';
    case 'EACCES':
      return 'the socket must be writable for this user';
    case 'EPERM':
      return 'a seccomp profile, or SELinux or the like, forbids it';
    default:
      return resourceHint(errno);
  }
}

function tcpHint(errno: string): string {
  switch (errno) {
    case 'ECONNREFUSED':
      return 'nothing listens there, or a firewall rejects it';
    case 'ETIMEDOUT':
      return 'check security groups, network ACLs and routes to the address';
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return 'there is no route to the address; for an IPv6 address without IPv6 on this machine, use --ipv4, or ip_family: ipv4';
    case 'EACCES':
      return 'SELinux forbids it, perhaps (`ausearch -m avc`; docs/service.md names the booleans), or a firewall rule, or IPAddressDeny= of the service';
    case 'EPERM':
      return 'a firewall rule, a seccomp profile of the container, or IPAddressDeny= of the service forbids it';
    case 'EAFNOSUPPORT':
      return 'this machine has no such addresses, or RestrictAddressFamilies= of the service forbids them';
    case 'EADDRNOTAVAIL':
      return 'all local ports to this address are in use; see net.ipv4.ip_local_port_range';
    default:
      return resourceHint(errno);
  }
}

/** For errors that any system call that allocates may return. */
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
