/** Counts look-ups by their result. */
import { VsockProxyError } from '../platform/errors.ts';
import type { Answer, Family, Resolver } from './resolver.ts';

export class CountedResolver implements Resolver {
  readonly #resolver: Resolver;
  readonly #lookups: Record<string, number> = {};

  constructor(resolver: Resolver) {
    this.#resolver = resolver;
  }

  /** How many look-ups have ended, by `ok` or by the code of the failure. Aborted look-ups do not count. */
  get lookups(): Readonly<Record<string, number>> {
    return this.#lookups;
  }

  async resolve(name: Parameters<Resolver['resolve']>[0], family: Family, signal: AbortSignal): Promise<Answer> {
    try {
      const answer = await this.#resolver.resolve(name, family, signal);
      this.#count('ok');
      return answer;
    } catch (error) {
      if (!signal.aborted) this.#count(error instanceof VsockProxyError ? (error.errno ?? 'other') : 'other');
      throw error;
    }
  }

  #count(result: string): void {
    this.#lookups[result] = (this.#lookups[result] ?? 0) + 1;
  }
}
