/** A crowd of idle connections, larger than the usual limit of descriptors allows, and how long one more of them takes. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import type { Footprint } from './footprint.ts';
import { median, type Name } from './judge.ts';
import { type Endpoint, end, holdOpen, measure, pidOf, serve, withDescriptors } from './load.ts';
import { anonymousBytes } from './proc.ts';

export interface CrowdEffort {
  /** Connections in the crowd. */
  readonly many: number;
  readonly rounds: number;
}

/** Connections of the same proxy that is not crowded. */
const FEW = 100;
/**
 * Ports of the server. From one address, each can have 64,511 connections; but above half of that, connect(2) walks through all
 * ports of one parity before it finds a free one (net/ipv4/inet_hashtables.c).
 */
const DOORS = [0, 1, 2, 3, 4] as const;
const ROUND_MS = 400;
const CLIENTS = 8;
const BYTES_PER_KIB = 1024;

type HostName = Extract<Name, 'vsock-proxy' | 'HAProxy'>;

/** Listens on a unix socket for each door, and connects to that port. Returns the command. */
type Host = (sockets: readonly string[], ports: readonly number[], most: number, file: string) => readonly string[];

function hosts(executable: string): Readonly<Record<HostName, Host>> {
  return {
    'vsock-proxy': (sockets, ports, most, file) => {
      const lines = ['listeners:'];
      for (const door of DOORS) lines.push(`- {listen: "unix:${sockets[door]}", connect: "127.0.0.1:${ports[door]}"}`);
      lines.push('allowlist:', ...ports.map((port) => `- {address: 127.0.0.1, port: ${port}}`));
      writeFileSync(file, `${lines.join('\n')}\nlimits: {connections: ${most}}\n`);
      return [executable, 'serve', '--config', file];
    },
    HAProxy: (sockets, ports, most, file) => {
      const lines = [`global\n  nbthread 2\n  maxconn ${most}`, 'defaults\n  mode tcp', '  timeout connect 10s'];
      lines.push('  timeout client 1h', '  timeout server 1h');
      for (const door of DOORS) {
        lines.push(`listen door-${door}`, `  bind unix@${sockets[door]} backlog 4096`, `  maxconn ${most}`);
        lines.push(`  server server 127.0.0.1:${ports[door]}`);
      }
      writeFileSync(file, `${lines.join('\n')}\n`);
      return ['/usr/sbin/haproxy', '-db', '-q', '-f', file];
    },
  };
}

/** Nothing where this process may not raise the limit of descriptors, which takes CAP_SYS_RESOURCE. */
export async function* crowds(executable: string, directory: string, effort: CrowdEffort): AsyncGenerator<Footprint> {
  const memory: Partial<Record<Name, number>> = {};
  const slower: Partial<Record<Name, number>> = {};
  const descriptors = 2 * effort.many + 10_000;
  if (!mayHave(descriptors)) {
    process.stderr.write(
      `no crowd of ${effort.many} connections: that takes ${descriptors} descriptors, see ulimit -Hn\n`,
    );
    return;
  }
  for (const [name, host] of Object.entries(hosts(executable)) as [HostName, Host][]) {
    const server = await serve(2 * DOORS.length, descriptors);
    const start = async (ports: readonly number[]) => {
      const own = mkdtempSync(`${directory}/`);
      const sockets = DOORS.map((door) => `${own}/socket-${door}`);
      const command = host(sockets, ports, effort.many + 1000, `${own}/configuration`);
      const [file, ...args] = withDescriptors(descriptors, command);
      const proxy = spawn(file, args, { stdio: ['ignore', 'ignore', 'inherit'] });
      const endpoints = sockets.map((socket): Endpoint => `unix:${socket}`);
      for (const endpoint of endpoints) await measure(['await', endpoint]);
      const hold = (connections: number, whileOpen: () => Promise<void>) => {
        const each = connections / DOORS.length;
        const through = endpoints.reduceRight(
          (inner, endpoint) => () => holdOpen(endpoint, each, inner, descriptors),
          whileOpen,
        );
        return through();
      };
      return { pid: pidOf(proxy), endpoint: endpoints[0] as Endpoint, hold, stop: () => end(proxy) };
    };
    const crowded = await start(server.ports.slice(0, DOORS.length));
    const calm = await start(server.ports.slice(DOORS.length));
    try {
      const before = anonymousBytes(crowded.pid);
      await crowded.hold(effort.many, () =>
        calm.hold(FEW, async () => {
          memory[name] = (anonymousBytes(crowded.pid) - before) / effort.many / BYTES_PER_KIB;
          slower[name] = await compare(crowded.endpoint, calm.endpoint, effort.rounds);
        }),
      );
    } finally {
      await Promise.all([crowded.stop(), calm.stop(), server.stop()]);
    }
  }
  yield { title: `memory per connection, ${effort.many} idle`, unit: 'KiB', cells: memory, limit: 1 };
  yield { title: `time of 99 % of new ones then, that beside ${FEW} idle`, unit: '×', cells: slower, limit: 1.5 };
}

function mayHave(descriptors: number): boolean {
  const [file, ...args] = withDescriptors(descriptors, ['true']);
  return spawnSync(file, args).status === 0;
}

/** How many times as long new connections take at the first. */
async function compare(crowded: Endpoint, calm: Endpoint, rounds: number): Promise<number> {
  const micros: { readonly [endpoint: Endpoint]: number[] } = { [crowded]: [], [calm]: [] };
  for (let round = 0; round < rounds; round += 1) {
    for (const endpoint of round % 2 === 0 ? [crowded, calm] : [calm, crowded]) {
      const { p99Micros } = await measure(['connections', endpoint, String(CLIENTS), String(ROUND_MS)]);
      micros[endpoint]?.push(p99Micros ?? Number.NaN);
    }
  }
  return median(micros[crowded] ?? []) / median(micros[calm] ?? []);
}
