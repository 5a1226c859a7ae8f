/** The built programs as child processes, listening on loopback for one test. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../free-port.ts';
import { Program } from '../program.ts';

/** What is tested; another one by the environment variable VSOCK_PROXY. */
export const EXECUTABLE = process.env.VSOCK_PROXY ?? 'build/vsock-proxy';
/** Likewise by VSOCK_FORWARDER. */
export const FORWARDER = process.env.VSOCK_FORWARDER ?? 'build/vsock-forwarder';

/** Likewise by VSOCK_ENCLAVE. */
export const ENCLAVE = process.env.VSOCK_ENCLAVE ?? 'build/vsock-enclave';

const PATIENCE_MS = 30_000;

interface ProgramOptions {
  /** The family of its address; default `unix`. */
  readonly on?: 'tcp' | 'unix';
  readonly args?: readonly string[];
  /** RLIMIT_NOFILE. */
  readonly descriptors?: number;
}

export interface ProxyOptions extends ProgramOptions {
  readonly host: string;
  readonly port: number;
  /** More YAML, behind the allowlist. */
  readonly settings?: string;
  /** The allowlist; default: `host` and `port` alone. */
  readonly allowlist?: string;
}

export interface ForwarderOptions extends ProgramOptions {
  /** {@link FORWARDER}, or the executable and its command. */
  readonly program: readonly string[];
  /** Where to, in one word: `tcp:IP:PORT` or `unix:PATH`. */
  readonly to: string;
}

export interface RunningProxy {
  /** For node:net's connect. */
  readonly dial: { readonly path: string } | { readonly host: string; readonly port: number };
  /** Waits for a match in what the proxy logs. */
  logged(pattern: RegExp): Promise<RegExpExecArray>;
  readonly log: string;
  readonly program: Program;
  kill(): Promise<void>;
}

/** Starts the executable, and waits until it listens. */
export async function startProxy(options: ProxyOptions): Promise<RunningProxy> {
  const { host, port, settings = '', args = [] } = options;
  const { allowlist = `[{address: ${host}, port: ${port}}]` } = options;
  return await start(options, (listenOn, directory) => {
    const config = join(directory, 'config.yaml');
    writeFileSync(config, `allowlist: ${allowlist}\n${settings}\n`);
    return [EXECUTABLE, listenOn, host, `${port}`, '--config', config, ...args];
  });
}

/** Starts a forwarder, and waits until it listens. */
export async function startForwarder(options: ForwarderOptions): Promise<RunningProxy> {
  const { program, args = [], to } = options;
  return await start(options, (listenOn) => [...program, ...args, listenOn, to]);
}

async function start(
  { on = 'unix', descriptors }: ProgramOptions,
  command: (listenOn: string, directory: string) => readonly string[],
): Promise<RunningProxy> {
  const directory = mkdtempSync(join(tmpdir(), 'vsock-proxy-test-'));
  const path = join(directory, 'proxy.sock');
  const port = on === 'tcp' ? await freePort() : 0;
  const listenOn = on === 'tcp' ? `tcp:127.0.0.1:${port}` : `unix:${path}`;
  const limit = descriptors === undefined ? [] : ['prlimit', `--nofile=${descriptors}`];
  const program = new Program('env', ['RUST_LOG=info', ...limit, ...command(listenOn, directory)]);
  await program.stderr.match(/Proxy is now in listening state/, PATIENCE_MS);
  return {
    dial: on === 'tcp' ? { host: '127.0.0.1', port } : { path },
    logged: (pattern) => program.stderr.match(pattern, PATIENCE_MS),
    get log() {
      return program.stderr.text;
    },
    program,
    async kill() {
      program.kill();
      await program.ended;
      rmSync(directory, { recursive: true });
    },
  };
}
