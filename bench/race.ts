/** Rows in which all contenders run against each other, round by round. */
import { execFileSync } from 'node:child_process';
import { cpus } from 'node:os';
import type { Contender } from './contenders.ts';
import type { Better, Name } from './judge.ts';
import { type Endpoint, type Figures, measure } from './load.ts';
import { cpuSeconds, machineCpuSeconds } from './proc.ts';

export interface Measure {
  readonly title: string;
  readonly unit: string;
  /** Its name in the load generator's answer. */
  readonly figure: string;
  readonly better: Better;
}

export interface Row extends Measure {
  /** The least ratio to the best peer. */
  readonly goal: number;
}

/** What is done with each contender. */
export interface Course {
  readonly load: (endpoint: Endpoint, millis: number) => readonly string[];
  /** Rounds of a race that is over sooner say as much. */
  readonly share: number;
  /** Everything that takes part runs on one CPU, see {@link races}. */
  readonly oneCpu?: true;
}

export interface Race extends Course {
  readonly rows: readonly Row[];
}

export type Direction = 'up' | 'down';

/** Up is from the unix socket to TCP, as from an enclave to a service. */
export function transfer(direction: Direction, connections: number): Course {
  return {
    load: (endpoint, millis) => [`${direction}load`, endpoint, String(connections), String(millis)],
    share: 1,
  };
}

function bulk(direction: Direction, connections: number, goal: number): Race {
  const title = `throughput ${direction}, ${connections} connection${connections === 1 ? '' : 's'}`;
  return {
    ...transfer(direction, connections),
    rows: [{ title, unit: 'Gbit/s', figure: 'gbitPerSecond', better: 'higher', goal }],
  };
}

function roundTrip(bytes: number, size: string): Race {
  const row = { unit: 'µs', better: 'lower', goal: 1 } as const;
  return {
    load: (endpoint, millis) => ['round-trip', endpoint, String(bytes), String(millis)],
    share: 0.5,
    oneCpu: true,
    rows: [
      { ...row, title: `round trip of ${size}, median`, figure: 'p50Micros' },
      { ...row, title: `round trip of ${size}, 99 %`, figure: 'p99Micros' },
    ],
  };
}

/** Connect, one byte each way, close, by eight threads. */
export const visits: Course = {
  load: (endpoint, millis) => ['connections', endpoint, '8', String(millis)],
  share: 1,
};
const connections: Race = {
  ...visits,
  rows: [{ title: 'connections, 8 clients', unit: '/s', figure: 'perSecond', better: 'higher', goal: 1 }],
};

/**
 * What to expect. Upwards every proxy pays two copies, one out of the client's socket and one into TCP. A unix socket
 * holds 208 KiB (net.core.wmem_default), so a larger read than that brings nothing. Downwards `splice` hands TCP's pages
 * over to the unix socket and saves both copies; upwards it is slower than copying, for a unix socket's data comes
 * in small pieces. With one connection it also matters which processes the scheduler puts on the same CPU: bytes that
 * move between the caches of two CPUs cost more than the work. Hence many rounds, and medians.
 *
 * For round trips that is decided beforehand, by keeping everyone on one CPU: across CPUs they measure how long the
 * machine takes to wake an idle CPU, on a virtual machine several times what any proxy does.
 */
export const races: readonly Race[] = [
  bulk('up', 1, 1.15),
  bulk('down', 1, 1),
  bulk('up', 16, 1),
  bulk('down', 16, 1),
  roundTrip(64, '64 B'),
  roundTrip(16 * 1024, '16 KiB'),
  connections,
];

export interface Sample {
  /** Those of the load generator, and `proxyMicros`: processor time of the proxy for each of the clients that {@link visits}. */
  readonly figures: Figures;
  /** CPUs that the load generator's client and server used: near what a thread can, they are the limit. */
  readonly clientCpus: number;
  readonly serverCpus: number;
  /** CPUs that were busy with something else than this benchmark. */
  readonly foreignCpus: number;
}

