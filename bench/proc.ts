/** What the kernel tells of processes and their descendants, read from /proc. */
import { readdirSync, readFileSync } from 'node:fs';

/** `getconf CLK_TCK`, which is 100 on every Linux that Node runs on. */
const ticksPerSecond = 100;

/** Seconds of CPU used so far, by children that have ended too. */
export function cpuSeconds(pid: number): number {
  return (
    sumOverTree(pid, (one) => {
      // The name, field 2, may contain spaces: count from the parenthesis that ends it.
      const fields = read(`${one}/stat`)
        ?.replace(/^.*\) /s, '')
        .split(' ');
      return fields?.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0);
    }) / ticksPerSecond
  );
}

/** Seconds of CPU that the main thread has used so far, to the nanosecond. */
export function mainThreadSeconds(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'utf8').split(' ', 1)[0]) / 1e9;
}

/** Seconds that all CPUs of the machine together were busy since it was started. */
export function machineCpuSeconds(): number {
  const [, user, nice, system, , , irq, softirq] = readFileSync('/proc/stat', 'utf8').split(/\s+/, 8).map(Number);
  return [user, nice, system, irq, softirq].reduce<number>((sum, ticks) => sum + (ticks ?? 0), 0) / ticksPerSecond;
}

/**
 * Bytes of anonymous memory. What processes share is counted once, so that one process with thousands of connections
 * and many processes with one each can be compared.
 */
export function anonymousBytes(pid: number): number {
  return sumOverTree(pid, (one) => {
    const rollup = read(`${one}/smaps_rollup`);
    return rollup === undefined ? undefined : 1024 * Number(/^Pss_Anon:\s+(\d+) kB$/m.exec(rollup)?.[1]);
  });
}

/** Bytes of memory of this process alone that are resident. */
export function residentBytes(pid: number): number {
  return 1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

function sumOverTree(pid: number, figure: (pid: number) => number | undefined): number {
  const own = figure(pid);
  if (own === undefined) throw new Error(`process ${pid} has ended`);
  return descendants(pid).reduce((sum, child) => sum + (figure(child) ?? 0), own);
}

function descendants(pid: number): readonly number[] {
  const threads = ifAlive(() => readdirSync(`/proc/${pid}/task`)) ?? [];
  const children = threads.flatMap((thread) =>
    (read(`${pid}/task/${thread}/children`) ?? '').split(' ').filter(Boolean).map(Number),
  );
  return children.flatMap((child) => [child, ...descendants(child)]);
}

/** The text of a file under /proc; undefined when its process or thread has ended. */
function read(path: string): string | undefined {
  return ifAlive(() => readFileSync(`/proc/${path}`, 'utf8'));
}

function ifAlive<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH'))
      return undefined;
    throw error;
  }
}
