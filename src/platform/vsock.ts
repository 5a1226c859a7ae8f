/** Well-known numbers of vsock addresses: see vsock(7) and linux/vm_sockets.h. */

/** VMADDR_CID_LOCAL: this machine, from itself. */
export const CID_LOCAL = 1;
/** The parent instance of Nitro Enclaves. */
export const CID_PARENT = 3;
/** VMADDR_CID_ANY: every CID of this machine. */
export const CID_ANY = 0xffff_ffff;

/** Whether clients of such an address may have a CID. A socket from systemd may be of any family. */
export function mayHaveCids({ family }: { readonly family: 'vsock' | 'tcp' | 'unix' | 'systemd' }): boolean {
  return family === 'vsock' || family === 'systemd';
}

/**
 * The sysctl that says whether this network namespace has a vsock of its own (`local`), which enclaves cannot reach, or
 * not (`global`). It exists from Linux 7.0 on, and is hidden by ProcSubset=pid.
 */
export const NAMESPACE_MODE = '/proc/sys/net/vsock/ns_mode';

/** VMADDR_PORT_ANY: the kernel chooses a free port when it is bound. */
export const PORT_ANY = 0xffff_ffff;
