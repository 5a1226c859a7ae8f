/**
 * Measures our executable beside its peers and prints one table; `bench/run.sh` calls it.
 *
 * bench.ts EXECUTABLE [--quick]
 *
 * A quick run is for those who work on the benchmark: one short round, and no RESULTS.md.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, getPriority, release, type as system, tmpdir, totalmem } from 'node:os';
import { type Contender, direct, relays, start, versions } from './contenders.ts';
import { type FootprintEffort, footprints } from './footprint.ts';
import { names } from './judge.ts';
import { type LoadServer, serve } from './load.ts';
import { type RaceEffort, races, type Samples, Track } from './race.ts';
import {
  footprintLine,
  foreignCpus,
  heading,
  type Line,
  markdownTable,
  raceLines,
  spreadHeading,
  spreadLines,
  textTable,
} from './report.ts';

interface Effort {
  readonly race: RaceEffort;
  readonly footprint: FootprintEffort;
}

/** Many short rounds rather than few long ones: each connection may fall on other CPUs. Together ten seconds. */
const full: Effort = {
  race: { rounds: 25, roundMs: 400, repeats: 500 },
  footprint: { idle: 9000, churned: 20_000, starts: 11 },
};
const quick: Effort = {
  race: { rounds: 1, roundMs: 300, repeats: 0 },
  footprint: { idle: 1000, churned: 2000, starts: 1 },
};

const resultsFile = new URL('RESULTS.md', import.meta.url).pathname;

async function main([executable, mode]: readonly string[]): Promise<void> {
  if (executable === undefined || (mode !== undefined && mode !== '--quick')) {
    process.stderr.write('usage: bench.ts EXECUTABLE [--quick]\n');
    process.exitCode = 2;
    return;
  }
  const effort = mode === '--quick' ? quick : full;
  const directory = mkdtempSync(`${tmpdir()}/bench-`);
  const server = await serve(names.length);
  try {
    const measured = await measureAll(executable, directory, server, effort);
    const facts = conditions(executable, effort, measured);
    const tables = [measured.lines, measured.spreads].map(textTable);
    process.stdout.write(`${[...tables, facts.join('\n')].join('\n\n')}\n`);
    if (effort === full) writeFileSync(resultsFile, results(measured, facts));
  } finally {
    await server.stop();
    rmSync(directory, { recursive: true });
  }
}

interface Measured {
  /** The table, and what lies behind its medians. */
  readonly lines: readonly Line[];
  readonly spreads: readonly Line[];
  /** CPUs that something else kept busy, and how many samples were taken again for that. */
  readonly foreignCpus: number;
  readonly repeated: number;
}

async function measureAll(
  executable: string,
  directory: string,
  server: LoadServer,
  effort: Effort,
): Promise<Measured> {
  const lines: Line[] = [heading];
  const spreads: Line[] = [spreadHeading];
  const all: Samples[] = [];
  let repeated = 0;
  const say = (line: Line) => {
    lines.push(line);
    process.stderr.write(`${line.filter(Boolean).join(', ')}\n`);
  };
  const [directPort = 0, ...ports] = server.ports;
  const contenders: Contender[] = [direct(directPort)];
  try {
    for (const [index, relay] of relays(executable).entries()) {
      contenders.push(await start(relay, directory, ports[index] ?? 0));
    }
    const track = new Track(contenders, server.pid, effort.race);
    for (const race of races) {
      const samples = await track.run(race);
      all.push(samples);
      raceLines(race, samples).forEach(say);
      spreads.push(...spreadLines(race, samples));
    }
    repeated = track.repeated;
  } finally {
    await Promise.all(contenders.map((contender) => contender.stop()));
  }
  const ground = { directory, port: directPort };
  for await (const footprint of footprints(relays(executable), executable, ground, effort.footprint)) {
    say(footprintLine(footprint));
  }
  return { lines, spreads, foreignCpus: foreignCpus(all), repeated };
}

/** Where, when and with what: without it the figures say nothing. */
function conditions(executable: string, { race }: Effort, measured: Measured): readonly string[] {
  const gib = Math.round(totalmem() / 2 ** 30);
  return [
    `${new Date().toISOString().slice(0, 10)}, ${cpus().length} CPUs ${cpus()[0]?.model}, ${gib} GiB, ${system()} ${release()}`,
    `Medians of ${race.rounds} interleaved rounds of ${race.roundMs} ms (round trips: half of that), niceness ${getPriority()}`,
    `Beside it, something else kept ${measured.foreignCpus.toFixed(2)} CPUs busy (median); ${measured.repeated} samples were repeated for that`,
    ...versions(executable),
  ];
}

function results({ lines, spreads }: Measured, facts: readonly string[]): string {
  return `# Benchmark

Written by \`make bench\` (\`bench/run.sh\`), which repeats it.

${facts.map((fact) => `- ${fact}`).join('\n')}

From a unix socket through the proxy to TCP on loopback, all on one machine; *direct* is the load generator's client
straight on TCP, the limit. Up is from the unix socket to TCP, as from an enclave to a service. *Ratio*: how many times
better than the best of the three peers, of the medians; \`level\` misses the goal by no more than 5 %. Of idle connections
socat held 300 (it needs a process for each) and systemd-socket-proxyd 3,000 (six descriptors for each).

${markdownTable(lines)}

## Behind the medians

Least and greatest of the rounds, and the CPUs that the load generator itself took.

${markdownTable(spreads)}

## Commands

- \`vsock-proxy unix:SOCKET 127.0.0.1 PORT --config FILE -w 20000\`, the file allowing that address and port
- \`socat -b 262144 UNIX-LISTEN:SOCKET,fork,backlog=4096 TCP:127.0.0.1:PORT\`
- \`systemd-socket-activate --listen=SOCKET systemd-socket-proxyd --connections-max=20000 127.0.0.1:PORT\`
- \`haproxy -db -q -f FILE\`: TCP mode, 2 threads, \`tune.bufsize 262144\`, \`option splice-auto\`, 9,300 connections
`;
}

await main(process.argv.slice(2));
