/** What the kernel tells of AF_VSOCK, by calls of the addon that need no data plane: native/node/vsock.h. */
import { getSystemErrorName } from 'node:util';
import { loadAddon } from './load.ts';

interface Addon {
  vsockSupport(): { readonly error: number; readonly cid: number; readonly cidError: number };
  vsockListeners(): { readonly error: number; readonly listeners: readonly VsockListener[] };
}

export interface VsockSupport {
  /** Why no socket of the family can be made, by the name of the errno; absent: one can. */
  readonly errno?: string;
  /** The CID of this machine; absent where /dev/vsock cannot be opened. */
  readonly cid?: number;
}

export function readVsockSupport(): VsockSupport {
  const { error, cid, cidError } = (loadAddon() as Addon).vsockSupport();
  return { ...(error !== 0 && { errno: getSystemErrorName(-error) }), ...(cidError === 0 && { cid }) };
}

/** A vsock socket of this machine that listens. */
export interface VsockListener {
  readonly cid: number;
  readonly port: number;
  /** As in /proc/PID/fd. */
  readonly inode: number;
}

/** @returns undefined where the kernel does not tell: without the module vsock_diag, or behind a filter of system calls */
export function listVsockListeners(): readonly VsockListener[] | undefined {
  const { error, listeners } = (loadAddon() as Addon).vsockListeners();
  return error === 0 ? listeners : undefined;
}
