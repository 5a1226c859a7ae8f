/** What it costs to be looked at: ours with metrics, beside ours without. */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createConnection } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { type Contender, type Startable, start, vsockProxy } from './contenders.ts';
import type { Contest } from './decisions.ts';
import { bytesPerMib, type Ground, startArguments } from './footprint.ts';
import { markLimit, markRatio, median, ratioTo } from './judge.ts';
import { measure } from './load.ts';
import { anonymousBytes, mainThreadSeconds } from './proc.ts';
import { visits } from './race.ts';
import { decimal, type Line } from './report.ts';

export const observedNames = ['without metrics', 'with metrics'] as const;
export type ObservedName = (typeof observedNames)[number];

/** How much is measured. */
export interface ObservedEffort {
  readonly starts: number;
  readonly scrapes: number;
}

/** Below the ports that clients' own ends are given: bench/run.sh. */
const CLIENTS_PORT = 803;

const LISTENERS = 100;
const CLIENTS = 100;
const MOST_SCRAPE_MS = 10;
const MOST_MEMORY_MIB = 2;
/** As many as Prometheus makes in five minutes. */
const SCRAPES_BEFORE = 20;

/** As the service has it. One proxy at a time serves metrics. */
const metricsSocket = (directory: string) => `${directory}/metrics.sock`;

function relays(executable: string, directory: string): Readonly<Record<ObservedName, Startable<ObservedName>>> {
  const { command } = vsockProxy(executable);
  return {
    'without metrics': { name: 'without metrics', command },
    'with metrics': { name: 'with metrics', command: (place) => withMetrics(directory, command(place)) },
  };
}

function withMetrics(directory: string, command: readonly string[]): [string, ...string[]] {
  return ['/usr/bin/env', `VSOCK_PROXY_METRICS=unix:${metricsSocket(directory)}`, ...command];
}

const duel = { ours: 'with metrics', beside: 'without metrics' } as const;

/** A round is a second, in which ours is scraped once. */
export const observedContest: Contest<ObservedName> = {
  ...visits,
  share: 2.5,
  ours: observedNames,
  duels: [
    { ...duel, title: 'scraped, 8 clients', unit: '/s', figure: 'perSecond', better: 'higher', goal: 0.98 },
    { ...duel, title: 'scraped, processor time each', unit: 'µs', figure: 'proxyMicros', better: 'lower' },
  ],
};

/** @param ports of the server, for each of {@link observedNames} */
export async function startObserved(
  executable: string,
  directory: string,
  ports: readonly number[],
): Promise<readonly Contender<ObservedName>[]> {
  const { 'without metrics': off, 'with metrics': on } = relays(executable, directory);
  const without = await start(off, directory, ports[0] ?? 0);
  const scraped = await start(on, directory, ports[1] ?? 0);
  const socket = metricsSocket(directory);
  await firstScrape(socket);
  return [without, { ...scraped, beside: () => scrape(socket) }];
}

/** Without load. */
export async function* observedFigures(
  executable: string,
  ground: Ground,
  { starts, scrapes }: ObservedEffort,
): AsyncGenerator<Line> {
  const { 'without metrics': off, 'with metrics': on } = relays(executable, ground.directory);
  const took = await scrapeMillis(executable, ground, scrapes);
  const whose = `${LISTENERS} listeners, ${CLIENTS} clients`;
  yield limited(`one scrape, ${whose}: processor time`, 'ms', took, MOST_SCRAPE_MS);

  const memory: number[] = [];
  const millis = { off: [] as number[], on: [] as number[] };
  for (let round = 0; round < starts; round += 1) {
    memory.push((await idleMib(on, ground, SCRAPES_BEFORE)) - (await idleMib(off, ground, 0)));
    millis.off.push((await measure(startArguments(off, ground))).millis ?? Number.NaN);
    millis.on.push((await measure(startArguments(on, ground))).millis ?? Number.NaN);
  }
  yield limited(
    `memory without connections, more after ${SCRAPES_BEFORE} scrapes`,
    'MiB',
    median(memory),
    MOST_MEMORY_MIB,
  );
  const [offMs, onMs] = [median(millis.off), median(millis.on)];
  const ratio = ratioTo(onMs, offMs, 'lower');
  const goal = 1;
  yield [
    ...['exec until the first byte, without metrics', 'ms', decimal(offMs), 'with metrics', decimal(onMs)],
    ...[ratio.toFixed(2), `≥ ${goal.toFixed(2)}`, markRatio(ratio, goal)],
  ];
}

