/** Ids for the targets that clients name. The data plane returns them in events about their connections. */
import type { TargetId } from '../../dataplane/contract.ts';
import { LruCache } from '../lru.ts';

/** Clients may name any number of targets. For connections to forgotten targets, only the address is logged. */
const REMEMBERED = 4096;

export class TargetIds {
  readonly #ids = new LruCache<string, TargetId>(REMEMBERED);
  readonly #texts = new LruCache<TargetId, string>(REMEMBERED);
  #last = 0;

  /** The id of this target, which no other target ever gets. */
  idOf(text: string): TargetId {
    const known = this.#ids.get(text);
    if (known !== undefined && this.#texts.get(known) !== undefined) return known;
    this.#last += 1;
    this.#ids.set(text, this.#last);
    this.#texts.set(this.#last, text);
    return this.#last;
  }

  /** Undefined if the target is forgotten. */
  textOf(id: TargetId): string | undefined {
    return this.#texts.get(id);
  }

  get size(): number {
    return Math.max(this.#ids.size, this.#texts.size);
  }
}
