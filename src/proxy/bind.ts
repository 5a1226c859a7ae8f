/** Explains why a listener could not be bound, with a hint. AWS's proxy does neither. */
import type { DataPlane, Listening, ListenSpec, SocketAddress } from '../dataplane/contract.ts';
import type { ActivatedSocket } from '../plan.ts';
import { VsockProxyError } from '../platform/errors.ts';
import { bindHint } from './bind-hint.ts';
import { describeErrno } from './report/errno.ts';
import { formatAddress } from './report/format.ts';

/**
 * @param on the address as it is written, which says more than a descriptor
 * @throws VsockProxyError `listen-failed`: `Could not bind to cid: 3 port: 8000: EADDRINUSE: …`, with a hint
 */
export function bind(dataPlane: DataPlane, spec: ListenSpec, on: SocketAddress | ActivatedSocket): Listening {
  try {
    return dataPlane.listen(spec);
  } catch (error) {
    if (!(error instanceof VsockProxyError) || error.code !== 'listen-failed') throw error;
    const { errno } = error;
    const reason = errno === undefined ? error.message : describeErrno(errno);
    const hint = errno === undefined ? undefined : bindHint(errno, on);
    throw new VsockProxyError('listen-failed', `Could not bind to ${formatAddress(on)}: ${reason}`, {
      ...(errno === undefined ? {} : { errno }),
      ...(hint === undefined ? {} : { hint }),
      cause: error,
    });
  }
}
