/**
 * Measures an executable beside an earlier one in one run; `bench/run.sh --before EARLIER` calls it.
 *
 * compare.ts EXECUTABLE EARLIER
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { type Contender, type Startable, start } from './contenders.ts';
import { contests, ourRelays } from './decisions.ts';
import { serve } from './load.ts';
import { type Course, fullRace, type Measure, races, Track } from './race.ts';
import { type Line, pairOf, textTable } from './report.ts';

/** Where the two listen on TCP. */
const ports = [803, 804] as const;

interface Heat extends Course {
  readonly rows: readonly Measure[];
}

/** What is run with a relay of that name. */
function heats(name: string): readonly Heat[] {
  if (name === 'fixed') return races;
  return contests.flatMap(({ duels, ...course }) => {
    const rows = duels.filter(({ ours }) => ours === name);
    return rows.length === 0 ? [] : [{ ...course, rows }];
  });
}

async function main([executable, earlier]: readonly string[]): Promise<void> {
  if (executable === undefined || earlier === undefined) {
    process.stderr.write('usage: compare.ts EXECUTABLE EARLIER\n');
    process.exitCode = 2;
    return;
  }
  const directory = mkdtempSync(`${tmpdir()}/bench-`);
  const server = await serve(1);
  const [serverPort = 0] = server.ports;
  const before = ourRelays(earlier, ports[1]);
  const lines: Line[] = [['', 'unit', 'now', 'before', 'ratio', 'now: spread', 'before: spread']];
  try {
    for (const [index, relay] of ourRelays(executable, ports[0]).entries()) {
      const both: Contender<'now' | 'before'>[] = [];
      const enter = async (name: 'now' | 'before', { command, endpoint }: Startable<string>) => {
        both.push(await start({ name, command, ...(endpoint && { endpoint }) }, directory, serverPort));
      };
      try {
        await enter('now', relay);
        await enter('before', before[index] ?? relay);
        const track = new Track(both, server.pid, fullRace);
        for (const heat of heats(relay.name)) {
          const samples = await track.run(heat, ['now', 'before']);
          for (const row of heat.rows) {
            const { cells, ratio, spreads } = pairOf(row, samples.now, samples.before);
            const line = [row.title, row.unit, ...cells, ratio.toFixed(2), ...spreads];
            process.stderr.write(`${line.join(', ')}\n`);
            lines.push(line);
          }
        }
      } finally {
        await Promise.all(both.map((one) => one.stop()));
      }
    }
    process.stdout.write(`${textTable(lines)}\n`);
  } finally {
    await server.stop();
    rmSync(directory, { recursive: true });
  }
}

await main(process.argv.slice(2));
