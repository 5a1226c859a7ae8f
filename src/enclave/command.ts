/** Starts the application and waits for it. */
import { VsockProxyError } from '../platform/errors.ts';
import { quoteBriefly } from '../platform/escape.ts';
import { SIGNALS, type SystemError } from '../platform/system/errors.ts';
import { type RunningProgram, type StartOptions, startProgram } from '../platform/system/programs.ts';

export type CommandLine = readonly [program: string, ...args: string[]];

/** The statuses of a shell: the command was not found, or could not be executed. */
const NOT_FOUND = 127;
const NOT_EXECUTABLE = 126;
const SIGNALLED = 128;

export interface RunningCommand {
  readonly child: RunningProgram;
  /** Its exit status, 128 + n if signal n ended it. Never rejected. */
  readonly ended: Promise<number>;
}

/** Why the command could not be started, and the exit status of a shell for that. */
export interface NotStarted {
  readonly error: VsockProxyError;
  readonly exitStatus: number;
}

export async function startCommand(
  [program, ...args]: CommandLine,
  { env, stdio }: StartOptions,
): Promise<RunningCommand | NotStarted> {
  let child: RunningProgram;
  try {
    child = startProgram(program, args, { env, stdio });
  } catch (error) {
    return explain(program, error); // Node.js throws some errors, and reports others by an event
  }
  const ended = new Promise<number>((resolve) => {
    child.once('exit', (status, signal) => {
      resolve(status ?? SIGNALLED + (signal === null ? 0 : (SIGNALS[signal] ?? 0)));
    });
  });
  const { promise: started, resolve } = Promise.withResolvers<Error | undefined>();
  child.once('spawn', () => resolve(undefined));
  child.on('error', resolve); // later errors are about signals that could not be sent
  const failure = await started;
  return failure === undefined ? { child, ended } : explain(program, failure);
}

const PATH_HINT = 'is its path right, and if it is a script, does its interpreter exist in the image?';
const HINTS: Readonly<Record<string, string>> = {
  ENOENT: PATH_HINT,
  ENOTDIR: PATH_HINT,
  EACCES: 'make it executable in the image: chmod +x',
  ENOEXEC: 'it is neither a program for this machine nor a script that begins with #!',
  E2BIG: 'its arguments and the environment together are too long: execve(2)',
};

function explain(program: string, failure: unknown): NotStarted {
  const { code = 'EIO' } = failure as SystemError;
  const hint = HINTS[code];
  const error = new VsockProxyError('argument', `The command ${quoteBriefly(program)} could not be started: ${code}`, {
    errno: code,
    cause: failure,
    ...(hint === undefined ? {} : { hint }),
  });
  return { error, exitStatus: code === 'ENOENT' ? NOT_FOUND : NOT_EXECUTABLE };
}
