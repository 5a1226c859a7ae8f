/**
 * The enclave's side under QuickJS, `vsock-enclave`, beside the same under Node.js, `vsock-proxy enclave`: the same file, and a unix
 * socket in the place of each vsock port.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { together } from './chain.ts';
import { connections, type Place, prepare, type Startable, start } from './contenders.ts';
import { type Contest, type Duel, serveCommand } from './decisions.ts';
import { bytesPerMib, type Ground } from './footprint.ts';
import { markLimit, ratioTo } from './judge.ts';
import { holdOpen } from './load.ts';
import { residentBytes } from './proc.ts';
import { transfer, visits } from './race.ts';
import { decimal, type Line } from './report.ts';

export const enclaveNames = ['ingress', 'ingress of Node.js', 'CONNECT', 'CONNECT of Node.js'] as const;
export type EnclaveName = (typeof enclaveNames)[number];

/** Of the two HTTP proxies, below the ports that clients' own ends are given: bench/run.sh. */
const PROXY_PORTS = { CONNECT: 809, 'CONNECT of Node.js': 810 } as const;
const GOAL = 0.95;

export interface EnclaveEffort {
  readonly starts: number;
  readonly held: number;
}

export interface Programs {
  readonly small: string;
  readonly executable: string;
}

export function enclaves({ small, executable }: Programs): readonly Startable<EnclaveName>[] {
  const byConnect = (name: keyof typeof PROXY_PORTS, program: string): Startable<EnclaveName> => {
    const own = PROXY_PORTS[name];
    return {
      name,
      command: (place) =>
        together(
          enclave(
            program,
            place,
            `egress: {allow: [127.0.0.1], proxy_port: ${own}, transparent_ports: []}\nlimits: {connections: ${connections}}\n`,
            ['sleep', 'infinity'],
          ),
          serveCommand(executable, place, `{listen: "unix:${place.directory}/parent-${own}", route: http}`),
        ),
      endpoint: ({ port }) => `tcp:${own},connect=127.0.0.1:${port}`,
    };
  };
  return [
    byIngress('ingress', small),
    byIngress('ingress of Node.js', executable),
    byConnect('CONNECT', small),
    byConnect('CONNECT of Node.js', executable),
  ];
}

function byIngress(name: EnclaveName, program: string): Startable<EnclaveName> {
  return {
    name,
    command(place) {
      const config = `ingress: [{listen_port: ${place.port}}]\nlimits: {connections: ${connections}}\n`;
      return enclave(program, place, config, ['sleep', 'infinity']);
    },
    endpoint: ({ directory, port }) => `unix:${directory}/enclave-${port}`,
  };
}

/** With an /etc of its own, because it writes there. */
function enclave(
  program: string,
  { directory }: Place,
  config: string,
  command: readonly string[],
): [string, ...string[]] {
  const file = `${directory}/enclave.yaml`;
  writeFileSync(file, config);
  mkdirSync(`${directory}/etc`);
  writeFileSync(`${directory}/etc/hosts`, '');
  return [
    ...(['unshare', '--mount', 'sh', '-ec', 'mount --bind "$0" /etc; echo ready; exec "$@"'] as const),
    ...[`${directory}/etc`, program, 'enclave', '--config', file, '--parent', `unix:${directory}`, '--', ...command],
  ];
}

const bulk = { unit: 'Gbit/s', figure: 'gbitPerSecond', better: 'higher', goal: GOAL } as const;
const rate = { unit: '/s', figure: 'perSecond', better: 'higher', goal: GOAL } as const;
const ingress = ['ingress', 'ingress of Node.js'] as const;
const connect = ['CONNECT', 'CONNECT of Node.js'] as const;

function duel([ours, beside]: typeof ingress | typeof connect, title: string, measure: typeof bulk | typeof rate) {
  const found: Duel<EnclaveName> = { ...measure, title, ours, beside };
  return { ours: [ours, beside], duels: [found] };
}

export const enclaveContests: readonly Contest<EnclaveName>[] = [
  { ...transfer('up', 1), ...duel(ingress, 'throughput up, 1 connection', bulk) },
  { ...transfer('down', 1), ...duel(ingress, 'throughput down, 1 connection', bulk) },
  { ...visits, ...duel(ingress, 'connections, 8 clients', rate) },
  { ...visits, ...duel(connect, 'CONNECT through the parent, 8 clients', rate) },
];

/** Beside Node.js, each with the most that it may be. */
export async function* enclaveFigures(
  { small, executable }: Programs,
  ground: Ground,
  { starts, held }: EnclaveEffort,
): AsyncGenerator<Line> {
  const both = async (figure: (program: string) => Promise<number>) =>
    [await figure(small), await figure(executable)] as const;
  const line = (title: string, unit: string, [our, their]: readonly [number, number], limit: number): Line => [
    ...[title, unit, decimal(our), 'Node.js', decimal(their), ratioTo(their, our, 'lower').toFixed(2)],
    ...[`≤ ${limit}`, markLimit(our, limit)],
  ];
  yield line('resident after start', 'MiB', await both((program) => residentMib(program, ground, 0)), 8);
  const crowded = await both((program) => residentMib(program, ground, held));
  yield line(`resident with ${held} connections`, 'MiB', crowded, 12);
  for (const { names, limit } of [
    { names: 1, limit: 30 },
    { names: 2000, limit: 150 },
  ]) {
    const millis: [number, number] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    for (let round = 0; round < starts; round += 1) {
      millis[0] = Math.min(millis[0], await startMillis(small, ground, names));
      millis[1] = Math.min(millis[1], await startMillis(executable, ground, names));
    }
    yield line(`exec to the command's first output, ${names} names, best of ${starts}`, 'ms', millis, limit);
  }
}

async function residentMib(program: string, { directory, port }: Ground, held: number): Promise<number> {
  const running = await start(byIngress('ingress', program), directory, port);
  try {
    const look = () => residentBytes(running.pid) / bytesPerMib;
    return held === 0 ? look() : await holdOpen(running.endpoint, held, look);
  } finally {
    await running.stop();
  }
}

/** @param names of its allowlist */
async function startMillis(program: string, { directory, port }: Ground, names: number): Promise<number> {
  const list = Array.from({ length: names }, (_, index) => `host-${index}.example.com`).join(', ');
  const config = `egress: {allow: [${list}], proxy_port: ${PROXY_PORTS.CONNECT}, transparent_ports: []}\n`;
  const relay = {
    name: 'start',
    command: (place: Place) => enclave(program, place, config, ['echo', 'started']),
  };
  const { command } = prepare(relay, directory, port);
  const [file, ...args] = command;
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const at: Record<string, number> = {};
  createInterface(child.stdout).on('line', (line) => {
    at[line] = performance.now();
  });
  await once(child, 'close'); // the next one has the same port
  const { ready, started } = at;
  if (ready === undefined || started === undefined) throw new Error(`${program} enclave did not start its command`);
  return started - ready;
}
