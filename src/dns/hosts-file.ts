/** The hosts file as it is now. */
import { promises as files } from 'node:fs';
import type { Hostname, IpAddress } from '../access/address.ts';
import { VsockProxyError } from '../platform/errors.ts';
import { type HostsTable, parseHosts } from './hosts.ts';

/**
 * Looks up names in the file at `path`, and reads the file again when it has changed.
 *
 * A file that is missing or not permitted counts as empty, as in libc. If reading fails for lack of a resource (EMFILE,
 * EIO), the look-up is rejected with VsockProxyError `resolve-failed`: the file might have the name, so no DNS server
 * may be queried instead.
 */
export function createHostsFile(path: string): (name: Hostname) => Promise<readonly IpAddress[]> {
  let version = '';
  let table: HostsTable = new Map();
  return async (name) => {
    const current = await versionOf(path);
    if (current !== version) {
      table = parseHosts(await files.readFile(path, 'utf8').catch((error: unknown) => orNothing(error, path)));
      version = current;
    }
    return table.get(name) ?? [];
  };
}

const MAY_NOT_BE_READ = ['ENOENT', 'ENOTDIR', 'EISDIR', 'ELOOP', 'EACCES', 'EPERM'];

function orNothing(error: unknown, path: string): string {
  const { code = 'EIO' } = error as NodeJS.ErrnoException;
  if (MAY_NOT_BE_READ.includes(code)) return '';
  throw new VsockProxyError('resolve-failed', `Could not read ${path}: ${code}`, { errno: code, cause: error });
}

async function versionOf(path: string): Promise<string> {
  const found = await files.stat(path, { bigint: true }).catch(() => undefined);
  return found === undefined ? 'none' : `${found.dev} ${found.ino} ${found.size} ${found.mtimeNs}`;
}
