/**
 * Measures our executable in a container of runc beside the same one outside, in one run; `bench/run.sh --container` calls it.
 *
 * A container has a cgroup, and so has a service of systemd: a share of each CPU, whatever the number of its threads, and
 * a count of its memory. This costs where the CPUs are busy, in a container or not. So the goals compare with the
 * executable outside in the same cgroup. Without one it runs along, to show what the cgroup costs.
 *
 * container.ts EXECUTABLE
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Bundle, OURS } from '../tests/container/runc.ts';
import { type Contender, type Startable, start } from './contenders.ts';
import { markLimit, markRatio, median } from './judge.ts';
import { serve } from './load.ts';
import { fullRace, races, Track } from './race.ts';
import { decimal, type Line, pairOf, textTable, valuesOf } from './report.ts';

const places = ['inside', 'outside', 'alone'] as const;
type Place = (typeof places)[number];

/** Those that bench/run.sh keeps from clients: the container may not have one below 1024. */
const ports: Readonly<Record<Place, number>> = { inside: 1025, outside: 1026, alone: 803 };
const starts = 11;
/** How much of the rate outside is to be reached inside. */
const goal = 0.98;
/** How long a pod may take to be ready. */
const mostStartMs = 1000;

async function main([executable]: readonly string[]): Promise<void> {
  if (executable === undefined) {
    process.stderr.write('usage: container.ts EXECUTABLE\n');
    process.exitCode = 2;
    return;
  }
  const directory = mkdtempSync(`${tmpdir()}/bench-`);
  const bundle = await Bundle.unpack(directory);
  const server = await serve(1);
  const [serverPort = 0] = server.ports;
  mkdirSync(`${directory}/config`);
  writeFileSync(`${directory}/config/proxy.yaml`, `allowlist: [{address: 127.0.0.1, port: ${serverPort}}]\n`);

  const args = (place: Place, config: string) => [
    ...[`tcp:127.0.0.1:${ports[place]}`, '127.0.0.1', `${serverPort}`],
    ...['--config', `${config}/proxy.yaml`, '-w', '20000'],
  ];
  let id = '';
  const inside: Startable<'inside'> = {
    name: 'inside',
    command: () => {
      const container = bundle.prepare({
        seccomp: OURS,
        args: ['/usr/bin/vsock-proxy', ...args('inside', '/config')],
        volumes: { '/config': `${directory}/config` },
        log: 'error',
        hostNetwork: true,
      });
      ({ id } = container);
      return container.command;
    },
    endpoint: () => `tcp:${ports.inside}`,
  };
  const withoutContainer = <N extends 'outside' | 'alone'>(name: N): Startable<N> => ({
    name,
    command: () => [executable, ...args(name, `${directory}/config`)],
    endpoint: () => `tcp:${ports[name]}`,
  });

  const lines: Line[] = [
    ['', 'unit', 'container', 'outside', 'no cgroup', 'ratio', 'goal', '', 'container: spread', 'outside: spread'],
  ];
  const running: Contender<Place>[] = [];
  try {
    running.push(await start(inside, directory, serverPort));
    const outside = await start(withoutContainer('outside'), directory, serverPort);
    running.unshift(outside); // it ends first, for runc removes the cgroup
    joinCgroups(outside.pid, await bundle.pid({ id }));
    running.push(await start(withoutContainer('alone'), directory, serverPort));
    const track = new Track(running, server.pid, fullRace);
    for (const race of races.filter((one) => !one.oneCpu)) {
      const samples = await track.run(race, places);
      for (const row of race.rows) {
        const { cells, ratio, spreads } = pairOf(row, samples.inside, samples.outside);
        const alone = decimal(median(valuesOf(samples.alone, row.figure)));
        const judged = [ratio.toFixed(2), `≥ ${goal}`, markRatio(ratio, goal)];
        lines.push([row.title, row.unit, ...cells, alone, ...judged, ...spreads]);
      }
    }
    for (const one of running.splice(0)) await one.stop();
    const times = { inside: [] as number[], alone: [] as number[] };
    for (let round = 0; round < starts; round += 1) {
      for (const relay of [inside, withoutContainer('alone')] as const) {
        const began = performance.now();
        const started = await start(relay, directory, serverPort);
        times[relay.name].push(performance.now() - began);
        await started.stop();
      }
    }
    const title = 'start until the first byte is through';
    const judged = ['', `≤ ${mostStartMs}`, markLimit(median(times.inside), mostStartMs)];
    lines.push([title, 'ms', decimal(median(times.inside)), '', decimal(median(times.alone)), ...judged]);
    process.stdout.write(`${textTable(lines)}\n`);
  } finally {
    for (const one of running) await one.stop();
    await bundle.clear();
    await server.stop();
    rmSync(directory, { recursive: true });
  }
}

/** Moves a process to where another one is counted and has its share of the CPUs. */
function joinCgroups(pid: number, other: number): void {
  const unified = existsSync('/sys/fs/cgroup/cgroup.controllers') ? '' : 'unified';
  for (const line of readFileSync(`/proc/${other}/cgroup`, 'utf8').trim().split('\n')) {
    const [, controllers = '', path = ''] = line.split(':');
    const mounted = controllers === '' ? unified : controllers.replace('name=', '');
    writeFileSync(join('/sys/fs/cgroup', mounted, path, 'cgroup.procs'), String(pid));
  }
}

await main(process.argv.slice(2));
