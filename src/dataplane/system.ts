/**
 * Types of what the addon reports about the system, and of what it opens. Files that must not load the addon can import
 * them.
 */

/** The state of AF_VSOCK for this process. */
export interface VsockSupport {
  /** The name of the errno if no socket of the family can be made; absent: sockets work. */
  readonly errno?: string;
  /** The CID of this machine, by IOCTL_VM_SOCKETS_GET_LOCAL_CID; absent if /dev/vsock cannot be opened. */
  readonly cid?: number;
}

/** A listening vsock socket of this machine, from sock_diag(7). */
export interface VsockListener {
  readonly cid: number;
  readonly port: number;
  /** As in /proc/PID/fd. */
  readonly inode: number;
}

/** Descriptors. The caller closes them. */
export interface PipeEnds {
  readonly read: number;
  readonly write: number;
}
