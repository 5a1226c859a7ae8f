/**
 * The imports of commander and dns-packet from Node.js, as far as they are used here. The bundler replaces each module
 * by this.
 */
import { Bytes } from './bytes.ts';

export { Bytes as Buffer };

export class EventEmitter {
  readonly #listeners = new Map<string, ((...args: unknown[]) => void)[]>();

  on(event: string, listener: (...args: unknown[]) => void): this {
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), listener]);
    return this;
  }

  emit(event: string, ...args: unknown[]): boolean {
    const listeners = this.#listeners.get(event) ?? [];
    for (const listener of listeners) listener.apply(this, args);
    return listeners.length > 0;
  }

  listenerCount(event: string): number {
    return this.#listeners.get(event)?.length ?? 0;
  }
}

/** Help texts have no colours here. */
export function stripVTControlCharacters(text: string): string {
  return text;
}

// biome-ignore lint/style/noDefaultExport: commander imports node:process in this way, and four others that it does not use
export default process;
