/** The machine as the doctor's checks may look at it. Nothing here changes anything. */
import type { VsockListener, VsockSupport } from '../../dataplane/system.ts';
import type { Environment } from '../../platform/environment.ts';

export interface Ran {
  /** Of the exit; 128 + n where a signal ended it. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
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
  readonly env: Environment;
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
