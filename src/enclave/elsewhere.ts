/** Keeps `enclave` from changing the names of a machine that is no enclave. */
import { VsockProxyError } from '../platform/errors.ts';
import { closeSync, openSync, readFileSync } from '../platform/system/files.ts';

/** What tells an enclave, or a container, from any other machine. */
export interface Surroundings {
  /** Whether /dev/nsm is there, which only enclaves of AWS Nitro have. */
  readonly hasNsm: boolean;
  /** Whether this is the first process of its PID namespace. */
  readonly isFirst: boolean;
  /** The contents of proc(5) files; empty where a file is not there. */
  readonly routes: string;
  readonly ipv6Routes: string;
  readonly mounts: string;
}

/**
 * An enclave has no network beside its loopback link, and a container has a resolv.conf of its own. On any other machine,
 * say that of a developer, /etc/hosts and /etc/resolv.conf are everyone's.
 * @throws VsockProxyError
 */
export function refuseElsewhere({ hasNsm, isFirst, routes, ipv6Routes, mounts }: Surroundings): void {
  if (hasNsm || isFirst || /^(?:\S+ ){4}\/etc\/resolv\.conf /m.test(mounts)) return;
  const link = /^(?!Iface\b|lo\b)(\S+)/m.exec(routes)?.[1] ?? /(?:^|\s)(?!lo$)(\S+)$/m.exec(ipv6Routes.trim())?.[1];
  if (link === undefined) return;
  throw new VsockProxyError(
    'config',
    `This machine has a network (${link}) and is no enclave: /etc/hosts and /etc/resolv.conf are not changed here`,
    { hint: 'run it in an enclave, or in a container that stands for one' },
  );
}

/** Surroundings of this process. What cannot be read is not there. */
export function lookAround(): Surroundings {
  return {
    hasNsm: opens('/dev/nsm'),
    isFirst: textOf('/proc/self/stat').startsWith('1 '),
    routes: textOf('/proc/net/route'),
    ipv6Routes: textOf('/proc/net/ipv6_route'),
    mounts: textOf('/proc/self/mountinfo'),
  };
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

function opens(path: string): boolean {
  try {
    closeSync(openSync(path, 'r'));
    return true;
  } catch {
    return false;
  }
}
