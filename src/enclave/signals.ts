/** Passes signals of this process on to its command. */
import { SIGNALS } from '../platform/system/errors.ts';
import { readFileSync } from '../platform/system/files.ts';
import type { RunningProgram } from '../platform/system/programs.ts';

/** Signals that users send to a program, or that may have a meaning for it. */
const PASSED = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGTERM', 'SIGCONT', 'SIGWINCH'] as const;

type PassedSignal = (typeof PASSED)[number];

/** Signals that end a program by default. */
const ENDING: readonly string[] = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM'];
/** Signals that a terminal sends to all processes in its foreground, and so to the command itself. */
const OF_TERMINALS: readonly string[] = ['SIGINT', 'SIGQUIT', 'SIGWINCH'];

/** The part of `process` that this code uses. */
export interface SignalSource {
  on(signal: PassedSignal | 'SIGCHLD', listener: () => void): unknown;
  exit(exitStatus: number): void;
}

export interface SignalPassing {
  /**
   * From now on signals go to the command.
   * @param onChildEnd called whenever any child has ended
   */
  passTo(command: Pick<RunningProgram, 'kill'>, onChildEnd: () => void): void;
}

/**
 * Takes signals from now on, because the first process of an enclave gets only signals for which it has a handler.
 * Until there is a command, the signals that end programs end this one.
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
    return false; // without /proc the answer is unknown
  }
}

/** @param stat the text of /proc/PID/stat: proc_pid_stat(5) */
export function isForeground(stat: string): boolean {
  const [, , group, , terminal = '0', foreground] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return terminal !== '0' && group === foreground;
}
