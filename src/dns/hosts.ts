/** The hosts file (hosts(5)), whose names take precedence over DNS. */
import { promises as files } from 'node:fs';
import { type Hostname, type IpAddress, parseHostname, parseIpAddress } from '../access/address.ts';
import { VsockProxyError } from '../platform/errors.ts';

export type HostsTable = ReadonlyMap<Hostname, readonly IpAddress[]>;

/** All addresses of each name, in the order of the lines. Malformed lines are ignored, as in libc. */
export function parseHosts(text: string): HostsTable {
  const table = new Map<Hostname, IpAddress[]>();
  for (const line of text.split('\n')) {
    const [address = '', ...names] = line.replace(/#.*/, '').trim().split(/\s+/);
    const ip = parseIpAddress(address);
    if (ip === undefined) continue;
    for (const written of names) {
      const name = parseHostname(written);
      if (typeof name === 'string') table.set(name, [...(table.get(name) ?? []), ip]);
    }
  }
  return table;
}

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
