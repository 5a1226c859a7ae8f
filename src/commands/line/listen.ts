/** The first argument: the address to listen on. */

import { parseTcp, parseUnix, refuseVsockPort } from '../../config/schema/addresses.ts';
import type { SocketAddress } from '../../dataplane/contract.ts';
import { VsockProxyError } from '../../platform/errors.ts';
import { quoteBriefly } from '../../platform/escape.ts';
import { type Malformed, malformed } from '../../platform/malformed.ts';
import { CID_ANY, CID_LOCAL } from '../../platform/vsock.ts';
import { parseUnsigned } from './number.ts';

/** Whether the argument is a vsock port, to which `--cid` applies. */
export function isVsockPort(text: string): boolean {
  return !text.startsWith('unix:') && !text.startsWith('tcp:');
}

/**
 * @param cid the local CID, if the text is a vsock port
 * @throws VsockProxyError `argument`: `Local port is not valid: …`
 */
export function parseListenAddress(text: string, cid: number): SocketAddress {
  const address = parseAddress(text, cid);
  if (!('problem' in address)) return address;
  throw new VsockProxyError('argument', `Local port is not valid: ${address.problem}`, { hint: address.hint });
}

function parseAddress(text: string, cid: number): SocketAddress | Malformed {
  if (text.startsWith('unix:')) return parseUnix(text.slice('unix:'.length));
  if (text.startsWith('tcp:')) return parseTcp(text.slice('tcp:'.length));
  const port = parseUnsigned(text);
  if (port === undefined) {
    return malformed(
      `${quoteBriefly(text)} is not a whole number`,
      'give a vsock port such as 8000, or unix:PATH or tcp:IP:PORT',
    );
  }
  const low = 'the first argument is the vsock port to listen on, such as 8000';
  return refuseVsockPort(port, text, low) ?? { family: 'vsock', cid, port };
}

/**
 * The value of `--cid`.
 * @throws VsockProxyError `usage`
 */
export function parseCid(text: string): number {
  if (text === 'any') return CID_ANY;
  if (text === 'local') return CID_LOCAL;
  const cid = parseUnsigned(text);
  if (cid !== undefined && cid <= CID_ANY) return cid;
  throw new VsockProxyError(
    'usage',
    `option '--cid' wants any, local or a number up to 4294967295, not ${quoteBriefly(text)}`,
  );
}
