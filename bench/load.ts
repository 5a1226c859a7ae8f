/** The load generator as functions: one call, one measurement. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline/promises';
import { promisify } from 'node:util';

/** Figures by name, as bench/load/main.cc prints them. */
export type Figures = Readonly<Record<string, number>>;

type Address = `unix:${string}` | `tcp:${number}`;
/** `unix:PATH` or `tcp:PORT`, the latter on 127.0.0.1; and what clients say first there: bench/load/prelude.h. */
export type Endpoint =
  | Address
  | `${Address},${'connect' | 'connect-fresh' | 'denied' | 'get'}=${string}:${number}`
  | `${Address},hello=${string}`;

const program = new URL('../build/bench/load', import.meta.url).pathname;
/** The generator gives up by itself much earlier. */
const deadlineMs = 240_000;
/** What a connection may take to open, where an emulated machine opens very many. */
const openMs = 60;

/**
 * @param cpuList the CPUs that it may run on, as in taskset(1)
 * @throws with the generator's own words when it could not measure or a promise was broken.
 */
export async function measure(args: readonly string[], cpuList?: string): Promise<Figures> {
  const command = cpuList === undefined ? [program, ...args] : ['taskset', '--cpu-list', cpuList, program, ...args];
  const [file = program, ...rest] = command;
  const { stdout } = await promisify(execFile)(file, rest, { timeout: deadlineMs }).catch((error: unknown) => {
    const stderr = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
    throw new Error(stderr === '' ? `load ${args.join(' ')} failed` : stderr, { cause: error });
  });
  return JSON.parse(stdout) as Figures;
}

export interface LoadServer {
  readonly pid: number;
  readonly ports: readonly number[];
  stop(): Promise<void>;
}

/** A command with another limit of descriptors than that of the benchmark; to raise it takes root. */
export function withDescriptors(count: number, command: readonly string[]): [string, ...string[]] {
  return ['prlimit', `--nofile=${count}`, '--', ...command];
}

/** Starts a server with that many ports. */
export async function serve(listeners: number, descriptors?: number): Promise<LoadServer> {
  const [file, ...args] = limited([program, 'serve', String(listeners)], descriptors);
  const process = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const { ports } = JSON.parse(await nextLine(process)) as { readonly ports: readonly number[] };
  return { pid: pidOf(process), ports, stop: () => end(process) };
}

/** Opens that many connections, proves each alive, runs `whileOpen`, proves them alive again and closes them. */
export async function holdOpen<T>(
  endpoint: Endpoint,
  connections: number,
  whileOpen: () => T | Promise<T>,
  descriptors?: number,
): Promise<T> {
  const [file, ...args] = limited([program, 'idle', endpoint, String(connections)], descriptors);
  const timeout = deadlineMs + openMs * connections;
  const process = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'], timeout });
  await nextLine(process);
  const result = await whileOpen();
  const ended = once(process, 'exit');
  process.stdin.end('\n');
  const [status] = await ended;
  if (status !== 0) throw new Error(`not all of ${connections} idle connections were alive in the end`);
  return result;
}

function limited(command: [string, ...string[]], descriptors: number | undefined): [string, ...string[]] {
  return descriptors === undefined ? command : withDescriptors(descriptors, command);
}

/** Ends a child process with SIGTERM and waits for it. */
export async function end(process: ChildProcess): Promise<void> {
  if (process.exitCode !== null || process.signalCode !== null) return;
  const ended = once(process, 'exit');
  process.kill('SIGTERM');
  await ended;
}

export function pidOf(process: ChildProcess): number {
  if (process.pid === undefined) throw new Error(`${process.spawnfile} could not be started`);
  return process.pid;
}

async function nextLine(process: ChildProcess): Promise<string> {
  if (process.stdout === null) throw new Error('standard output is not a pipe');
  for await (const line of createInterface({ input: process.stdout })) return line;
  throw new Error(`${process.spawnargs.join(' ')} ended without an answer`);
}
