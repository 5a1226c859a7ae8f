/**
 * Measures our executable beside its peers and prints one table; `bench/run.sh` calls it.
 *
 * bench.ts EXECUTABLE [--quick]
 *
 * A quick run is for those who work on the benchmark: one short round, and no RESULTS.md.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, getPriority, release, type as system, tmpdir, totalmem } from 'node:os';
import { basename, dirname } from 'node:path';
import { chainContests, chainNames, chains } from './chain.ts';
import { type Contender, direct, type RunningRelay, relays, type Startable, start, versions } from './contenders.ts';
import { type CrowdEffort, crowds } from './crowd.ts';
import { type Contest, contests, decisionNames, decisionRelays, participants } from './decisions.ts';
import { type EnclaveEffort, enclaveContests, enclaveFigures, enclaveNames, enclaves } from './enclave.ts';
import { type FootprintEffort, footprints } from './footprint.ts';
import { httpContests, httpNames, httpRelays } from './http.ts';
import { names } from './judge.ts';
import { type LoadServer, serve } from './load.ts';
import { type ObservedEffort, observedContest, observedFigures, observedNames, startObserved } from './observed.ts';
import { policyContests, policyNames, policyRelays, withReloads } from './policy.ts';
import { fullRace, type RaceEffort, races, type Samples, Track } from './race.ts';
import {
  duelHeading,
  duelLines,
  duelSpreadHeading,
  duelSpreadLines,
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
  readonly crowd: CrowdEffort;
  readonly observed: ObservedEffort;
  readonly enclave: EnclaveEffort;
}

const full: Effort = {
  race: fullRace,
  footprint: { idle: 9000, churned: 20_000, starts: 11 },
  crowd: { many: 100_000, rounds: 11 },
  observed: { starts: 7, scrapes: 21 },
  enclave: { starts: 15, held: 1000 },
};
const quick: Effort = {
  race: { rounds: 1, roundMs: 300, repeats: 0 },
  footprint: { idle: 1000, churned: 2000, starts: 1 },
  crowd: { many: 5000, rounds: 1 },
  observed: { starts: 1, scrapes: 3 },
  enclave: { starts: 1, held: 100 },
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
  const all = [names, decisionNames, chainNames, httpNames, enclaveNames, policyNames, observedNames];
  const server = await serve(all.flat().length);
  const ground = { executable, directory, server, effort };
  try {
    const measured = [
      await measureFixed(ground),
      await measureAsked(ground),
      await measureChain(ground),
      await measureHttp(ground),
      await measurePolicies(ground),
      await measureObserved(ground),
      await measureEnclave(ground),
    ] as const;
    const facts = conditions(executable, effort, measured);
    const tables = measured.flatMap(({ lines, spreads }) => [lines, spreads]).map(textTable);
    process.stdout.write(`${[...tables, facts.join('\n')].join('\n\n')}\n`);
    if (effort === full) writeFileSync(resultsFile, results(measured, facts));
  } finally {
    await server.stop();
    rmSync(directory, { recursive: true });
  }
}

interface Ground {
  readonly executable: string;
  readonly directory: string;
  readonly server: LoadServer;
  readonly effort: Effort;
}

interface Measured {
  /** The table, and what lies behind its medians. */
  readonly lines: readonly Line[];
  readonly spreads: readonly Line[];
  readonly samples: readonly Samples<string>[];
  /** How many samples were taken again because something else kept the CPUs busy. */
  readonly repeated: number;
}

/** Proxies to one server each, and the way without one. */
async function measureFixed({ executable, directory, server, effort }: Ground): Promise<Measured> {
  const lines: Line[] = [heading];
  const spreads: Line[] = [spreadHeading];
  const samples: Samples[] = [];
  const [directPort = 0, ...ports] = server.ports;
  const runners = await startAll(relays(executable), directory, ports);
  const track = new Track([direct(directPort), ...runners], server.pid, effort.race);
  try {
    for (const race of races) {
      const taken = await track.run(race, names);
      samples.push(taken);
      for (const line of raceLines(race, taken)) lines.push(say(line));
      spreads.push(...spreadLines(race, taken));
    }
  } finally {
    await stopAll(runners);
  }
  const ground = { directory, port: directPort };
  for await (const footprint of footprints(relays(executable), executable, ground, effort.footprint)) {
    lines.push(say(footprintLine(footprint)));
  }
  for await (const crowd of crowds(executable, directory, effort.crowd)) lines.push(say(footprintLine(crowd)));
  return { lines, spreads, samples, repeated: track.repeated };
}

/** Proxies whose clients name their server. */
function measureAsked(ground: Ground): Promise<Measured> {
  return measureContests(decisionRelays(ground.executable), contests, ground, names.length);
}

