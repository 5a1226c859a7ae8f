/** A file of variables for `EnvironmentFile=` of systemd: systemd.exec(5). */
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { getSystemErrorMessage } from 'node:util';
import { VsockProxyError } from './errors.ts';
import { escapeControls } from './escape.ts';
import { WRITE_HINTS } from './whole-file.ts';

/** Readable for the service manager, which runs as root. */
const MODE = 0o600;

/** Values that need no quotes. (The program itself chooses the names.) */
const PLAIN = /^[\w.:-]*$/;

/**
 * Writes the file atomically, or leaves the old one. A link at its path is replaced, not followed.
 * @throws VsockProxyError `argument`
 */
export function writeEnvironmentFile(path: string, variables: Readonly<Record<string, string>>): void {
  const text = Object.entries(variables).map(([name, value]) => `${name}=${plain(value)}\n`);
  const unfinished = `${path}.${randomBytes(8).toString('hex')}`;
  try {
    const descriptor = openSync(unfinished, 'wx', MODE);
    try {
      writeFileSync(descriptor, text.join(''));
    } finally {
      closeSync(descriptor);
    }
    renameSync(unfinished, path);
  } catch (error) {
    rmSync(unfinished, { force: true });
    throw describe(path, error);
  }
}

function plain(value: string): string {
  if (PLAIN.test(value)) return value;
  throw new VsockProxyError('internal', 'a value for an environment file would need quotes');
}

const HINTS: Readonly<Record<string, string>> = {
  ...WRITE_HINTS,
  ENOENT: 'make its directory first: RuntimeDirectory= of a systemd unit does',
  EROFS: 'name a file below /run',
};

function describe(path: string, error: unknown): VsockProxyError {
  const { code = 'EIO', errno = 0 } = error as NodeJS.ErrnoException;
  const hint = HINTS[code];
  return new VsockProxyError(
    'argument',
    `Environment file could not be written: ${code}, ${getSystemErrorMessage(errno)} (${escapeControls(path)})`,
    { errno: code, ...(hint === undefined ? {} : { hint }) },
  );
}
