/** What a proxy takes without load: memory, and time to start. */
import { setTimeout } from 'node:timers/promises';
import { prepare, type Relay, type RunningRelay, type Startable, start, vsockProxy } from './contenders.ts';
import { median, type Name } from './judge.ts';
import { holdOpen, measure } from './load.ts';
import { anonymousBytes } from './proc.ts';

export interface Footprint {
  readonly title: string;
  readonly unit: string;
  readonly cells: Cells;
  /** The most that ours may be. */
  readonly limit: number;
}

type Cells = Readonly<Partial<Record<Name, number>>>;

export interface FootprintEffort {
  /** Connections held open at once: 9,000 are 18,000 descriptors of the proxy. */
  readonly idle: number;
  /** Connections opened and closed again. */
  readonly churned: number;
  readonly starts: number;
}

/** What every measurement needs: where files go, and a port of the load generator's server. */
export interface Ground {
  readonly directory: string;
  readonly port: number;
}

const bytesPerKib = 1024;
export const bytesPerMib = 1024 * bytesPerKib;
const churnBatch = 1000;
const churnToleranceBytes = 2 * bytesPerMib;
const LONG_LISTS = [
  { entries: 20_000, millis: 250, mib: 45 },
  { entries: 100_000, millis: 1000, mib: 120 },
] as const;
/** A proxy may return memory only once it has been calm for a while. */
const calmMs = 3000;
const sampleMs = 100;

/** Each figure has a new process of each proxy, so that earlier measurements have no effect. */
export async function* footprints(
  all: readonly Relay[],
  executable: string,
  ground: Ground,
  effort: FootprintEffort,
): AsyncGenerator<Footprint> {
  const fresh = (figure: (proxy: RunningRelay, capacity: number) => Promise<number> | number) =>
    forEach(all, async (relay) => {
      const running = await start(relay, ground.directory, ground.port);
      try {
        return await figure(running, relay.capacity);
      } finally {
        await running.stop();
      }
    });

  const idle = await fresh((proxy, capacity) => idleConnectionBytes(proxy, Math.min(effort.idle, capacity)));
  yield {
    title: `memory per connection, ${effort.idle} idle`,
    unit: 'KiB',
    cells: scaled(idle, bytesPerKib),
    limit: 2,
  };
  const churned = await fresh((proxy, capacity) => churnBytes(proxy, effort.churned, Math.min(churnBatch, capacity)));
  yield {
    title: `memory after ${effort.churned} connections`,
    unit: '± MiB',
    cells: scaled(churned, bytesPerMib),
    limit: 2,
  };
  const anonymous = await fresh((proxy) => anonymousBytes(proxy.pid));
  yield { title: 'memory without connections', unit: 'MiB', cells: scaled(anonymous, bytesPerMib), limit: 15 };
  const ready = await forEach(all, (relay) => readyMillis(relay, ground, effort.starts));
  yield { title: 'exec until the first byte is through', unit: 'ms', cells: ready, limit: 45 };
  const version = await medianMillis(effort.starts, () => ['run', executable, '--version']);
  yield { title: '--version', unit: 'ms', cells: { 'vsock-proxy': version }, limit: 30 };
  for (const { entries, millis, mib } of LONG_LISTS) {
    const relay = vsockProxy(executable, { entries });
    const title = `allowlist of ${entries} entries`;
    const took = await readyMillis(relay, ground, effort.starts);
    yield { title: `${title}, until the first byte`, unit: 'ms', cells: { [relay.name]: took }, limit: millis };
    const running = await start(relay, ground.directory, ground.port);
    try {
      const used = anonymousBytes(running.pid) / bytesPerMib;
      yield { title: `${title}, memory`, unit: 'MiB', cells: { [relay.name]: used }, limit: mib };
    } finally {
      await running.stop();
    }
  }
}

async function forEach(all: readonly Relay[], figure: (relay: Relay) => Promise<number>): Promise<Cells> {
  const cells: Partial<Record<Name, number>> = {};
  for (const relay of all) cells[relay.name] = await figure(relay);
  return cells;
}

function scaled(cells: Cells, unit: number): Cells {
  return Object.fromEntries(Object.entries(cells).map(([name, value]) => [name, value / unit]));
}

async function idleConnectionBytes({ pid, endpoint }: RunningRelay, connections: number): Promise<number> {
  const before = anonymousBytes(pid);
  const during = await holdOpen(endpoint, connections, () => anonymousBytes(pid));
  return (during - before) / connections;
}

async function churnBytes({ pid, endpoint }: RunningRelay, connections: number, batch: number): Promise<number> {
  const before = anonymousBytes(pid);
  await measure(['churn', endpoint, String(connections), String(batch)]);
  const end = performance.now() + calmMs;
  let change = anonymousBytes(pid) - before;
  while (Math.abs(change) > churnToleranceBytes && performance.now() < end) {
    await setTimeout(sampleMs);
    change = anonymousBytes(pid) - before;
  }
  return change;
}

function readyMillis(relay: Relay, ground: Ground, starts: number): Promise<number> {
  return medianMillis(starts, () => startArguments(relay, ground));
}

/** Of the load generator, which tells how long it took from exec to the first byte that came back. */
export function startArguments(relay: Startable<string>, { directory, port }: Ground): readonly string[] {
  const { command, endpoint } = prepare(relay, directory, port);
  return ['start', endpoint, ...command];
}

async function medianMillis(times: number, args: () => readonly string[]): Promise<number> {
  const millis: number[] = [];
  while (millis.length < times) millis.push((await measure(args())).millis ?? Number.NaN);
  return median(millis);
}
