/** The data plane of this program itself. */
import { VsockProxyError } from '../errors.ts';
import './host.ts';

export function loadAddon(): unknown {
  return host;
}

/** There is one only. */
export function loadCopy(): never {
  throw new VsockProxyError('internal', 'The data plane runs already');
}
