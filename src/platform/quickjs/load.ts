/** The data plane in this program itself. */
import { VsockProxyError } from '../errors.ts';
import './host.ts';

export function loadAddon(): unknown {
  return host;
}

/** There is only one. */
export function loadCopy(): never {
  throw new VsockProxyError('internal', 'The data plane runs already');
}
