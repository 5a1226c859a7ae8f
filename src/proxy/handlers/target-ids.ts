/** Numbers for the targets that clients ask for, which the data plane gives back in what it tells of their connections. */
import type { TargetId } from '../../dataplane/contract.ts';
import { LruCache } from '../lru.ts';

/** Clients may ask for more names than anybody can remember; of connections to earlier ones, the address alone is told. */
const REMEMBERED = 4096;

export class TargetIds {
  readonly #ids = new LruCache<string, TargetId>(REMEMBERED);
  readonly #texts = new LruCache<TargetId, string>(REMEMBERED);
  #last = 0;

  /** The number of this target, which is never that of another one. */
  idOf(text: string): TargetId {
    const known = this.#ids.get(text);
    if (known !== undefined && this.#texts.get(known) !== undefined) return known;
    this.#last += 1;
    this.#ids.set(text, this.#last);
    this.#texts.set(this.#last, text);
    return this.#last;
  }

  /** Undefined once it has been forgotten. */
  textOf(id: TargetId): string | undefined {
    return this.#texts.get(id);
  }

  get size(): number {
    return Math.max(this.#ids.size, this.#texts.size);
  }
}
