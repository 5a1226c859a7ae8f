/** What long allowlists cost: the time of a denial, and connections while one is loaded anew. */
import { renameSync, writeFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import type { Contender, RunningRelay, Startable } from './contenders.ts';
import { type Contest, fileText } from './decisions.ts';
import { firstScrape, scrape } from './observed.ts';
import { type Course, visits } from './race.ts';

export const policyNames = [
  '3,000 patterns',
  '3 patterns',
  '3,000 ranges',
  '3 ranges',
  'CONNECT, reloaded',
  'CONNECT, not reloaded',
] as const;
export type PolicyName = (typeof policyNames)[number];

const MANY = 3000;
const FEW = 3;
const RELOADED = 20_000;
/** A reload is over within a round, which is a second. */
const RELOAD_MS = 800;

type Entry = (index: number) => string;
const pattern: Entry = (index) => `{address: "*.service-${index}.example.com", port: 443}`;
const range: Entry = (index) => `{address: 10.${index >> 8}.${index & 0xff}.0/24, port: 443}`;
const name: Entry = (index) => `{address: host-${index}.example.com, port: 443}`;

function listed(count: number, entry: Entry): string {
  return Array.from({ length: count }, (_, index) => `  - ${entry(index)}\n`).join('');
}

const listenerOn = (socket: string) => `{listen: "unix:${socket}", route: http}`;

/** A denial is a line of its log at `warn`. */
function serve(executable: string, file: string, metrics?: string): [string, ...string[]] {
  const environment = ['RUST_LOG=error', ...(metrics === undefined ? [] : [`VSOCK_PROXY_METRICS=unix:${metrics}`])];
  return ['/usr/bin/env', ...environment, executable, 'serve', '--config', file];
}

/** @param denied in the words of bench/load/prelude.h */
function denies(executable: string, title: PolicyName, entries: string, denied: string): Startable<PolicyName> {
  return {
    name: title,
    command({ directory, socket }) {
      const file = `${directory}/vsock-proxy.yaml`;
      writeFileSync(file, fileText(listenerOn(socket), entries));
      return serve(executable, file);
    },
    endpoint: ({ socket }) => `unix:${socket},denied=${denied}:443`,
  };
}

/** @param directory for files of those that are reloaded, or could be */
export function policyRelays(executable: string, directory: string): readonly Startable<PolicyName>[] {
  const [deniedName, deniedIp] = ['*.denied.example', '11.*.1'];
  return [
    denies(executable, '3,000 patterns', listed(MANY, pattern), deniedName),
    denies(executable, '3 patterns', listed(FEW, pattern), deniedName),
    denies(executable, '3,000 ranges', listed(MANY, range), deniedIp),
    denies(executable, '3 ranges', listed(FEW, range), deniedIp),
    tunnels(executable, 'CONNECT, reloaded', reloadedIn(directory)),
    tunnels(executable, 'CONNECT, not reloaded', `${directory}/calm`),
  ];
}

const reloadedIn = (directory: string) => `${directory}/reloaded`;

/** @param path of its files, without what they end in */
function tunnels(executable: string, title: PolicyName, path: string): Startable<PolicyName> {
  return {
    name: title,
    command({ socket, port }) {
      writeFileSync(`${path}.yaml`, allowing(socket, port, 0));
      return serve(executable, `${path}.yaml`, `${path}.metrics`);
    },
    endpoint: ({ socket, port }) => `unix:${socket},connect-fresh=127.0.0.1:${port}`,
  };
}

/** @param last of the entries: another one makes another file */
function allowing(socket: string, port: number, last: number): string {
  const entries = `  - {address: 127.0.0.1, port: ${port}}\n${listed(RELOADED - 2, name)}  - ${name(RELOADED + last)}\n`;
  return fileText(listenerOn(socket), entries);
}

/** The file of the one changes once in a round, and it is told so. */
export async function withReloads(
  runners: readonly RunningRelay<PolicyName>[],
  directory: string,
): Promise<readonly Contender<PolicyName>[]> {
  const path = reloadedIn(directory);
  await firstScrape(`${path}.metrics`);
  let loads = 1;
  const reload = async ({ endpoint, pid }: RunningRelay<PolicyName>) => {
    const [, socket = '', port] = /^unix:(.*),.*:(\d+)$/.exec(endpoint) ?? [];
    writeFileSync(`${path}.next`, allowing(socket, Number(port), loads));
    renameSync(`${path}.next`, `${path}.yaml`);
    process.kill(pid, 'SIGHUP');
    loads += 1;
    await setTimeout(RELOAD_MS);
    const metrics = await scrape(`${path}.metrics`);
    const [, loaded] = /^vsock_proxy_config_loads_total\{result="success"\} (\d+)$/m.exec(metrics) ?? [];
    if (Number(loaded) !== loads) throw new Error(`${loaded} of ${loads} loads are done ${RELOAD_MS} ms after SIGHUP`);
  };
  return runners.map((one) => (one.name === 'CONNECT, reloaded' ? { ...one, beside: () => reload(one) } : one));
}

/** One client after the other, and everything that takes part on one CPU. */
const oneByOne: Course = {
  load: (endpoint, millis) => ['connections', endpoint, '1', String(millis)],
  share: 0.5,
  oneCpu: true,
};

function denial(title: string, ours: PolicyName, beside: PolicyName): Contest<PolicyName> {
  const duel = { title, unit: 'µs', figure: 'p50Micros', better: 'lower', ours, beside, goal: 1 / 1.3 } as const;
  return { ...oneByOne, ours: [ours], peer: beside, duels: [duel] };
}

export const policyContests: readonly Contest<PolicyName>[] = [
  denial('denied name, 3,000 patterns, median', '3,000 patterns', '3 patterns'),
  denial('denied IP, 3,000 ranges, median', '3,000 ranges', '3 ranges'),
  {
    ...visits,
    share: 2.5,
    ours: ['CONNECT, reloaded'],
    peer: 'CONNECT, not reloaded',
    duels: [
      {
        title: 'CONNECT, 20,000 entries reloaded, time of 99 %',
        unit: 'µs',
        figure: 'p99Micros',
        better: 'lower',
        ours: 'CONNECT, reloaded',
        beside: 'CONNECT, not reloaded',
        goal: 0.5,
      },
    ],
  },
];
