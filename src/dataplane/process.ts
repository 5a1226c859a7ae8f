/** Process calls that Node.js lacks, by functions of the addon that need no data plane: native/binding/process.h. */
import { VsockProxyError } from '../platform/errors.ts';
import { getSystemErrorName } from '../platform/system/errors.ts';
import { loadAddon } from './load.ts';
import type { PipeEnds } from './system.ts';

interface Addon {
  addLoopbackAddress(ip: string, prefixLength: number): number;
  bringUpLoopback(): { readonly call: string; readonly error: number };
  openPipe(): PipeEnds & { readonly error: number };
  unblockSignals(): void;
  reapOrphans(own: number): void;
  sendDatagram(path: string, text: string): number;
  sha256(bytes: Uint8Array): string;
}

/**
 * Sets the loopback link up, so that 127.0.0.0/8 can be used. It needs no privileges if the link is up already.
 * @throws VsockProxyError `argument`
 */
export function bringUpLoopback(): void {
  const { call, error } = (loadAddon() as Addon).bringUpLoopback();
  if (error === 0) return;
  const errno = getSystemErrorName(-error);
  throw new VsockProxyError('argument', `The loopback interface could not be brought up: ${call}: ${errno}`, {
    errno,
    hint: 'that takes root, or CAP_NET_ADMIN, in the network namespace of the enclave',
  });
}

/**
 * Gives the loopback link one more address, with its whole prefix. A listener at every address is then reachable at
 * each address of the prefix.
 * @returns the name of the errno if the address could not be added (`EPERM` without CAP_NET_ADMIN); undefined on
 * success
 */
export function addLoopbackAddress(ip: string, prefixLength: number): string | undefined {
  const error = (loadAddon() as Addon).addLoopbackAddress(ip, prefixLength);
  return error === 0 ? undefined : getSystemErrorName(-error);
}

/**
 * A pipe for the output of a child. `stdio: 'pipe'` is a pair of sockets, which cannot be opened by name: programs that
 * log to /dev/stdout fail with ENXIO.
 * @throws VsockProxyError `argument`
 */
export function openPipe(): PipeEnds {
  const { error, ...ends } = (loadAddon() as Addon).openPipe();
  if (error === 0) return ends;
  const errno = getSystemErrorName(-error);
  throw new VsockProxyError('argument', `No pipe could be opened for the output of the command: ${errno}`, { errno });
}

/**
 * Unblocks signals that Node.js blocks: SIGUSR1, if it must not open the inspector. Call it only when there is a
 * listener for them.
 */
export function unblockSignals(): void {
  (loadAddon() as Addon).unblockSignals();
}

/**
 * Reaps inherited children. Call it whenever a child has ended (SIGCHLD).
 * @param own the child that Node.js itself waits for
 */
export function reapOrphans(own: number): void {
  (loadAddon() as Addon).reapOrphans(own);
}

/**
 * Sends one datagram to a unix socket, which Node.js cannot do: unix(7). A path that begins with `@` is abstract.
 * @throws VsockProxyError `internal` with `errno`
 */
export function sendDatagram(path: string, text: string): void {
  const error = (loadAddon() as Addon).sendDatagram(path, text);
  if (error === 0) return;
  const errno = getSystemErrorName(-error);
  throw new VsockProxyError('internal', `Could not send a datagram to ${path}: ${errno}`, { errno });
}

/** The digest in hexadecimal. Node.js has one, too, but it loads bindings of all of OpenSSL: a megabyte for good. */
export function sha256(bytes: Uint8Array): string {
  return (loadAddon() as Addon).sha256(bytes);
}