/** Those of an enclave and its parent, one behind the other. */
function measureChain(ground: Ground): Promise<Measured> {
  const all = chains(ground.executable, dirname(ground.executable));
  return measureContests(all, chainContests, ground, names.length + decisionNames.length);
}

/** Proxies that pass HTTP requests on. */
function measureHttp(ground: Ground): Promise<Measured> {
  const firstPort = names.length + decisionNames.length + chainNames.length;
  return measureContests(httpRelays(ground.executable), httpContests, ground, firstPort);
}

/** Ours with long allowlists, beside ours with short ones, or not reloaded. */
async function measurePolicies(ground: Ground): Promise<Measured> {
  const { executable, directory, server } = ground;
  const ports = server.ports.slice(-observedNames.length - policyNames.length);
  const runners = await startAll(policyRelays(executable, directory), directory, ports);
  return await runContests(await withReloads(runners, directory), policyContests, ground);
}

/**
 * @param firstPort of the server, in the order of its ports
 * @param program of ours
 */
async function measureContests<N extends string>(
  relays: readonly Startable<N>[],
  contests: readonly Contest<N>[],
  ground: Ground,
  firstPort: number,
  program?: string,
): Promise<Measured> {
  const { directory, server } = ground;
  const runners = await startAll(relays, directory, server.ports.slice(firstPort));
  return await runContests(runners, contests, ground, program);
}

/** Stops them in the end. */
async function runContests<N extends string>(
  runners: readonly Contender<N>[],
  contests: readonly Contest<N>[],
  { server, effort }: Ground,
  program?: string,
): Promise<Measured> {
  const lines: Line[] = [duelHeading(program)];
  const spreads: Line[] = [duelSpreadHeading(program)];
  const samples: Samples<string>[] = [];
  const track = new Track(runners, server.pid, effort.race);
  try {
    for (const contest of contests) {
      const taken = await track.run(contest, participants(contest));
      samples.push(taken);
      for (const line of duelLines(contest, taken)) lines.push(say(line));
      spreads.push(...duelSpreadLines(contest, taken));
    }
  } finally {
    await stopAll(runners);
  }
  return { lines, spreads, samples, repeated: track.repeated };
}

/** The enclave's side under QuickJS, beside that under Node.js. */
async function measureEnclave(ground: Ground): Promise<Measured> {
  const { executable, directory, server, effort } = ground;
  const small = `${dirname(executable)}/vsock-enclave`;
  const programs = { small, executable };
  const firstPort = names.length + decisionNames.length + chainNames.length + httpNames.length;
  const measured = await measureContests(enclaves(programs), enclaveContests, ground, firstPort, basename(small));
  const [port = 0] = server.ports;
  const lines = [...measured.lines];
  for await (const line of enclaveFigures(programs, { directory, port }, effort.enclave)) lines.push(say(line));
  return { ...measured, lines };
}

/** Ours with metrics, beside ours without. */
async function measureObserved(ground: Ground): Promise<Measured> {
  const { executable, directory, server, effort } = ground;
  const runners = await startObserved(executable, directory, server.ports.slice(-observedNames.length));
  const measured = await runContests(runners, [observedContest], ground);
  const [port = 0] = server.ports;
  const lines = [...measured.lines];
  for await (const line of observedFigures(executable, { directory, port }, effort.observed)) lines.push(say(line));
  return { ...measured, lines };
}

/** All or none, each with a port of the server for itself. */
async function startAll<N extends string>(
  all: readonly Startable<N>[],
  directory: string,
  ports: readonly number[],
): Promise<readonly RunningRelay<N>[]> {
  const runners: RunningRelay<N>[] = [];
  try {
    for (const [index, relay] of all.entries()) runners.push(await start(relay, directory, ports[index] ?? 0));
  } catch (error) {
    await stopAll(runners);
    throw error;
  }
  return runners;
}

async function stopAll(runners: readonly Contender<string>[]): Promise<void> {
  await Promise.all(runners.map((runner) => runner.stop()));
}

/** Shows a line at once. */
function say(line: Line): Line {
  process.stderr.write(`${line.filter(Boolean).join(', ')}\n`);
  return line;
}

/** Where, when and with what: without it the figures say nothing. */
function conditions(executable: string, { race }: Effort, measured: readonly Measured[]): readonly string[] {
  const foreign = foreignCpus(measured.flatMap(({ samples }) => samples));
  const repeated = measured.reduce((sum, table) => sum + table.repeated, 0);
  const gib = Math.round(totalmem() / 2 ** 30);
  return [
    `${new Date().toISOString().slice(0, 10)}, ${cpus().length} CPUs ${cpus()[0]?.model}, ${gib} GiB, ${system()} ${release()}`,
    `Medians of ${race.rounds} interleaved rounds of ${race.roundMs} ms (round trips: half of that), niceness ${getPriority()}`,
    `Other programs used ${foreign.toFixed(2)} CPUs (median); ${repeated} samples were repeated because of them`,
    ...versions(executable),
  ];
}

