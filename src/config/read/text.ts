/** Reads the text of the configuration file. */
import { type ErrorDetails, VsockProxyError } from '../../platform/errors.ts';
import { escapeControls } from '../../platform/escape.ts';
import { getSystemErrorMessage, type SystemError } from '../../platform/system/errors.ts';
import { closeSync, openSync, readSync } from '../../platform/system/files.ts';

/** Enough for more than 100,000 entries. */
const MAX_BYTES = 8 * 1024 * 1024;
/** Holds most files; doubled as often as it takes. */
const FIRST_BYTES = 16 * 1024;

/** What to do about an errno. */
export type FileHints = Readonly<Record<string, string>>;

const CONFIG_HINTS: FileHints = {
  ENOENT: 'create it, or name another file with --config',
  EACCES: 'make it and its directories readable for the user that the proxy runs as',
  EISDIR: 'name a file with --config, not a directory',
};

/**
 * @param hints for a file other than the configuration
 * @throws VsockProxyError `config`: `Could not open the file: …`, `Could not read the file: …`
 */
export function readText(path: string, hints = CONFIG_HINTS): string {
  const bytes = readBytes(path, hints);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw unreadable('Could not read the file: it is not UTF-8 text', path, 'save it as UTF-8');
  }
}

/** Reads the whole file, which may also be a pipe such as `/dev/stdin`. */
function readBytes(path: string, hints: FileHints): Buffer {
  const attempt = <T>(what: string, action: () => T): T => {
    try {
      return action();
    } catch (error) {
      const { code = 'EIO', errno = 0 } = error as SystemError;
      throw unreadable(`${what}: ${code}: ${getSystemErrorMessage(errno)}`, path, hints[code]);
    }
  };
  const descriptor = attempt('Could not open the file', () => openSync(path, 'r'));
  try {
    let buffer = Buffer.allocUnsafe(FIRST_BYTES);
    for (let length = 0; length <= MAX_BYTES; ) {
      if (length === buffer.length) buffer = Buffer.concat([buffer, Buffer.allocUnsafe(length)]);
      const count = attempt('Could not read the file', () => readSync(descriptor, buffer, { offset: length }));
      if (count === 0) return buffer.subarray(0, length);
      length += count;
    }
  } finally {
    closeSync(descriptor);
  }
  const problem = `Could not read the file: it is larger than ${MAX_BYTES} bytes`;
  throw unreadable(problem, path, 'is it the right file?');
}

function unreadable(message: string, path: string, hint: string | undefined): VsockProxyError {
  const details: ErrorDetails = { place: escapeControls(path), ...(hint === undefined ? {} : { hint }) };
  return new VsockProxyError('config', message, details);
}
