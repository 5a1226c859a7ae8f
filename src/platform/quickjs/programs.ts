import type { startProgram as Contract, RunningProgram, StartOptions } from '../system/programs.ts';
import { SIGNALS, systemError } from './errors.ts';
import { onSignal } from './signals.ts';

/** The streams of this process. */
const INHERITED = [0, 1, 2];

export const startProgram: typeof Contract = (program, args, { env, stdio }) => {
  const words = [program, ...args];
  const variables = Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]));
  if ([...words, ...variables].some((text) => text.includes('\0'))) {
    throw Object.assign(new TypeError('a word of the command has a NUL in it'), { code: 'ERR_INVALID_ARG_VALUE' });
  }
  return new Program(words, variables, stdio);
};

class Program implements RunningProgram {
  readonly pid: number | undefined;
  readonly #spawned: (() => void)[] = [];
  readonly #ended: ((status: number | null, signal: string | null) => void)[] = [];
  readonly #failed: ((error: Error) => void)[] = [];
  /** Its process id belongs to it; when it has ended, another process may get the id. */
  #runs = false;

  constructor(words: readonly string[], environment: readonly string[], stdio: StartOptions['stdio']) {
    const streams = INHERITED.map((own, at) => {
      const given = stdio[at];
      return typeof given === 'number' ? given : own;
    });
    onSignal('SIGCHLD', () => this.#look());
    const pid = host.startProgram(words, environment, streams);
    this.pid = pid < 0 ? undefined : pid;
    this.#runs = pid >= 0;
    queueMicrotask(() => {
      if (pid < 0) this.#fail(systemError(pid, `spawn ${words[0]}`));
      else for (const listener of this.#spawned) listener();
      this.#look();
    });
  }

  once(event: 'spawn' | 'exit', listener: (status: number | null, signal: string | null) => void): void {
    if (event === 'spawn') this.#spawned.push(() => listener(null, null));
    else this.#ended.push(listener);
  }

  on(_event: 'error', listener: (error: Error) => void): void {
    this.#failed.push(listener);
  }

  kill(signal: string): boolean {
    return this.#runs && this.pid !== undefined && host.sendSignal(this.pid, SIGNALS[signal] ?? 0) === 0;
  }

  #fail(error: Error): void {
    for (const listener of this.#failed) listener(error);
  }

  /** Whether the program has ended. */
  #look(): void {
    if (!this.#runs || this.pid === undefined || this.#ended.length === 0) return;
    const { ended, status, signal } = host.endOf(this.pid);
    if (!ended) return;
    this.#runs = false;
    const name = Object.keys(SIGNALS).find((each) => SIGNALS[each] === signal);
    for (const listener of this.#ended.splice(0)) {
      listener(signal === 0 ? status : null, signal === 0 ? null : (name ?? `${signal}`));
    }
  }
}
