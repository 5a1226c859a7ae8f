/**
 * Measures our executable on real vsock, on an emulated parent machine beside its peers; `make bench-vsock` calls it.
 *
 * vsock.ts [--quick] [--beside EXECUTABLE] [KERNEL...]
 *
 * Seconds of an emulated machine are noisy, and copies cost more there than on hardware. So each kernel runs twice: with
 * two processors, for seconds, and with one whose every instruction takes a nanosecond, for figures that repeat. A quick run
 * is for those who work on it: few rounds, and no VSOCK.md.
 */
import { writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { Machine, PROJECT } from '../../tests/e2e/machine.ts';
import { median } from '../judge.ts';
import { type Line, markdownTable, textTable } from '../report.ts';

/** Where the machine keeps what it measures with. */
const LOAD = `${PROJECT}/build/bench/load`;
const GUEST = `${PROJECT}/bench/vsock/guest.py`;
const OURS = 'vsock-proxy';
const resultsFile = new URL('../VSOCK.md', import.meta.url).pathname;

interface Contender {
  readonly name: string;
  readonly command: readonly string[];
  readonly endpoint: string;
}

interface Course {
  readonly name: string;
  readonly load: readonly string[];
  readonly figure: 'gbitPerSecond' | 'perSecond' | 'p50Micros';
  readonly unit: string;
  /** What costs are given for each of. */
  readonly each: string;
}

interface Sample {
  readonly course: string;
  readonly contender: string;
  readonly figures?: Readonly<Record<string, number>>;
  readonly calls?: Readonly<Record<string, number>>;
}

/** As enclaves' ends ask for by default: limits.vsock_buffer_kib. */
const BUFFER = 'buffer=1024';

/** @param paths executables of ours by their names, as the machine has them */
function contenders(paths: Readonly<Record<string, string>>): readonly Contender[] {
  const at = (port: number) => `vsock:3:${port}`;
  const ours = Object.entries(paths).map(([name, path], index) => {
    const port = 8100 + index;
    const allow = `printf "allowlist: [{address: 127.0.0.1, port: {port}}]" >/run/${name}.yaml`;
    const run = `exec ${path} ${port} 127.0.0.1 {port} --config /run/${name}.yaml -w 1000`;
    return { name, command: ['sh', '-c', `${allow}; ${run}`], endpoint: at(port) };
  });
  return [
    ...ours,
    {
      name: 'socat',
      command: ['socat', '-b', '262144', 'VSOCK-LISTEN:8201,fork,backlog=4096', 'TCP:127.0.0.1:{port}'],
      endpoint: at(8201),
    },
    {
      name: 'socket-proxyd',
      command: [
        ...['systemd-socket-activate', '-l', 'vsock:3:8202'],
        ...['/lib/systemd/systemd-socket-proxyd', '127.0.0.1:{port}'],
      ],
      endpoint: at(8202),
    },
  ];
}

function courses(millis: number): readonly Course[] {
  const bulk = (direction: 'up' | 'down', connections: number, buffer: string): Course => ({
    name: `throughput ${direction}, ${connections} connection${connections === 1 ? '' : 's'}${buffer && ', 1 MiB'}`,
    load: [`${direction}load`, `{endpoint}${buffer && `,${buffer}`}`, `${connections}`, `${millis}`],
    figure: 'gbitPerSecond',
    unit: 'Gbit/s',
    each: 'MiB',
  });
  const directions = ['up', 'down'] as const;
  return [
    ...['', BUFFER].flatMap((buffer) =>
      [1, 8].flatMap((connections) => directions.map((way) => bulk(way, connections, buffer))),
    ),
    {
      name: 'connections, 8 clients',
      load: ['connections', '{endpoint}', '8', `${millis}`],
      figure: 'perSecond',
      unit: '/s',
      each: 'connection',
    },
    {
      name: 'round trip of 16 KiB',
      load: ['round-trip', '{endpoint}', '16384', `${millis}`],
      figure: 'p50Micros',
      unit: 'µs',
      each: 'round trip',
    },
  ];
}

interface Run {
  readonly executables: Readonly<Record<string, string>>;
  readonly rounds: number;
  readonly millis: number;
  readonly counted: boolean;
  readonly only: string;
}

async function measure({ executables, rounds, millis, counted, only }: Run): Promise<readonly Sample[]> {
  const names = Object.values(executables);
  await using machine = await Machine.start({
    memoryMib: 1024,
    measures: counted ? 'instructions' : 'seconds',
    files: [...names, 'build/bench/load', 'bench/vsock/guest.py'],
  });
  const paths = Object.fromEntries(Object.entries(executables).map(([name, path]) => [name, `${PROJECT}/${path}`]));
  const plan = {
    load: [LOAD],
    rounds,
    contenders: contenders(paths),
    courses: courses(millis).filter(({ name }) => name.includes(only)),
  };
  const kernel = (await machine.check('uname -r')).trim();
  process.stderr.write(`Linux ${kernel}${counted ? ', one processor, instructions counted' : ''}\n`);
  await machine.check(`cat >/run/plan.json <<'END'\n${JSON.stringify(plan)}\nEND`);
  const program = await machine.spawn(`python3 ${GUEST} /run/plan.json`);
  const { status, stdout, stderr } = await program.outcome(4 * 3_600_000);
  if (status !== 0) throw new Error(`guest.py: ${stderr}${stdout}`);
  const lines = stdout.split('\n').filter((line) => line.startsWith('{'));
  return lines.map((line) => JSON.parse(line) as Sample);
}

function tableOf(samples: readonly Sample[], millis: number): readonly Line[] {
  const names = [...new Set(samples.map(({ contender }) => contender))];
  const lines: Line[] = [['', 'unit', ...names]];
  for (const { name, figure, unit, each } of courses(millis)) {
    const of = (contender: string) => samples.filter((one) => one.course === name && one.contender === contender);
    if (of(OURS).length === 0) continue;
    const middle = (contender: string, key: string) =>
      median(of(contender).flatMap(({ figures }) => (figures ? [figures[key] ?? Number.NaN] : [])));
    const cells = (key: string) => names.map((contender) => middle(contender, key).toPrecision(3));
    const called = (contender: string) => of(contender).find(({ calls }) => calls)?.calls ?? {};
    const total = (contender: string) => Object.values(called(contender)).reduce((sum, calls) => sum + calls, 0);
    lines.push([name, unit, ...cells(figure)]);
    lines.push(['  processor time of the proxy', `µs/${each}`, ...cells('proxyMicros')]);
    lines.push(['  its system calls', `/${each}`, ...names.map((contender) => total(contender).toFixed(1))]);
    for (const contender of names) {
      const most = Object.entries(called(contender)).sort(([, one], [, other]) => other - one);
      process.stderr.write(
        `${name}: ${contender}: ${most.slice(0, 9).map(([call, calls]) => `${call} ${calls.toFixed(2)}`)}\n`,
      );
    }
  }
  return lines;
}

async function main(args: readonly string[]): Promise<void> {
  const after = (option: string) => args[args.indexOf(option) + 1] ?? '';
  const beside = args.includes('--beside') ? { beside: after('--beside') } : {};
  const only = args.includes('--only') ? after('--only') : '';
  const executables = { [OURS]: 'build/vsock-proxy', ...beside };
  const quick = args.includes('--quick');
  const millis = 400;
  const run = { executables, millis, only };
  const tables: string[] = [];
  for (const counted of args.includes('--counted') ? [true] : args.includes('--seconds') ? [false] : [true, false]) {
    const rounds = quick ? 1 : counted ? 3 : 11;
    const lines = tableOf(await measure({ ...run, rounds, counted }), millis);
    process.stdout.write(`${textTable(lines)}\n\n`);
    tables.push(markdownTable(lines));
  }
  const facts = `${new Date().toISOString().slice(0, 10)}, ${cpus().length} CPUs ${cpus()[0]?.model}, Linux ${release()}`;
  if (!quick) writeFileSync(resultsFile, `${facts}\n\n${tables.join('\n\n')}\n`);
}

await main(process.argv.slice(2));
