/** One name, asked of the DNS servers through c-ares. */
import type { promises as dns } from 'node:dns';
import { type Hostname, type IpAddress, parseIpAddress } from '../policy/address.ts';
import { isDefinitive } from './failure.ts';
import type { Family } from './resolver.ts';

/** Addresses of at least one family; or the code that says best why there are none. */
export type Outcome =
  | {
      readonly kind: 'found';
      readonly addresses: readonly IpAddress[];
      readonly ttlMs: number;
      readonly incomplete?: { readonly missing: 4 | 6; readonly code: string };
    }
  | { readonly kind: 'failed'; readonly code: string };

/** How long the second family may take once the first has answered (RFC 8305 section 3 suggests even less). */
const SECOND_FAMILY_MS = 1000;

/** Asks for the families at the same time; one that fails does not spoil the other. */
export async function queryName(channel: dns.Resolver, name: Hostname, family: Family): Promise<Outcome> {
  if (family !== 'any') return queryFamily(channel, name, family === 'ipv4' ? 4 : 6);
  const impatience: NodeJS.Timeout[] = [];
  const ask = async (each: 4 | 6) => {
    const outcome = await queryFamily(channel, name, each);
    if (outcome.kind === 'found') impatience.push(setTimeout(() => channel.cancel(), SECOND_FAMILY_MS));
    return outcome;
  };
  const [four, six] = await Promise.all([ask(4), ask(6)]);
  impatience.forEach(clearTimeout);
  if (four.kind === 'found') return six.kind === 'found' ? both(four, six) : withoutFamily(four, 6, six.code);
  if (six.kind === 'found') return withoutFamily(six, 4, four.code);
  // That the name does not exist holds for both families; else, a server that failed might have had addresses to tell.
  const codes = [four.code, six.code];
  const code = codes.includes('ENOTFOUND') ? 'ENOTFOUND' : codes.find((each) => !isDefinitive(each));
  return { kind: 'failed', code: code ?? 'ENODATA' };
}

type Found = Extract<Outcome, { kind: 'found' }>;
type Failed = Extract<Outcome, { kind: 'failed' }>;

function both(four: Found, six: Found): Found {
  return {
    kind: 'found',
    addresses: [...four.addresses, ...six.addresses],
    ttlMs: Math.min(four.ttlMs, six.ttlMs),
  };
}

function withoutFamily(found: Found, missing: 4 | 6, code: string): Found {
  return isDefinitive(code) ? found : { ...found, incomplete: { missing, code } };
}

async function queryFamily(channel: dns.Resolver, name: Hostname, family: 4 | 6): Promise<Found | Failed> {
  try {
    const records = await (family === 4
      ? channel.resolve4(name, { ttl: true })
      : channel.resolve6(name, { ttl: true }));
    const unique = new Map(records.map(({ address }) => [address, parseIpAddress(address)]));
    return {
      kind: 'found',
      addresses: [...unique.values()].filter((ip) => ip !== undefined),
      ttlMs: Math.min(...records.map(({ ttl }) => ttl)) * 1000,
    };
  } catch (error) {
    const { code = 'EBADRESP' } = error as NodeJS.ErrnoException;
    // Whoever cancels queries here has lost patience.
    return { kind: 'failed', code: code === 'ECANCELLED' ? 'ETIMEOUT' : code };
  }
}
