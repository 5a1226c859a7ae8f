/** What the calls of the addon tell of this system and hand out of it. Types only, for all that may not load the addon. */

/** What the kernel says of AF_VSOCK to this process. */
export interface VsockSupport {
  /** Why no socket of the family can be made, by the name of the errno; absent: one can. */
  readonly errno?: string;
  /** Of this machine, by IOCTL_VM_SOCKETS_GET_LOCAL_CID; absent where /dev/vsock cannot be opened. */
  readonly cid?: number;
}

/** A vsock socket of this machine that listens, as sock_diag(7) tells. */
export interface VsockListener {
  readonly cid: number;
  readonly port: number;
  /** As in /proc/PID/fd. */
  readonly inode: number;
}

/** Descriptors, for who opened it to close. */
export interface PipeEnds {
  readonly read: number;
  readonly write: number;
}
