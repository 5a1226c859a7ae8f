/** The kernel's state of AF_VSOCK, by functions of the addon that need no data plane: native/node/vsock.h. */
import { getSystemErrorName } from 'node:util';
import { loadAddon } from './load.ts';
import type { VsockListener, VsockSupport } from './system.ts';

interface Addon {
  vsockSupport(): { readonly error: number; readonly cid: number; readonly cidError: number };
  vsockListeners(): { readonly error: number; readonly listeners: readonly VsockListener[] };
}

export function readVsockSupport(): VsockSupport {
  const { error, cid, cidError } = (loadAddon() as Addon).vsockSupport();
  return { ...(error !== 0 && { errno: getSystemErrorName(-error) }), ...(cidError === 0 && { cid }) };
}

/** @returns undefined if the kernel does not say: without the module vsock_diag, or because of a system call filter */
export function listVsockListeners(): readonly VsockListener[] | undefined {
  const { error, listeners } = (loadAddon() as Addon).vsockListeners();
  return error === 0 ? listeners : undefined;
}
