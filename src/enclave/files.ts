/** Completes /etc/hosts and /etc/resolv.conf of the enclave. */
import type { Hostname, IpAddress } from '../access/address.ts';
import { parseHosts } from '../dns/hosts.ts';
import { VsockProxyError } from '../platform/errors.ts';
import { escapeControls } from '../platform/escape.ts';
import { getSystemErrorMessage, type SystemError } from '../platform/system/errors.ts';
import { readFileSync, writeFileSync } from '../platform/system/files.ts';
import { replaceFile } from '../platform/whole-file.ts';

/** A name and its address. */
export interface HostsEntry {
  readonly name: Hostname;
  readonly ip: IpAddress;
}

/** A hosts file (hosts(5)) with these names. New lines go first, because the first line of a name counts. */
export function withHosts(text: string, hosts: readonly HostsEntry[]): string {
  const table = parseHosts(text);
  const missing = hosts.filter(({ name, ip }) => {
    const ofFamily = table.get(name)?.filter(({ family }) => family === ip.family) ?? [];
    return ofFamily[0]?.text !== ip.text;
  });
  return missing.map(({ name, ip }) => `${ip.text}\t${name}\n`).join('') + text;
}

/**
 * A hosts file that has the machine's own name: it resolves to 127.0.0.1 unless the file says otherwise. Programs that
 * look up their own address need that, whatever the name is. In an enclave it is often `(none)`, which is not a valid
 * name in DNS.
 */
export function withOwnName(text: string, hostName: string): string {
  if (!/^[^\s#]+$/.test(hostName)) return text;
  const isThere = text.split('\n').some((line) => {
    const [, ...names] = line.replace(/#.*/, '').trim().toLowerCase().split(/\s+/);
    return names.includes(hostName.toLowerCase());
  });
  return isThere ? text : `127.0.0.1\t${hostName}\n${text}`;
}

export interface ResolverSettings {
  readonly server: string;
  readonly search: readonly string[];
  readonly hostName: string;
}

/** A resolv.conf(5) with only this server and search list. Its other lines stay. */
export function withResolver(text: string, { server, search, hostName }: ResolverSettings): string {
  // Without a list, libc makes one from the domain of the host name. With the root domain as the list, there is none.
  const domains = search.length === 0 && hostName.includes('.') ? ['.'] : search;
  const own = [`nameserver ${server}`, ...(domains.length === 0 ? [] : [`search ${domains.join(' ')}`])];
  return [...own, ...text.split('\n').filter((line) => !/^\s*(nameserver|search|domain)\b/.test(line))].join('\n');
}

/**
 * Changes a file, which may be missing, atomically, and only if its text changes.
 * @throws VsockProxyError `argument`
 */
export function changeFile(path: string, change: (text: string) => string): void {
  try {
    const before = readIfThere(path);
    const after = change(before ?? '');
    if (after !== before) writeWhole(path, after);
  } catch (error) {
    throw describe(path, error);
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined; // also a dangling link, which is replaced
    throw error;
  }
}

const IN_PLACE = ['EBUSY', 'EROFS', 'EACCES'];

function writeWhole(path: string, text: string): void {
  try {
    replaceFile(path, text); // readable for all, because every user resolves names
  } catch (error) {
    // Container engines mount this file, perhaps over a read-only directory. A mounted file can be written but not
    // replaced. The same holds for the target of a link out of a directory in which no file can be created.
    if (!IN_PLACE.includes(codeOf(error))) throw error;
    writeFileSync(path, text);
  }
}

const HINTS: Readonly<Record<string, string>> = {
  EACCES: 'inside an enclave this program runs as root, which may write it',
  EROFS: 'the root file system of the enclave must be writable at its start, as that of an EIF is',
  ENOENT: 'the image has no directory /etc',
};

function describe(path: string, error: unknown): VsockProxyError {
  const { errno = 0 } = error as SystemError;
  const code = codeOf(error);
  const hint = HINTS[code];
  const reason = `${code}, ${getSystemErrorMessage(errno)}`;
  return new VsockProxyError('argument', `${escapeControls(path)} could not be written: ${reason}`, {
    errno: code,
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  });
}

function codeOf(error: unknown): string {
  return (error as SystemError).code ?? 'EIO';
}
