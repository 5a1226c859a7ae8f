/**
 * The addresses of targets inside the enclave. Each name has an address of its own out of a range. A listed address
 * stands for itself.
 *
 * An application connects to such an address, and from it the proxy knows the target.
 */

import { type Hostname, type IpAddress, ipv4FromWord, type TargetHost } from '../access/address.ts';
import { type Cidr, constantCidr } from '../access/cidr.ts';

/** Addresses of this machine. */
export interface AddressRange {
  readonly cidr: Cidr;
  /** The first address for names, and their number. There are many more than names in the table. */
  readonly first: number;
  readonly count: number;
}

/**
 * A range for benchmarks (RFC 2544), which no real server has. Programs treat its addresses as they treat others. Some
 * programs take 127.0.0.0/8 for this machine itself, and then do not use the proxy for any port (Ruby's Net::HTTP).
 */
export const NAMES_RANGE: AddressRange = {
  cidr: constantCidr('198.18.0.1/15'),
  first: 0xc612_0002,
  count: 2 ** 17 - 3, // without the first two, and the last, which is for broadcast
};

/**
 * For machines where no address can be added to the loopback link. All of 127.0.0.0/8 belongs to the machine already.
 */
export const LOOPBACK_RANGE: AddressRange = {
  cidr: constantCidr('127.64.0.0/10'),
  first: 0x7f40_0001,
  count: 2 ** 22 - 1,
};

/** The table holds this many names, those that were used last. */
const CAPACITY = 16_384;

/**
 * A name keeps its address while it is in the table. Addresses are given out in a circle. The address of a forgotten
 * name leads nowhere until all others have been given out, so a client that still uses it never reaches another name.
 */
export class AddressTable {
  readonly #range: AddressRange;
  readonly #capacity: number;
  /** Addresses that stand for themselves. */
  readonly listed: readonly IpAddress[];
  readonly #listed: ReadonlyMap<string, IpAddress>;
  /** In the order of use, the last used last. */
  readonly #addresses = new Map<Hostname, IpAddress>();
  readonly #names = new Map<string, Hostname>();
  #given = 0;

  constructor(range: AddressRange, listed: readonly IpAddress[] = [], capacity = CAPACITY) {
    this.#range = range;
    this.listed = listed;
    this.#listed = new Map(listed.map((ip) => [ip.text, ip]));
    this.#capacity = capacity;
  }

  /** The number of names in the table. */
  get size(): number {
    return this.#addresses.size;
  }

  /** The address of this name, from now on. */
  addressOf(name: Hostname): IpAddress {
    const address = this.#addresses.get(name) ?? this.#assign(name);
    this.#touch(name, address);
    return address;
  }

  /** The host that this address stands for; undefined if there is none. */
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
