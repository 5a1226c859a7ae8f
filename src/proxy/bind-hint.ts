/** What to do about an address that cannot be listened on. */
import type { SocketAddress } from '../dataplane/contract.ts';
import type { ActivatedSocket } from '../plan.ts';
import { lstatSync } from '../platform/system/files.ts';
import { CID_LOCAL, CID_PARENT } from '../platform/vsock.ts';

/** Lower ports need a capability: ip_unprivileged_port_start(7); for vsock the limit is fixed. */
const FIRST_UNPRIVILEGED_PORT = 1024;

/** The hint for an errno of bind(2); undefined if there is none. */
export function bindHint(errno: string, on: SocketAddress | ActivatedSocket): string | undefined {
  switch (on.family) {
    case 'vsock':
      return vsockHint(errno, on.cid, on.port);
    case 'tcp':
      return tcpHint(errno, on.port);
    case 'unix':
      return unixHint(errno, on.path);
    case 'systemd':
      return 'the .socket unit must listen for streams: ListenStream=, without Accept=yes';
  }
}

function vsockHint(errno: string, cid: number, port: number): string | undefined {
  switch (errno) {
    case 'EADDRINUSE':
      return 'another process listens on this port; `ss --vsock -lnp` shows which, often an earlier vsock-proxy';
    case 'EADDRNOTAVAIL':
      if (cid === CID_PARENT) {
        return (
          'this machine does not have CID 3: Nitro Enclaves is not enabled on this instance, or the module ' +
          'vmw_vsock_virtio_transport is not loaded; elsewhere, choose with --cid any or --cid local'
        );
      }
      return `this machine does not have CID ${cid}; choose with --cid any, --cid local or a CID that it has`;
    case 'EACCES':
    case 'EPERM':
      if (port < FIRST_UNPRIVILEGED_PORT) {
        return 'vsock ports below 1024 need the capability CAP_NET_BIND_SERVICE; use a port from 1024 up';
      }
      return 'in a container, the seccomp profile must allow AF_VSOCK; in a service, RestrictAddressFamilies= must';
    case 'EAFNOSUPPORT':
    case 'ENODEV':
      if (cid === CID_LOCAL) return 'the vsock loopback is missing: `modprobe vsock_loopback`';
      return (
        'this system has no AF_VSOCK: `modprobe vsock`; in a container, the seccomp profile must allow it; ' +
        'in a service, RestrictAddressFamilies= must'
      );
    default:
      return undefined;
  }
}

function tcpHint(errno: string, port: number): string | undefined {
  switch (errno) {
    case 'EADDRINUSE':
      return 'another process listens on this port; `ss -tlnp` shows which';
    case 'EADDRNOTAVAIL':
      return 'no network interface of this machine has this address; `ip address` lists them';
    case 'EACCES':
      if (port < FIRST_UNPRIVILEGED_PORT) {
        return 'TCP ports below 1024 need the capability CAP_NET_BIND_SERVICE; use a port from 1024 up';
      }
      return 'SELinux forbids it, perhaps: `setsebool -P vsock_proxy_listen_any on` (docs/service.md)';
    default:
      return undefined;
  }
}

function unixHint(errno: string, path: string): string | undefined {
  switch (errno) {
    case 'EADDRINUSE':
      return isOtherFile(path)
        ? 'the file exists and is not a socket; listen at another path'
        : `the file exists; if \`ss -xlp\` shows nobody listening on it, remove it: rm '${path}'`;
    case 'ENOENT':
      return `the directory of the socket does not exist: mkdir '${directoryOf(path)}'`;
    case 'ENOTDIR':
      return 'a part of the path is not a directory';
    case 'EACCES':
    case 'EROFS':
      return 'the directory of the socket must be writable for this user';
    default:
      return undefined;
  }
}

/** Whether the file exists and is not a socket, so that it is somebody's data. */
function isOtherFile(path: string): boolean {
  try {
    return !lstatSync(path).isSocket();
  } catch {
    return false;
  }
}

function directoryOf(path: string): string {
  return path.replace(/\/+[^/]*$/, '') || '/';
}
