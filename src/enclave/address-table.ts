/**
 * What is reached inside the enclave by an address: names, each by one of its own out of a range, and listed addresses by
 * themselves.
 *
 * An application connects to such an address, and by it the proxy knows what the application meant.
 */

import { type Hostname, type IpAddress, ipv4FromWord, type TargetHost } from '../access/address.ts';
import { type Cidr, constantCidr } from '../access/cidr.ts';

/** Addresses that are this machine's. */
export interface AddressRange {
  readonly cidr: Cidr;
  /** The first one for a name, and how many there are; many more than names are known at once. */
  readonly first: number;
  readonly count: number;
}

/**
 * Of networks for benchmarks (RFC 2544), which no real server has. Programs treat them as they treat others: those below
 * 127.0.0.0/8 are taken for this machine itself by some, who then leave the proxy aside for every port (Ruby's Net::HTTP).
 */
export const NAMES_RANGE: AddressRange = {
  cidr: constantCidr('198.18.0.1/15'),
  first: 0xc612_0002,
  count: 2 ** 17 - 3, // but the first two and the last, which is for broadcast
};

/** For where no address can be added to the loopback link: all of 127.0.0.0/8 is this machine's already. */
export const LOOPBACK_RANGE: AddressRange = {
  cidr: constantCidr('127.64.0.0/10'),
  first: 0x7f40_0001,
  count: 2 ** 22 - 1,
};

/** So many names are known at once; those used last. */
const CAPACITY = 16_384;

/**
 * A name keeps its address as long as it is known. Addresses are given out in a circle: that of a forgotten name leads
 * nowhere until all others have been given out, so that whoever still uses it never reaches another name.
 */
export class AddressTable {
  readonly #range: AddressRange;
  readonly #capacity: number;
  /** Those that stand for themselves. */
  readonly listed: readonly IpAddress[];
  readonly #listed: ReadonlyMap<string, IpAddress>;
  /** Last used last. */
  readonly #addresses = new Map<Hostname, IpAddress>();
  readonly #names = new Map<string, Hostname>();
  #given = 0;

  constructor(range: AddressRange, listed: readonly IpAddress[] = [], capacity = CAPACITY) {
    this.#range = range;
    this.listed = listed;
    this.#listed = new Map(listed.map((ip) => [ip.text, ip]));
    this.#capacity = capacity;
  }

  /** How many names are known. */
  get size(): number {
    return this.#addresses.size;
  }

  /** The address of this name, from now on. */
  addressOf(name: Hostname): IpAddress {
    const address = this.#addresses.get(name) ?? this.#assign(name);
    this.#touch(name, address);
    return address;
  }

  /** What this address stands for; undefined where it stands for nothing. */
  hostOf(ip: string): TargetHost | undefined {
    const listed = this.#listed.get(ip);
    if (listed !== undefined) return { kind: 'ip', ip: listed };
    const name = this.#names.get(ip);
    const address = name === undefined ? undefined : this.#addresses.get(name);
    if (name === undefined || address === undefined) return undefined;
    this.#touch(name, address);
    return { kind: 'name', name };
  }

  #touch(name: Hostname, address: IpAddress): void {
    this.#addresses.delete(name);
    this.#addresses.set(name, address);
  }

  #assign(name: Hostname): IpAddress {
    if (this.#addresses.size >= this.#capacity) this.#forgetOldest();
    const address = this.#nextFree();
    this.#names.set(address.text, name);
    return address;
  }

  #forgetOldest(): void {
    for (const [name, { text }] of this.#addresses) {
      this.#addresses.delete(name);
      this.#names.delete(text);
      return;
    }
  }

  #nextFree(): IpAddress {
    const { first, count } = this.#range;
    for (;;) {
      const address = ipv4FromWord(first + (this.#given++ % count));
      if (!this.#names.has(address.text) && !this.#listed.has(address.text)) return address;
    }
  }
}
