/** The upstream proxy of a file, with the credentials from their own file. */
import type { UpstreamProxy } from '../access/upstream-proxy.ts';
import { VsockProxyError } from '../platform/errors.ts';
import { escapeControls } from '../platform/escape.ts';
import type { SystemError } from '../platform/system/errors.ts';
import { closeSync, fstatSync, openSync, readSync } from '../platform/system/files.ts';
import type { LoadedFile, Refused } from './load.ts';
import { onAnyPort, rulesOf } from './rules.ts';

const MOST_BYTES = 4096;
/** Bits that the mode must not have: write and execute for the group, anything for others. */
const TOO_OPEN = 0o037;

/** @throws VsockProxyError `config` if the credentials cannot be read, or if too many users may read them */
export function upstreamProxyOf(file: LoadedFile): UpstreamProxy | undefined {
  const { upstream_proxy: proxy, upstream_proxy_credentials: path, no_proxy: exceptions } = file.settings;
  if (proxy === undefined) return undefined;
  const except = rulesOf(file, ['no_proxy'], exceptions?.map(onAnyPort));
  if (path === undefined) return { ...proxy, except };
  const credentials = readCredentials(path, file.placeOf(['upstream_proxy_credentials']));
  return { ...proxy, except, authorization: `Basic ${Buffer.from(credentials).toString('base64')}` };
}

/** The same file, or the problem with its credentials as one of the file. */
export function refuseCredentials<File extends LoadedFile>(file: File | Refused): File | Refused {
  if ('problems' in file) return file;
  try {
    upstreamProxyOf(file);
    return file;
  } catch (error) {
    if (error instanceof VsockProxyError && error.code === 'config') return { problems: [error], more: 0 };
    throw error;
  }
}

/** One line, `user:password`. */
function readCredentials(path: string, place: string): string {
  const wrong = (problem: string, hint: string) =>
    new VsockProxyError('config', `upstream_proxy_credentials: ${escapeControls(path)}: ${problem}`, { hint, place });
  let text: string;
  try {
    const descriptor = openSync(path, 'r');
    try {
      const stat = fstatSync(descriptor);
      if (!stat.isFile()) throw wrong('is not a regular file', 'name a file with one line, user:password');
      if ((stat.mode & TOO_OPEN) !== 0) {
        const mode = (stat.mode & 0o777).toString(8).padStart(4, '0');
        throw wrong(`its mode is ${mode}: too many may read or write it`, `chmod 0400 ${escapeControls(path)}`);
      }
      const buffer = Buffer.alloc(MOST_BYTES + 1);
      const length = readSync(descriptor, buffer);
      if (length > MOST_BYTES) throw wrong(`is larger than ${MOST_BYTES} bytes`, 'is it the right file?');
      text = buffer.toString('utf8', 0, length);
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    if (error instanceof VsockProxyError) throw error;
    const { code = 'EIO' } = error as SystemError;
    const hint =
      code === 'ENOENT'
        ? 'create it with one line, user:password, and mode 0400'
        : 'make it readable for the user that the proxy runs as, and for nobody else';
    throw wrong(`could not be read: ${code}`, hint);
  }
  const line = text.replace(/\r?\n$/, '');
  if (!/^[^:\p{Cc}\ufffd]+:[^\p{Cc}\ufffd]*$/u.test(line)) {
    throw wrong('is not one line of user:password', 'write the user, a colon and the password, in UTF-8');
  }
  return line;
}