function limited(title: string, unit: string, value: number, limit: number): Line {
  return [title, unit, decimal(value), '', '', '', `≤ ${limit}`, markLimit(value, limit)];
}

async function idleMib(relay: Startable<ObservedName>, { directory, port }: Ground, scrapes: number): Promise<number> {
  const running = await start(relay, directory, port);
  try {
    const socket = metricsSocket(directory);
    if (scrapes > 0) await firstScrape(socket);
    for (let one = 1; one < scrapes; one += 1) await scrape(socket);
    return anonymousBytes(running.pid) / bytesPerMib;
  } finally {
    await running.stop();
  }
}

/** Processor time of the control thread for one scrape, in the middle of several. */
async function scrapeMillis(executable: string, { directory, port }: Ground, scrapes: number): Promise<number> {
  const running = await start(manyListeners(executable, directory), directory, port);
  const metrics = metricsSocket(directory);
  try {
    await firstScrape(metrics);
    // Each of these clients has an address, and so series, of its own.
    for (let client = 0; client < CLIENTS; client += 1) {
      const socket = createConnection({ port: CLIENTS_PORT, host: '127.0.0.1', localAddress: `127.0.1.${client + 1}` });
      await once(socket, 'connect');
      socket.destroy();
    }
    while (
      ((await scrape(metrics)).match(/^vsock_proxy_client_connections_open\{client="tcp:/gm) ?? []).length < CLIENTS
    ) {
      await setTimeout(10);
    }
    const millis: number[] = [];
    while (millis.length < scrapes) {
      const before = mainThreadSeconds(running.pid);
      await scrape(metrics);
      millis.push((mainThreadSeconds(running.pid) - before) * 1000);
    }
    return median(millis);
  } finally {
    await running.stop();
  }
}

function manyListeners(executable: string, metricsIn: string): Startable<'vsock-proxy'> {
  return {
    name: 'vsock-proxy',
    command({ socket, port, directory }) {
      const connect = `connect: "127.0.0.1:${port}"`;
      const unix = Array.from({ length: LISTENERS - 2 }, (_, index) => `unix:${directory}/${index}`);
      const all = [`unix:${socket}`, `tcp:127.0.0.1:${CLIENTS_PORT}`, ...unix];
      const listeners = all.map((listen) => `  - {listen: "${listen}", ${connect}}\n`).join('');
      const file = `${directory}/vsock-proxy.yaml`;
      writeFileSync(file, `listeners:\n${listeners}allowlist:\n  - {address: 127.0.0.1, port: ${port}}\n`);
      return withMetrics(metricsIn, [executable, 'serve', '--config', file]);
    },
  };
}

const WAITS: readonly string[] = ['ENOENT', 'ECONNREFUSED'];

/** Clients are served before metrics are. */
export async function firstScrape(socketPath: string): Promise<void> {
  for (;;) {
    try {
      await scrape(socketPath);
      return;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && WAITS.includes(String(error.code)))) throw error;
      await setTimeout(10);
    }
  }
}

/** The text of one scrape, on a connection of its own. */
export async function scrape(socketPath: string): Promise<string> {
  const asking = request({ socketPath, path: '/metrics', agent: false });
  asking.end();
  const [response] = await once(asking, 'response');
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}
