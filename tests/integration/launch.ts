/** Starts programs so that none outlives its test, and waits for what they do. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, watch } from 'node:fs';
import { dirname } from 'node:path';

const PATIENCE_MS = 30_000;

export interface Outcome {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Launched {
  readonly pid: number;
  readonly ended: Promise<Outcome>;
  kill(signal: NodeJS.Signals): void;
  /** Resolves once the file is there. @throws Error with the program's output when it ends first. */
  hasMade(path: string): Promise<void>;
}

export interface LaunchOptions {
  /** All that it gets, beside PATH. */
  readonly env?: NodeJS.ProcessEnv;
  /** After which it is killed. */
  readonly deadlineMs?: number;
}

/** Starts a program. What stands in front of it and executes it (env, setpriv, unshare) leaves it the process id. */
export function launch(argv: readonly string[], { env, deadlineMs = PATIENCE_MS }: LaunchOptions = {}): Launched {
  // The kernel kills it when this process dies, whatever the reason.
  const child = spawn('/usr/bin/setpriv', ['--pdeathsig', 'KILL', '--', ...argv], {
    cwd: '/',
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: deadlineMs,
    killSignal: 'SIGKILL',
  });
  const ended = outcomeOf(child);
  const endedEarly = () => ended.then((outcome) => Promise.reject(new Error(JSON.stringify(outcome))));
  return {
    pid: child.pid ?? 0,
    ended,
    kill: (signal) => child.kill(signal),
    hasMade: (path) => Promise.race([appears(path), endedEarly()]),
  };
}

export function run(argv: readonly string[], options?: LaunchOptions): Promise<Outcome> {
  return launch(argv, options).ended;
}

/** In front of a program: runs it with mounts of its own, made by these shell commands. */
export function withMounts(...commands: readonly string[]): readonly string[] {
  return ['unshare', '--mount', 'sh', '-ec', [...commands, 'exec "$@"'].join('\n'), 'sh'];
}

function outcomeOf(child: ChildProcess): Promise<Outcome> {
  const output = { stdout: '', stderr: '' };
  child.stdout?.setEncoding('utf8').on('data', (text) => (output.stdout += text));
  child.stderr?.setEncoding('utf8').on('data', (text) => (output.stderr += text));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status, signal) => resolve({ status, signal, ...output }));
  });
}

function appears(path: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const look = () => existsSync(path) && resolve();
  const watcher = watch(dirname(path), look);
  const timer = setTimeout(() => reject(new Error(`${path} did not appear`)), PATIENCE_MS);
  look();
  return promise.finally(() => {
    clearTimeout(timer);
    watcher.close();
  });
}
