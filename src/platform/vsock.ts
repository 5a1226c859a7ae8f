/** Well-known numbers of vsock addresses: see vsock(7) and linux/vm_sockets.h. */

/** VMADDR_CID_LOCAL: this machine, from itself. */
export const CID_LOCAL = 1;
/** The parent instance, as Nitro Enclaves call it. */
export const CID_PARENT = 3;
/** VMADDR_CID_ANY: every CID that this machine has. */
export const CID_ANY = 0xffff_ffff;

/** Whether clients on such an address may have a CID; what systemd passes may be a socket of any family. */
export function mayHaveCids({ family }: { readonly family: 'vsock' | 'tcp' | 'unix' | 'systemd' }): boolean {
  return family === 'vsock' || family === 'systemd';
}

/**
 * The sysctl that says whether vsock of this network namespace is its own, `local`, and enclaves are never met there, or
 * `global`. Linux 7.0 and newer; hidden where ProcSubset=pid is in force.
 */
export const NAMESPACE_MODE = '/proc/sys/net/vsock/ns_mode';

/** VMADDR_PORT_ANY: bound to, the kernel picks some free port. */
export const PORT_ANY = 0xffff_ffff;