export type Samples<N extends string = Name> = Readonly<Record<N, readonly Sample[]>>;

/** How much is measured. */
export interface RaceEffort {
  readonly rounds: number;
  readonly roundMs: number;
  /** How many samples may be taken again, all races together, because something else was using the CPUs. */
  readonly repeats: number;
}

/** Many short rounds rather than few long ones: each connection may fall on other CPUs. Together ten seconds. */
export const fullRace: RaceEffort = { rounds: 25, roundMs: 400, repeats: 500 };

/** A sample beside which something else used more than that is taken again. */
const calmCpus = 0.2;

const oneCpu = String(cpus().length - 1);
const allCpus = `0-${oneCpu}`;

/** Lets contenders run one after the other, round by round, each time beginning with another one. */
export class Track<N extends string> {
  readonly #contenders: readonly Contender<N>[];
  readonly #serverPid: number;
  readonly #effort: RaceEffort;
  repeated = 0;

  constructor(contenders: readonly Contender<N>[], serverPid: number, effort: RaceEffort) {
    this.#contenders = contenders;
    this.#serverPid = serverPid;
    this.#effort = effort;
  }

  /** @param among who takes part */
  async run<M extends N>(course: Course, among: readonly M[]): Promise<Samples<M>> {
    if (course.oneCpu) this.#confine(oneCpu);
    try {
      return await this.#rounds(course, among);
    } finally {
      if (course.oneCpu) this.#confine(allCpus);
    }
  }

  async #rounds<M extends N>(course: Course, among: readonly M[]): Promise<Samples<M>> {
    const runners = this.#contenders.filter((one): one is Contender<M> => among.some((name) => name === one.name));
    const samples = Object.fromEntries(among.map((name) => [name, []])) as unknown as Record<M, Sample[]>;
    for (let round = 0; round < this.#effort.rounds; round += 1) {
      const first = round % runners.length;
      for (const runner of [...runners.slice(first), ...runners.slice(0, first)]) {
        samples[runner.name].push(await this.#calmSample(course, runner));
      }
    }
    return samples;
  }

  /** Moves the running processes, and thereby what they will start, to these CPUs. */
  #confine(cpuList: string): void {
    for (const pid of [this.#serverPid, ...this.#contenders.flatMap((contender) => contender.pid ?? [])]) {
      execFileSync('taskset', ['--all-tasks', '--cpu-list', '--pid', cpuList, String(pid)], { stdio: 'ignore' });
    }
  }

  async #calmSample(course: Course, contender: Contender<N>): Promise<Sample> {
    for (;;) {
      const sample = await take(course, contender, this.#serverPid, this.#effort.roundMs * course.share);
      if (sample.foreignCpus <= calmCpus || this.repeated === this.#effort.repeats) return sample;
      this.repeated += 1;
    }
  }
}

async function take(
  course: Course,
  { endpoint, pid, beside }: Contender<string>,
  serverPid: number,
  millis: number,
): Promise<Sample> {
  const clock = () => ({
    seconds: performance.now() / 1000,
    machine: machineCpuSeconds(),
    server: cpuSeconds(serverPid),
    proxy: pid === undefined ? 0 : cpuSeconds(pid),
  });
  const before = clock();
  const [figures] = await Promise.all([
    measure(course.load(endpoint, millis), course.oneCpu ? oneCpu : allCpus),
    beside?.(),
  ]);
  const after = clock();
  const busy = (of: 'machine' | 'server' | 'proxy') => (after[of] - before[of]) / (after.seconds - before.seconds);
  const clientCpus = figures.clientCpus ?? 0;
  const visitors = ((figures.perSecond ?? Number.NaN) * millis) / 1000;
  return {
    figures: { ...figures, proxyMicros: ((after.proxy - before.proxy) * 1e6) / visitors },
    clientCpus,
    serverCpus: busy('server'),
    foreignCpus: Math.max(0, busy('machine') - busy('server') - busy('proxy') - clientCpus),
  };
}
