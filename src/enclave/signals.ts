/** Signals of this process, passed on to its command. */
import { SIGNALS } from '../platform/system/errors.ts';
import { readFileSync } from '../platform/system/files.ts';
import type { RunningProgram } from '../platform/system/programs.ts';

/** What people send to a program, and what it may have a meaning for. */
const PASSED = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGTERM', 'SIGCONT', 'SIGWINCH'] as const;

type PassedSignal = (typeof PASSED)[number];

/** Those that end a program which has no other wish. */
const ENDING: readonly string[] = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM'];
/** A terminal sends them to all that is in its foreground, and so to the command itself. */
const OF_TERMINALS: readonly string[] = ['SIGINT', 'SIGQUIT', 'SIGWINCH'];

/** As much of `process` as this takes. */
export interface SignalSource {
  on(signal: PassedSignal | 'SIGCHLD', listener: () => void): unknown;
  exit(exitStatus: number): void;
}

export interface SignalPassing {
  /**
   * From now on signals are for the command.
   * @param onChildEnd called whenever any child has ended
   */
  passTo(command: Pick<RunningProgram, 'kill'>, onChildEnd: () => void): void;
}

/**
 * Takes signals from now on: the first process of an enclave gets none that it has not asked for. Until there is a
 * command, those that end programs end this one.
 * @param isInForeground whether this process is in the foreground of a terminal now
 */
export function takeSignals(source: SignalSource, isInForeground: () => boolean): SignalPassing {
  let command: Pick<RunningProgram, 'kill'> | undefined;
  for (const signal of PASSED) {
    source.on(signal, () => {
      if (command === undefined) {
        if (ENDING.includes(signal)) source.exit(128 + (SIGNALS[signal] ?? 0));
      } else if (!(OF_TERMINALS.includes(signal) && isInForeground())) {
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

/** Whether this process is in the foreground of its terminal. */
export function isInForeground(): boolean {
  try {
    return isForeground(readFileSync('/proc/self/stat', 'latin1'));
  } catch {
    return false; // without /proc nobody can tell
  }
}

/** @param stat what /proc/PID/stat has: proc_pid_stat(5) */
export function isForeground(stat: string): boolean {
  const [, , group, , terminal = '0', foreground] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return terminal !== '0' && group === foreground;
}
