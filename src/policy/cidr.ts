/** Ranges of IP addresses. */

import { quoteBriefly } from '../escape.ts';
import { type IpAddress, ipv4FromBits, type Malformed, parseIpAddress } from './address.ts';

/** All addresses of one family whose first `prefixLength` bits are those of `network`. */
export interface Cidr {
  readonly network: IpAddress;
  readonly prefixLength: number;
}

/** `10.0.0.0/8`, `2001:db8::/32`. Bits after the prefix may be set; they do not count. */
export function parseCidr(text: string): Cidr | Malformed {
  const [, address, prefix] = /^([^/]*)\/(\d{1,3})$/.exec(text) ?? [];
  const network = address === undefined ? undefined : parseIpAddress(address);
  const prefixLength = Number(prefix);
  if (network === undefined || prefixLength > bitsOf(network)) {
    return {
      kind: 'malformed',
      problem: `${quoteBriefly(text)} is not a range of addresses`,
      hint: 'write it like 10.0.0.0/8 or 2001:db8::/32',
    };
  }
  return { network, prefixLength };
}

export function cidrCovers(cidr: Cidr, ip: IpAddress): boolean {
  if (cidr.network.family !== ip.family) return false;
  const hostBits = BigInt(bitsOf(ip) - cidr.prefixLength);
  return toBits(cidr.network) >> hostBits === toBits(ip) >> hostBits;
}

/**
 * The IPv4 addresses that an IPv6 address may stand for on its way: `::/96` (RFC 4291), NAT64 `64:ff9b::/96`
 * (RFC 6052) and 6to4 `2002::/16` (RFC 3056). Mapped ones (`::ffff:0:0/96`) are IPv4 addresses already.
 */
export function embeddedIpv4(ip: IpAddress): IpAddress | undefined {
  for (const { cidr, shift } of EMBEDDING) {
    if (cidrCovers(cidr, ip)) return ipv4FromBits((toBits(ip) >> shift) & 0xffff_ffffn);
  }
  return undefined;
}

const EMBEDDING = [
  { cidr: constantCidr('::/96'), shift: 0n },
  { cidr: constantCidr('64:ff9b::/96'), shift: 0n },
  { cidr: constantCidr('2002::/16'), shift: 80n },
];

/** For ranges written in the source. */
export function constantCidr(text: string): Cidr {
  const cidr = parseCidr(text);
  if ('problem' in cidr) throw new TypeError(cidr.problem);
  return cidr;
}

function bitsOf(ip: IpAddress): 32 | 128 {
  return ip.family === 4 ? 32 : 128;
}

function toBits(ip: IpAddress): bigint {
  if (ip.family === 4) return ip.text.split('.').reduce((bits, part) => (bits << 8n) | BigInt(part), 0n);
  const [head = [], tail = []] = ip.text.split('::').map((half) => (half === '' ? [] : half.split(':')));
  const zeros = Array<string>(8 - head.length - tail.length).fill('0');
  return [...head, ...zeros, ...tail].reduce((bits, group) => (bits << 16n) | BigInt(`0x${group}`), 0n);
}
