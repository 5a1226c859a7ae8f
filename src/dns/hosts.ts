/** The hosts file (hosts(5)), whose names take precedence over DNS. */
import { type Hostname, type IpAddress, parseHostname, parseIpAddress } from '../access/address.ts';

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
