/** Resolves names by /etc/hosts and the DNS servers of /etc/resolv.conf, as libc does, but with their TTL. */
import { promises as dns } from 'node:dns';
import { promises as files } from 'node:fs';
import { type Hostname, type IpAddress, isLocalhost, parseIpAddress } from '../access/address.ts';
import { isDefinitive, resolveError } from './failure.ts';
import { createHostsFile } from './hosts-file.ts';
import { queryName } from './query.ts';
import { expandName, parseSearchList } from './resolvconf.ts';
import type { Answer, Family, Resolver } from './resolver.ts';

/** For tests; the defaults are those of the system. */
export interface SystemResolverOptions {
  readonly hostsPath?: string;
  /** Only the search list is read from this file; c-ares reads the servers from /etc/resolv.conf. */
  readonly resolvConfPath?: string;
  /** `ip:port` of servers that replace those of the system. */
  readonly servers?: readonly string[];
  /** How long one look-up may take altogether. */
  readonly deadlineMs?: number;
}

/** Local names have no TTL. A change is noticed after this time. */
const LOCAL_TTL_MS = 30_000;
const DEADLINE_MS = 5000;

export function createSystemResolver(options: SystemResolverOptions = {}): Resolver {
  const lookUpHosts = createHostsFile(options.hostsPath ?? '/etc/hosts');
  return {
    async resolve(name, family, signal) {
      const listed = ofFamily(await lookUpHosts(name), family);
      signal.throwIfAborted();
      if (listed.length > 0) return { addresses: listed, ttlMs: LOCAL_TTL_MS, source: 'hosts' };
      if (isLocalhost(name)) return { addresses: ofFamily(LOOPBACK, family), ttlMs: LOCAL_TTL_MS, source: 'localhost' };
      return askServers(name, family, signal, options);
    },
  };
}

async function askServers(
  name: Hostname,
  family: Family,
  signal: AbortSignal,
  { resolvConfPath = '/etc/resolv.conf', servers, deadlineMs = DEADLINE_MS }: SystemResolverOptions,
): Promise<Answer> {
  // A channel reads resolv.conf when it is made, and can only be cancelled as a whole. So there is one for each
  // look-up.
  const channel = new dns.Resolver({ timeout: deadlineMs * 0.4, tries: 2 });
  if (servers !== undefined) channel.setServers(servers);
  const cancel = () => channel.cancel();
  signal.addEventListener('abort', cancel);
  const deadline = setTimeout(cancel, deadlineMs);
  try {
    const searchList = parseSearchList(await files.readFile(resolvConfPath, 'utf8').catch(() => ''));
    let code = 'ENOTFOUND';
    for (const candidate of expandName(name, searchList)) {
      signal.throwIfAborted();
      const outcome = await queryName(channel, candidate, family);
      if (!('code' in outcome)) return outcome;
      if (outcome.code !== 'ENOTFOUND') code = outcome.code;
      // After a failure, the next name of the list might be a different name than the intended one.
      if (!isDefinitive(outcome.code)) break;
    }
    const onlyFamily = code === 'ENODATA' ? await otherFamilyOf(channel, name, family) : undefined;
    signal.throwIfAborted();
    throw resolveError(name, family, { code, servers: channel.getServers(), onlyFamily });
  } finally {
    clearTimeout(deadline);
    signal.removeEventListener('abort', cancel);
  }
}

/** The other family, if the name has addresses of it. */
async function otherFamilyOf(channel: dns.Resolver, name: Hostname, family: Family): Promise<4 | 6 | undefined> {
  if (family === 'any') return undefined;
  const outcome = await queryName(channel, name, family === 'ipv4' ? 'ipv6' : 'ipv4');
  return 'code' in outcome ? undefined : family === 'ipv4' ? 6 : 4;
}

const LOOPBACK = ['127.0.0.1', '::1'].map(parseIpAddress).filter((ip) => ip !== undefined);

function ofFamily(addresses: readonly IpAddress[], family: Family): readonly IpAddress[] {
  return [
    ...(family === 'ipv6' ? [] : addresses.filter((ip) => ip.family === 4)),
    ...(family === 'ipv4' ? [] : addresses.filter((ip) => ip.family === 6)),
  ];
}
