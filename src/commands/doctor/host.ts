/** The machine as the doctor's checks may look at it. Nothing here changes anything. */

export interface Ran {
  /** Of the exit; 128 + n where a signal ended it. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What the kernel says of AF_VSOCK to this process. */
export interface VsockSupport {
  /** Why no socket of the family can be made, by the name of the errno; absent: one can. */
  readonly errno?: string;
  /** IOCTL_VM_SOCKETS_GET_LOCAL_CID of /dev/vsock; absent where that device cannot be opened. */
  readonly cid?: number;
}

/** A vsock socket of this machine that listens, as sock_diag(7) tells. */
export interface VsockListener {
  readonly cid: number;
  readonly port: number;
  readonly inode: number;
}

/** Who has a socket open. */
export interface Holder {
  readonly pid: number;
  /** /proc/PID/comm. */
  readonly command: string;
  /** The systemd unit, of /proc/PID/cgroup; absent for what no unit runs. */
  readonly unit?: string;
}

export interface Host {
  readonly pid: number;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `uname -r`. */
  readonly kernel: string;
  now(): Date;
  /** The text of a file of at most 1 MiB; undefined where it is not there or may not be read. */
  read(path: string): string | undefined;
  /** Names in a directory; none where it is not there or may not be read. */
  list(path: string): readonly string[];
  exists(path: string): boolean;
  /** Runs a program without a shell, for at most 10 s; undefined where there is no such program. */
  run(program: string, args: readonly string[]): Promise<Ran | undefined>;
  vsock(): VsockSupport;
  /** Undefined where the kernel does not tell (no vsock_diag module, or a filter of system calls). */
  vsockListeners(): readonly VsockListener[] | undefined;
  /** Undefined where the process is another user's and its descriptors may not be seen. */
  holderOf(inode: number): Holder | undefined;
}