function results(
  [fixed, decided, chain, http, policies, observed, enclave]: readonly [
    Measured,
    Measured,
    Measured,
    Measured,
    Measured,
    Measured,
    Measured,
  ],
  facts: readonly string[],
): string {
  return `# Benchmark

\`make bench\` (\`bench/run.sh\`) writes this page. [README.md](README.md) says how to read it.

${facts.map((fact) => `- ${fact}`).join('\n')}

## One server

Connections go from a unix socket through the proxy to TCP on loopback, all on one machine. *direct* is the load generator's client
without a proxy, which is the limit. Up is from the unix socket to TCP, as from an enclave to a service. *Ratio* compares the medians
with the best of the three peers; above 1 is better. \`level\` misses the goal by at most 5 %. socat held 300 idle connections (it needs a
process for each), and systemd-socket-proxyd 3,000 (it needs six descriptors for each).

${markdownTable(fixed.lines)}

## A server for each client

The same clients first name their server: by an HTTP CONNECT, or by the name in a TLS ClientHello (517 bytes, which the server sends
back before the one byte of every connection). They connect to a unix socket; for tinyproxy, which listens on TCP only, they and ours use
TCP. *fixed* is ours with one server, as above, without decision requests. Rows without a goal show what a decision costs.

${markdownTable(decided.lines)}

## The whole chain

The chain is an application, the enclave's forwarder, a unix socket instead of vsock, the parent's HTTP proxy, and a server. The
comparisons are socat and tinyproxy in the same places, and *one hop*, our HTTP proxy alone.

${markdownTable(chain.lines)}

## Plain HTTP

Clients keep their connection and GET one URL after the other, each a new one, with a response of 1 KiB. All proxies listen on TCP. squid
has no cache. nginx is not a proxy for clients, but passes all requests on to the one server in its file. The rows below are about
clients that request a tunnel in a head that is new each time.

${markdownTable(http.lines)}

## Long allowlists

Ours with a long allowlist is compared with ours with a short one. One client after the other asks for a tunnel to a name, or to an IP
address, that is denied, never for the same one. *Reloaded*: 8 clients request tunnels, and once a second the file has changed and SIGHUP
loads its 20,000 entries anew.

${markdownTable(policies.lines)}

## Metrics

Ours with metrics, scraped once a second, is compared with ours without them, with one server, as above. The clients in the scrape are IP
addresses, which are counted like CIDs. Its processor time is that of the control thread.

${markdownTable(observed.lines)}

## vsock-enclave

The enclave's side under QuickJS, \`vsock-enclave enclave\`, is compared with \`vsock-proxy enclave\`: the same file, and unix sockets instead
of vsock. *Ingress* leads from a unix socket to TCP. CONNECT goes through the HTTP proxies of the enclave and of its parent, which is
\`vsock-proxy\` in both cases. Memory is that of the whole process, with what it shares.

${markdownTable(enclave.lines)}

## Behind the medians

The least and the greatest value of the rounds, and the CPUs that the load generator itself used.

${markdownTable(fixed.spreads)}

${markdownTable(decided.spreads)}

${markdownTable(chain.spreads)}

${markdownTable(http.spreads)}

${markdownTable(policies.spreads)}

${markdownTable(observed.spreads)}

${markdownTable(enclave.spreads)}

## Commands

- \`vsock-proxy unix:SOCKET 127.0.0.1 PORT --config FILE -w 20000\`, the file allowing that address and port
- \`vsock-proxy serve --config FILE\`, the file with one listener, \`route: http\` or \`route: sni\`
- \`socat -b 262144 UNIX-LISTEN:SOCKET,fork,backlog=4096 TCP:127.0.0.1:PORT\`
- \`systemd-socket-activate --listen=SOCKET systemd-socket-proxyd --connections-max=20000 127.0.0.1:PORT\`
- \`haproxy -db -q -f FILE\`: TCP mode, 2 threads, \`tune.bufsize 262144\`, \`option splice-auto\`, 9,300 connections; by
  name, \`use_backend\` with \`req_ssl_sni\`
- \`tinyproxy -d -c FILE\`: 20,000 clients, no filter, no log
- \`vsock-forwarder --connections 20000 tcp:127.0.0.1:PORT unix:SOCKET\`, before \`serve\` with \`route: http\`
- \`socat\` from TCP to the unix socket and from there to TCP, before \`tinyproxy\`
- \`squid -N -f FILE\`: no cache, no log
- \`nginx -c FILE\`: 2 workers, \`proxy_pass\` by HTTP/1.1 with \`keepalive 64\`, no log
`;
}

await main(process.argv.slice(2));
