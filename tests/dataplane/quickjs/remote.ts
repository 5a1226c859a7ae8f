/** The data plane of QuickJS, which runs in another process, with the interface of one in this process. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { DataPlane, DataPlaneEvents } from '../../../src/dataplane/contract.ts';
import { type ErrorCode, VsockProxyError } from '../../../src/platform/errors.ts';
import { type Answer, decode, type EventMessage, encode } from '../../wire.ts';

export const DATAPLANE_QUICKJS = 'build/dataplane-quickjs';

/** Like `openDataPlane`. Calls are synchronous, as the contract requires. */
export function openRemoteDataPlane(events: DataPlaneEvents, { threads }: { readonly threads: number }): DataPlane {
  const remote = new Remote(threads, (message) => {
    if ('event' in message) Reflect.apply(events[message.event as keyof DataPlaneEvents], events, [message.args]);
  });
  return {
    listen: (spec) => remote.call('listen', spec) as ReturnType<DataPlane['listen']>,
    setUpstream: (listener, addresses) => void remote.call('setUpstream', listener, addresses),
    decide: (connection, decision) => void remote.call('decide', connection, decision),
    closeListener: (listener) => void remote.call('closeListener', listener),
    forget: (listener) => void remote.call('forget', listener),
    drain: (deadlineMs) => remote.promise<number>('drain', deadlineMs),
    counters: () => remote.call('counters') as ReturnType<DataPlane['counters']>,
    clients: () => remote.call('clients') as ReturnType<DataPlane['clients']>,
    connections: () => remote.promise('connections'),
    threadSeconds: () => remote.call('threadSeconds') as readonly number[],
    beat: () => remote.call('beat') as boolean,
    stop: () => remote.stop(),
  };
}

class Remote {
  readonly #child: ChildProcess;
  readonly #calls: number;
  readonly #answers: number;
  readonly #waiting = new Map<number, (value: unknown) => void>();
  #called = 0;
  #stopped = false;

  constructor(threads: number, onEvent: (message: EventMessage) => void) {
    const directory = mkdtempSync(join(tmpdir(), 'vsock-proxy-dataplane-'));
    const pipes = ['calls', 'answers'].map((name) => join(directory, name));
    execFileSync('mkfifo', pipes);
    const [calls = -1, answers = -1] = pipes.map((path) => openSync(path, constants.O_RDWR));
    rmSync(directory, { recursive: true });
    this.#calls = calls;
    this.#answers = answers;
    const argv = ['--pdeathsig', 'KILL', '--', DATAPLANE_QUICKJS, `${threads}`];
    this.#child = spawn('setpriv', argv, { stdio: ['ignore', 'pipe', 'inherit', calls, answers] });
    createInterface({ input: this.#child.stdout as Readable }).on('line', (line) => {
      const message = decode(line) as EventMessage;
      if (this.#stopped) return;
      if ('settled' in message) this.#waiting.get(message.settled)?.(message.value);
      onEvent(message);
    });
  }

  /** @throws VsockProxyError the error of the data plane */
  call(name: string, ...args: readonly unknown[]): unknown {
    if (this.#stopped) throw new VsockProxyError('internal', 'The data plane has been stopped');
    writeSync(this.#calls, encode({ call: name, args }));
    this.#called += 1;
    const answer = decode(this.#readLine()) as Answer;
    if (!('error' in answer)) return answer.value;
    const { code, message, errno } = answer.error;
    throw new VsockProxyError(code as ErrorCode, message, { ...(errno !== undefined && { errno }) });
  }

  promise<T>(name: string, ...args: readonly unknown[]): Promise<T> {
    const number = this.#called;
    const { promise, resolve } = Promise.withResolvers<T>();
    this.#waiting.set(number, (value) => resolve(value as T));
    this.call(name, ...args);
    return promise;
  }

  stop(): void {
    if (this.#stopped) return;
    this.call('stop');
    this.#stopped = true;
    this.#child.kill('SIGKILL');
    closeSync(this.#calls);
    closeSync(this.#answers);
  }

  #readLine(): string {
    const block = Buffer.alloc(64 * 1024);
    let text = '';
    while (!text.endsWith('\n')) text += block.toString('utf8', 0, readSync(this.#answers, block));
    return text;
  }
}
