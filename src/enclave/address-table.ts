/**
 * Names, and the addresses that stand for them inside the enclave: each its own, out of 127.64.0.0/10.
 *
 * An application connects to such an address, and by it the proxy knows the name that the application meant.
 */
import { type Hostname, type IpAddress, ipv4FromWord } from '../access/address.ts';

export interface NameTableOptions {
  /** So many names are known at once; those used last. */
  readonly capacity: number;
  /** The first address and how many there are; many more than `capacity`. */
  readonly first: number;
  readonly addresses: number;
}

/** 127.64.0.0/10 but its first address: loopback, and far from the addresses that people pick by hand. */
const DEFAULTS: NameTableOptions = { capacity: 16_384, first: 0x7f40_0001, addresses: 2 ** 22 - 1 };

/**
 * A name keeps its address as long as it is known. Addresses are given out in a circle: that of a forgotten name leads
 * nowhere until millions of others have been given out, so that whoever still uses it never reaches another name.
 */
export class NameTable {
  readonly #options: NameTableOptions;
  /** Last used last. */
  readonly #addresses = new Map<Hostname, IpAddress>();
  readonly #names = new Map<string, Hostname>();
  #given = 0;

  constructor(options: NameTableOptions = DEFAULTS) {
    this.#options = options;
  }

  get size(): number {
    return this.#addresses.size;
  }

  /** The address of this name, from now on. */
  addressOf(name: Hostname): IpAddress {
    const address = this.#addresses.get(name) ?? this.#assign(name);
    this.#touch(name, address);
    return address;
  }

  /** The name that this address stands for; undefined where it stands for none. */
  nameOf(ip: string): Hostname | undefined {
    const name = this.#names.get(ip);
    const address = name === undefined ? undefined : this.#addresses.get(name);
    if (name !== undefined && address !== undefined) this.#touch(name, address);
    return name;
  }

  #touch(name: Hostname, address: IpAddress): void {
    this.#addresses.delete(name);
    this.#addresses.set(name, address);
  }

  #assign(name: Hostname): IpAddress {
    if (this.#addresses.size >= this.#options.capacity) this.#forgetOldest();
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
    const { first, addresses } = this.#options;
    for (;;) {
      const address = ipv4FromWord(first + (this.#given++ % addresses));
      if (!this.#names.has(address.text)) return address;
    }
  }
}
