/** Signals of this process, passed on to its command. */
import type { ChildProcess } from 'node:child_process';
import { constants } from 'node:os';

/** What people send to a program, and what it may have a meaning for. */
const PASSED = [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGUSR1',
  'SIGUSR2',
  'SIGTERM',
  'SIGCONT',
  'SIGWINCH',
] as const satisfies readonly NodeJS.Signals[];

/** Those that end a program which has no other wish. */
const ENDING: readonly string[] = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM'];
/** A terminal sends them to the whole foreground itself, the command too. */
const OF_TERMINALS: readonly string[] = ['SIGINT', 'SIGQUIT', 'SIGWINCH'];

/** As much of `process` as this takes. */
export interface SignalSource {
  on(signal: NodeJS.Signals, listener: () => void): unknown;
  exit(exitStatus: number): void;
}

export interface SignalPassing {
  /**
   * From now on signals are for the command.
   * @param onChildEnd called whenever any child has ended
   */
  passTo(command: Pick<ChildProcess, 'kill'>, onChildEnd: () => void): void;
}

/**
 * Takes signals from now on: the first process of an enclave gets none that it has not asked for. Until there is a
 * command, those that end programs end this one.
 * @param hasTerminal whether standard input is a terminal
 */
export function takeSignals(source: SignalSource, hasTerminal: boolean): SignalPassing {
  let command: Pick<ChildProcess, 'kill'> | undefined;
  for (const signal of PASSED) {
    source.on(signal, () => {
      if (command === undefined) {
        if (ENDING.includes(signal)) source.exit(128 + constants.signals[signal]);
      } else if (!(hasTerminal && OF_TERMINALS.includes(signal))) {
        command.kill(signal);
      }
    });
  }
  return {
    passTo(child, onChildEnd) {
      command = child;
      source.on('SIGCHLD', onChildEnd);
    },
  };
}
