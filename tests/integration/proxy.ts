/** The built executable as a child process, listening on loopback for one test. */

import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Program } from '../program.ts';

/** What is tested; another one by the environment variable VSOCK_PROXY. */
export const EXECUTABLE = process.env.VSOCK_PROXY ?? 'build/vsock-proxy';

const PATIENCE_MS = 30_000;

export interface ProxyOptions {
  readonly host: string;
  readonly port: number;
  /** What it listens on; `unix` unless told. */
  readonly on?: string;
  readonly args?: readonly string[];
  /** More YAML, behind the allowlist. */
  readonly settings?: string;
  /** The allowlist; `host` and `port` alone unless told. */
  readonly allowlist?: string;
  /** RLIMIT_NOFILE. */
  readonly descriptors?: number;
}

export interface RunningProxy {
  /** For node:net's connect. */
  readonly dial: { readonly path: string } | { readonly host: string; readonly port: number };
  /** Waits for a match in what the proxy logs. */
  logged(pattern: RegExp): Promise<RegExpExecArray>;
  readonly log: string;
  kill(): Promise<void>;
}

/** Starts the executable, and waits until it listens. */
export async function startProxy(options: ProxyOptions): Promise<RunningProxy> {
  const { host, port, settings = '', args = [], descriptors } = options;
  const { allowlist = `[{address: ${host}, port: ${port}}]` } = options;
  const directory = mkdtempSync(join(tmpdir(), 'vsock-proxy-test-'));
  const config = join(directory, 'config.yaml');
  writeFileSync(config, `allowlist: ${allowlist}\n${settings}\n`);
  const path = join(directory, 'proxy.sock');
  const listenPort = options.on === 'tcp' ? await freePort() : 0;
  const listenOn = options.on === 'tcp' ? `tcp:127.0.0.1:${listenPort}` : `unix:${path}`;
  const command = [EXECUTABLE, listenOn, host, `${port}`, '--config', config, ...args];
  const limit = descriptors === undefined ? [] : ['prlimit', `--nofile=${descriptors}`];
  const program = new Program('env', ['RUST_LOG=info', ...limit, ...command]);
  await program.stderr.match(/Proxy is now in listening state/, PATIENCE_MS);
  return {
    dial: options.on === 'tcp' ? { host: '127.0.0.1', port: listenPort } : { path },
    logged: (pattern) => program.stderr.match(pattern, PATIENCE_MS),
    get log() {
      return program.stderr.text;
    },
    async kill() {
      program.kill();
      await program.ended;
      rmSync(directory, { recursive: true });
    },
  };
}

/** A port of loopback that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}
