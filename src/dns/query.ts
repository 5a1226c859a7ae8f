/** Resolves one name by the DNS servers, through c-ares. */
import type { promises as dns } from 'node:dns';
import { type Hostname, parseIpAddress } from '../access/address.ts';
import { isDefinitive } from './failure.ts';
import type { Answer, Family } from './resolver.ts';

/** The c-ares code that best says why there is no answer. */
export interface NoAnswer {
  readonly code: string;
}

/** How long the second family may take once the first has answered (RFC 8305 section 3 suggests even less). */
const SECOND_FAMILY_MS = 1000;

/**
 * The most addresses of one family. Nobody tries more, and the DNS servers of a listed name could fill the memory with
 * them.
 */
export const MAX_ADDRESSES = 64;

/** Queries both families at the same time. The failure of one does not affect the other. */
export async function queryName(channel: dns.Resolver, name: Hostname, family: Family): Promise<Answer | NoAnswer> {
  if (family !== 'any') return queryFamily(channel, name, family === 'ipv4' ? 4 : 6);
  const impatience: NodeJS.Timeout[] = [];
  const query = async (each: 4 | 6) => {
    const outcome = await queryFamily(channel, name, each);
    if (!('code' in outcome)) impatience.push(setTimeout(() => channel.cancel(), SECOND_FAMILY_MS));
    return outcome;
  };
  const [four, six] = await Promise.all([query(4), query(6)]);
  impatience.forEach(clearTimeout);
  if (!('code' in four)) return 'code' in six ? withoutFamily(four, 6, six.code) : both(four, six);
  if (!('code' in six)) return withoutFamily(six, 4, four.code);
  // A name that does not exist has no address of either family. Otherwise the code of the server that failed counts,
  // because it might have had addresses.
  const codes = [four.code, six.code];
  const code = codes.includes('ENOTFOUND') ? 'ENOTFOUND' : codes.find((each) => !isDefinitive(each));
  return { code: code ?? 'ENODATA' };
}

function both(four: Answer, six: Answer): Answer {
  const addresses = [...four.addresses, ...six.addresses];
  return { addresses, ttlMs: Math.min(four.ttlMs, six.ttlMs), source: 'dns' };
}

function withoutFamily(answer: Answer, missing: 4 | 6, code: string): Answer {
  return isDefinitive(code) ? answer : { ...answer, incomplete: { missing, code } };
}

async function queryFamily(channel: dns.Resolver, name: Hostname, family: 4 | 6): Promise<Answer | NoAnswer> {
  try {
    const records = await (family === 4
      ? channel.resolve4(name, { ttl: true })
      : channel.resolve6(name, { ttl: true }));
    const found = records.map(({ address }) => parseIpAddress(address)).filter((ip) => ip !== undefined);
    // An AAAA record may hold an IPv4-mapped address, which is not of this family.
    const ofFamily = new Map(found.filter((ip) => ip.family === family).map((ip) => [ip.text, ip]));
    const addresses = [...ofFamily.values()].slice(0, MAX_ADDRESSES);
    if (addresses.length === 0) return { code: 'ENODATA' };
    return { addresses, ttlMs: Math.min(...records.map(({ ttl }) => ttl)) * 1000, source: 'dns' };
  } catch (error) {
    const { code = 'EBADRESP' } = error as NodeJS.ErrnoException;
    // Queries are cancelled here only by a timeout.
    return { code: code === 'ECANCELLED' ? 'ETIMEOUT' : code };
  }
}
