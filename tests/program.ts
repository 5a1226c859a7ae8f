import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';

/** How a program ended. */
export interface Outcome {
  /** Null when a signal ended it. */
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A child process that never outlives this one: the kernel kills it when this one dies, whatever the reason. */
export class Program {
  readonly stdin: Writable;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly command: string;
  /** Resolves when it has ended and all its output is there. */
  readonly ended: Promise<Outcome>;
  readonly #child: ChildProcess;

  constructor(command: string, args: readonly string[]) {
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', command, ...args], { stdio: 'pipe' });
    this.#child = child;
    this.command = [command, ...args].join(' ');
    this.stdin = child.stdin;
    this.stdin.on('error', ignoreBrokenPipe);
    this.stdout = new Output(child.stdout);
    this.stderr = new Output(child.stderr);
    this.ended = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (status) => resolve({ status, stdout: this.stdout.text, stderr: this.stderr.text }));
    });
  }

  /**
   * {@link ended}, within a deadline.
   * @throws Error with the output so far when `timeoutMs` pass first.
   */
  outcome(timeoutMs: number): Promise<Outcome> {
    return withDeadline(this.ended, timeoutMs, () => {
      return `still running after ${timeoutMs} ms: ${this.command}\n${this.stdout.text}${this.stderr.text}`;
    });
  }

  /** Also of the real program, where what stands in front of it executes it: env, setpriv, unshare. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    this.#child.kill(signal);
  }
}

/** What a program prints, kept from the first byte on, so that a line can be waited for before or after it came. */
export class Output {
  text = '';
  #ended = false;
  readonly #watchers = new Set<() => void>();

  constructor(source: Readable) {
    const tell = (): void => {
      for (const watcher of this.#watchers) watcher();
    };
    source.setEncoding('utf8');
    source.on('data', (chunk: string) => {
      this.text += chunk;
      tell();
    });
    source.once('close', () => {
      this.#ended = true;
      tell();
    });
  }

  /**
   * Resolves to the first match of `pattern` in all that was and will be printed; behind the first `from` characters only.
   * @throws Error with the whole output when it ends without a match, or when `timeoutMs` pass first.
   */
  match(pattern: RegExp, timeoutMs: number, from = 0): Promise<RegExpExecArray> {
    const { promise, resolve, reject } = Promise.withResolvers<RegExpExecArray>();
    const look = (): void => {
      const match = pattern.exec(from === 0 ? this.text : this.text.slice(from));
      if (match !== null) resolve(match);
      else if (this.#ended) reject(new Error(`the output ended without ${pattern}:\n${this.text}`));
    };
    this.#watchers.add(look);
    look();
    return withDeadline(promise, timeoutMs, () => `no ${pattern} within ${timeoutMs} ms in:\n${this.text}`).finally(
      () => this.#watchers.delete(look),
    );
  }
}

function withDeadline<T>(promise: Promise<T>, timeoutMs: number, message: () => string): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(message())), timeoutMs);
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** A program that ends without reading its input is judged by its status and not by that. */
function ignoreBrokenPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error;
}
