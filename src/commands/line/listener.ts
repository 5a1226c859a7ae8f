/** The option `--listener`. */
import { formatListen, parseListen, parseUnix } from '../../config/schema/addresses.ts';
import { VsockProxyError } from '../../platform/errors.ts';

/**
 * The address of the listener, in the one form that `status` has.
 * @throws VsockProxyError `usage`
 */
export function parseListener(text: string): string {
  // The drop-in form also listens at relative paths.
  const address = text.startsWith('unix:') ? parseUnix(text.slice('unix:'.length)) : parseListen(text);
  if (!('problem' in address)) return formatListen(address);
  throw new VsockProxyError('usage', `option '--listener': ${address.problem}`, { hint: address.hint });
}

/** @param owner who does not have a listener at this address, but at the known ones */
export function noSuchListener(address: string, owner: string, known: readonly string[]): VsockProxyError {
  return new VsockProxyError('usage', `no listener of ${owner} is at ${address}`, {
    hint: known.length === 0 ? 'it has none' : `it has ${known.slice(0, 10).join(', ')}`,
  });
}
