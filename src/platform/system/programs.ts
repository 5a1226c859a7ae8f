/** Other programs, from node:child_process. */
import { spawn } from 'node:child_process';
import type { Environment } from '../environment.ts';

export interface RunningProgram {
  readonly pid?: number | undefined;
  kill(signal: string): boolean;
  once(event: 'spawn', listener: () => void): unknown;
  /** One of the two is null. */
  once(event: 'exit', listener: (status: number | null, signal: string | null) => void): unknown;
  /** The program could not be started, or could not be sent a signal. */
  on(event: 'error', listener: (error: Error) => void): unknown;
}

export interface StartOptions {
  readonly env: Environment;
  /** Standard input, output and error: those of this process, or descriptors. */
  readonly stdio: readonly (number | 'inherit')[];
}

/** @throws errors that are known at once; others come as an event */
export const startProgram: (program: string, args: readonly string[], options: StartOptions) => RunningProgram = (
  program,
  args,
  { env, stdio },
) => spawn(program, args, { env, stdio: [...stdio] }) as RunningProgram;
