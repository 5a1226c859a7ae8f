/**
 * Measures our executable in a container of runc beside the same one outside, in one run; `bench/run.sh --container` calls it.
 *
 * container.ts EXECUTABLE
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { Bundle, OURS } from '../tests/container/runc.ts';
import { type Contender, type Startable, start } from './contenders.ts';
import { markLimit, markRatio, median } from './judge.ts';
import { serve } from './load.ts';
import { fullRace, races, Track } from './race.ts';
import { decimal, type Line, pairOf, textTable } from './report.ts';

type Place = 'inside' | 'outside';

/** Those that bench/run.sh keeps from clients: the container may not have one below 1024. */
const ports = { inside: 1025, outside: 1026 };
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
  const relays: readonly Startable<Place>[] = [
    {
      name: 'inside',
      command: () =>
        bundle.prepare({
          seccomp: OURS,
          args: ['/usr/bin/vsock-proxy', ...args('inside', '/config')],
          volumes: { '/config': `${directory}/config` },
          log: 'error',
          hostNetwork: true,
        }).command,
      endpoint: () => `tcp:${ports.inside}`,
    },
    {
      name: 'outside',
      command: () => [executable, ...args('outside', `${directory}/config`)],
      endpoint: () => `tcp:${ports.outside}`,
    },
  ];

  const lines: Line[] = [
    ['', 'unit', 'container', 'outside', 'ratio', 'goal', '', 'container: spread', 'outside: spread'],
  ];
  const both: Contender<Place>[] = [];
  try {
    for (const relay of relays) both.push(await start(relay, directory, serverPort));
    const track = new Track(both, server.pid, fullRace);
    for (const race of races.filter((one) => !one.oneCpu)) {
      const samples = await track.run(race, ['inside', 'outside']);
      for (const row of race.rows) {
        const { cells, ratio, spreads } = pairOf(row, samples.inside, samples.outside);
        const judged = [ratio.toFixed(2), `≥ ${goal}`, markRatio(ratio, goal)];
        lines.push([row.title, row.unit, ...cells, ...judged, ...spreads]);
      }
    }
    await Promise.all(both.splice(0).map((one) => one.stop()));
    const times: Record<Place, number[]> = { inside: [], outside: [] };
    for (let round = 0; round < starts; round += 1) {
      for (const relay of relays) {
        const began = performance.now();
        const running = await start(relay, directory, serverPort);
        times[relay.name].push(performance.now() - began);
        await running.stop();
      }
    }
    const title = 'start until the first byte is through';
    const [inside, outside] = [median(times.inside), median(times.outside)];
    const judged = ['', `≤ ${mostStartMs}`, markLimit(inside, mostStartMs)];
    lines.push([title, 'ms', decimal(inside), decimal(outside), ...judged]);
    process.stdout.write(`${textTable(lines)}\n`);
  } finally {
    await Promise.all(both.map((one) => one.stop()));
    await bundle.clear();
    await server.stop();
    rmSync(directory, { recursive: true });
  }
}

await main(process.argv.slice(2));
