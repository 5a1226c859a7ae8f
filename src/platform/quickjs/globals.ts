/** Adds globals that the enclave's side needs and the language lacks. It is loaded before everything else. */
import { Bytes } from './bytes.ts';
import './host.ts';

const BOM = '\ufeff';

/** Only strict UTF-8 is used. */
class StrictDecoder {
  decode(bytes: Uint8Array): string {
    if (!host.isUtf8(bytes)) throw new TypeError('The encoded data was not valid for encoding utf-8');
    const text = host.decode(bytes);
    return text.startsWith(BOM) ? text.slice(BOM.length) : text;
  }
}

class Signal {
  aborted = false;
  reason: unknown;
  readonly #listeners = new Set<() => void>();

  addEventListener(_event: 'abort', listener: () => void): void {
    this.#listeners.add(listener);
  }

  removeEventListener(_event: 'abort', listener: () => void): void {
    this.#listeners.delete(listener);
  }

  throwIfAborted(): void {
    if (this.aborted) throw this.reason;
  }

  abort(reason: unknown): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    for (const listener of this.#listeners) listener();
  }
}

class Controller {
  readonly signal = new Signal();

  abort(reason: unknown = new Error('This operation was aborted')): void {
    this.signal.abort(reason);
  }
}

interface Repeated {
  /** No timer keeps this process alive. */
  unref(): Repeated;
  stop(): void;
}

function repeat(fire: () => void, ms: number): Repeated {
  let timer: number;
  const again = () => {
    timer = host.setTimer(ms, () => {
      again();
      fire();
    });
  };
  again();
  const repeated = { unref: () => repeated, stop: () => host.clearTimer(timer) };
  return repeated;
}

const env: Record<string, string> = {};
for (const variable of host.environment) {
  const at = variable.indexOf('=');
  if (at > 0) env[variable.slice(0, at)] ??= variable.slice(at + 1);
}

// commander requires it.
Object.assign(Error, { captureStackTrace: () => undefined });

Object.assign(globalThis, {
  Buffer: Bytes,
  TextDecoder: StrictDecoder,
  AbortController: Controller,
  performance: { now: () => host.now() },
  setTimeout: (fire: (...args: unknown[]) => void, ms = 0, ...args: unknown[]) =>
    host.setTimer(ms, args.length === 0 ? fire : () => fire(...args)),
  clearTimeout: (id: number | undefined) => id !== undefined && host.clearTimer(id),
  setInterval: repeat,
  clearInterval: (repeated: Repeated) => repeated.stop(),
  setImmediate: (fire: () => void) => host.setTimer(0, fire),
  queueMicrotask: (task: () => void) => void Promise.resolve().then(task),
  // The properties that commander, yaml and observe/ read.
  process: {
    env,
    argv: host.words,
    pid: host.processId,
    platform: 'linux',
    versions: {},
    execArgv: [],
    stdout: {},
    stderr: {},
  },
});
