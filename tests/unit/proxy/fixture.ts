/** The surroundings of the control plane in tests: a clock that is turned by hand, names by table, logs to look at. */
import assert from 'node:assert/strict';
import { parseIpAddress } from '../../../src/access/address.ts';
import type { Answer, Family, Resolver } from '../../../src/dns/resolver.ts';
import type { Clock } from '../../../src/platform/clock.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';
import { type LogFor, openLog, parseLogFilter } from '../../../src/platform/log.ts';

export class ManualClock implements Clock {
  #now = 0;
  readonly #timers = new Set<{ readonly at: number; readonly fire: () => void }>();

  now(): number {
    return this.#now;
  }

  setTimer(ms: number, fire: () => void): () => void {
    const timer = { at: this.#now + ms, fire };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Lets time pass, and what is due happen in its order; promises settle in between. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await settle();
      const due = [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.#now = Math.max(this.#now, due.at);
      this.#timers.delete(due);
      due.fire();
    }
    this.#now = end;
  }

  /** Lets time pass in which nothing happens: what would be due then waits for the next `advance`. */
  skip(ms: number): void {
    this.#now += ms;
  }

  /** How many timers wait. */
  get pending(): number {
    return this.#timers.size;
  }
}

/** Until everything that can go on without time passing has done so. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Names and what they resolve to: addresses, at once or later, or the code of a failure. Read at each query: change it as you like. */
export type Names = Record<string, readonly string[] | string | Promise<readonly string[]>>;

export interface FakeResolver extends Resolver {
  /** Every query, as `name family`. */
  readonly queries: readonly string[];
}

export function resolverOf(names: Names, ttlMs = 60_000): FakeResolver {
  const queries: string[] = [];
  const resolve = async (name: string, family: Family): Promise<Answer> => {
    queries.push(`${name} ${family}`);
    const answer = (await names[name]) ?? 'ENOTFOUND';
    if (typeof answer === 'string') {
      throw new VsockProxyError('resolve-failed', `Could not resolve ${name}: ${answer}`, {
        errno: answer,
        hint: 'check the name',
      });
    }
    const addresses = answer.map((text) => {
      const ip = parseIpAddress(text);
      assert(ip !== undefined);
      return ip;
    });
    return { addresses, ttlMs, source: 'dns' };
  };
  return { queries, resolve };
}

export interface Logged {
  readonly logFor: LogFor;
  /** `LEVEL text`, since the last time that it was asked for. */
  take(): string[];
  /** The level and the fields of all of them. */
  readonly records: readonly Readonly<Record<string, unknown>>[];
}

export function recordLog(spec = 'debug'): Logged {
  let lines: string[] = [];
  const records: Record<string, unknown>[] = [];
  const logFor = openLog({
    filter: parseLogFilter(spec),
    sink({ level, message, fields }) {
      lines.push(`${level.toUpperCase()} ${message}`);
      records.push({ level, ...fields });
      return true;
    },
    now: () => new Date(0),
  });
  return {
    logFor,
    records,
    take() {
      const taken = lines;
      lines = [];
      return taken;
    },
  };
}
