/** The first argument: where to listen. */
import { isIP } from 'node:net';
import type { SocketAddress } from '../dataplane/contract.ts';
import { VsockProxyError } from '../errors.ts';
import { quoteBriefly } from '../escape.ts';
import { parseTcpPort } from '../policy/address.ts';
import { CID_ANY, CID_LOCAL, PORT_ANY } from '../vsock.ts';
import { parseUnsigned } from './number.ts';

/** Lower ones are not for services, and who gives one has most likely put a CID in the port's place. */
const LOWEST_PORT = 4;
/** sizeof(sockaddr_un.sun_path) less the terminating NUL: unix(7). */
const LONGEST_PATH_BYTES = 107;

const FORMS = 'give a vsock port such as 8000, or unix:PATH or tcp:IP:PORT';

/** Whether the argument asks for a vsock port, which `--cid` goes with. */
export function isVsockPort(text: string): boolean {
  return !text.startsWith('unix:') && !text.startsWith('tcp:');
}

/**
 * @param cid of the local end, where the text is a vsock port
 * @throws VsockProxyError `argument`: `Local port is not valid: …`
 */
export function parseListenAddress(text: string, cid: number): SocketAddress {
  if (text.startsWith('unix:')) return parseUnix(text.slice('unix:'.length));
  if (text.startsWith('tcp:')) return parseTcp(text.slice('tcp:'.length), text);

  const port = parseUnsigned(text);
  if (port === undefined) throw invalid(`${quoteBriefly(text)} is not a whole number`, FORMS);
  if (port > PORT_ANY) throw invalid(`${quoteBriefly(text)} is outside 4–4294967294`, 'vsock ports are 32-bit');
  if (port === PORT_ANY) {
    throw invalid(`${port} means any port to the kernel`, 'choose a fixed port, which clients can know, such as 8000');
  }
  if (port < LOWEST_PORT) {
    throw invalid(`${port} is outside 4–4294967294`, 'the first argument is the vsock port to listen on, such as 8000');
  }
  return { family: 'vsock', cid, port };
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

function parseUnix(path: string): SocketAddress {
  const bytes = Buffer.byteLength(path);
  if (bytes === 0) throw invalid('no path after unix:', FORMS);
  if (bytes > LONGEST_PATH_BYTES) {
    throw invalid(`the path of ${bytes} bytes after unix: is longer than ${LONGEST_PATH_BYTES}`, 'use a shorter path');
  }
  return { family: 'unix', path };
}

function parseTcp(ipAndPort: string, text: string): SocketAddress {
  const {
    bracketed,
    plain,
    port: digits = '',
  } = /^(?:\[(?<bracketed>[^[\]]*)\]|(?<plain>[^:[\]]*)):(?<port>[^:]*)$/.exec(ipAndPort)?.groups ?? {};
  const ip = bracketed ?? plain ?? '';
  if (isIP(ip) !== (bracketed === undefined ? 4 : 6) || ip.includes('%')) {
    throw invalid(`${quoteBriefly(text)} has no IP address`, 'write tcp:127.0.0.1:8000 or tcp:[::1]:8000');
  }
  const port = parseTcpPort(digits);
  if (port === undefined) {
    throw invalid(`${quoteBriefly(text)} has no port from 1 to 65535`, 'write tcp:127.0.0.1:8000 or tcp:[::1]:8000');
  }
  return { family: 'tcp', ip, port };
}

function invalid(problem: string, hint: string): VsockProxyError {
  return new VsockProxyError('argument', `Local port is not valid: ${problem}`, { hint });
}
