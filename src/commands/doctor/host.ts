/** The machine, as far as the doctor's checks need it. Nothing here changes anything. */
import type { VsockListener, VsockSupport } from '../../dataplane/system.ts';
import type { Environment } from '../../platform/environment.ts';

export interface Ran {
  /** The exit status; 128 + n if a signal ended the program. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The process that has a socket open. */
export interface Holder {
  readonly pid: number;
  /** /proc/PID/comm. */
  readonly command: string;
  /** The systemd unit, from /proc/PID/cgroup; absent if the process belongs to no unit. */
  readonly unit?: string;
}

export interface Host {
  readonly pid: number;
  readonly env: Environment;
  /** `uname -r`. */
  readonly kernel: string;
  now(): Date;
  /** The text of a file of at most 1 MiB; undefined if it is missing or not permitted. */
  read(path: string): string | undefined;
  /** The names in a directory; none if it is missing or not permitted. */
  list(path: string): readonly string[];
  exists(path: string): boolean;
  /** Runs a program without a shell, for at most 10 s; undefined if there is no such program. */
  run(program: string, args: readonly string[]): Promise<Ran | undefined>;
  vsock(): VsockSupport;
  /** Undefined if the kernel does not say (no vsock_diag module, or a system call filter). */
  vsockListeners(): readonly VsockListener[] | undefined;
  /** Undefined if the process belongs to another user, and its descriptors are not visible. */
  holderOf(inode: number): Holder | undefined;
}
