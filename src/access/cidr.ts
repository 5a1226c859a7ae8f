/** Ranges of IP addresses. */
import { quoteBriefly } from '../platform/escape.ts';
import { type Malformed, malformed } from '../platform/malformed.ts';
import { type IpAddress, ipv4FromWord, parseIpAddress } from './address.ts';

/** All addresses of one family whose first `prefixLength` bits are those of `network`. */
export interface Cidr {
  readonly network: IpAddress;
  readonly prefixLength: number;
}

/**
 * Parses `10.0.0.0/8` or `2001:db8::/32`. Bits after the prefix are ignored. A range of IPv4-mapped addresses is a
 * range of IPv4 addresses: `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
 */
export function parseCidr(text: string): Cidr | Malformed {
  const [, address = '', prefix] = /^([^/]*)\/(\d{1,3})$/.exec(text) ?? [];
  const network = parseIpAddress(address);
  const prefixLength = Number(prefix) - (network?.family === 4 && address.includes(':') ? 96 : 0);
  if (network === undefined || prefixLength < 0 || prefixLength > network.words.length * 32) {
    return malformed(`${quoteBriefly(text)} is not a range of addresses`, 'write it like 10.0.0.0/8 or 2001:db8::/32');
  }
  return { network, prefixLength };
}

/** The range of this address only. */
export function cidrOf(ip: IpAddress): Cidr {
  return { network: ip, prefixLength: ip.words.length * 32 };
}

export function cidrCovers({ network, prefixLength }: Cidr, ip: IpAddress): boolean {
  if (network.family !== ip.family) return false;
  for (let index = 0, left = prefixLength; left > 0; index++, left -= 32) {
    const ours = network.words[index] ?? 0;
    const theirs = ip.words[index] ?? 0;
    if ((ours ^ theirs) >>> Math.max(0, 32 - left) !== 0) return false;
  }
  return true;
}

/**
 * The IPv4 address that an IPv6 address may lead to: in `::/96` (RFC 4291), NAT64 `64:ff9b::/96` (RFC 6052) and 6to4
 * `2002::/16` (RFC 3056). IPv4-mapped addresses (`::ffff:0:0/96`) are already parsed as IPv4.
 */
export function embeddedIpv4(ip: IpAddress): IpAddress | undefined {
  const [first = 0, second = 0, , last = 0] = ip.words;
  if (cidrCovers(SIX_TO_FOUR, ip)) return ipv4FromWord((first << 16) | (second >>> 16));
  return LAST_WORD.some((cidr) => cidrCovers(cidr, ip)) ? ipv4FromWord(last) : undefined;
}

const SIX_TO_FOUR = constantCidr('2002::/16');
const LAST_WORD = [constantCidr('::/96'), constantCidr('64:ff9b::/96')];

/** For ranges that are constants in the source. */
export function constantCidr(text: string): Cidr {
  const cidr = parseCidr(text);
  if ('problem' in cidr) throw new TypeError(cidr.problem);
  return cidr;
}
