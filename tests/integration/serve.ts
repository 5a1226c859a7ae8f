/** `vsock-proxy serve` of the built executable as a child process, for one test. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Outcome, Program } from '../program.ts';
import { EXECUTABLE } from './proxy.ts';

const PATIENCE_MS = 30_000;

export interface ServeOptions {
  /** RLIMIT_NOFILE. */
  readonly descriptors?: number;
  /** RUST_LOG; default `info`. */
  readonly log?: string;
  /** In front of the executable, which it has to execute in its place. */
  readonly prefix?: readonly string[];
}

export interface RunningServe extends AsyncDisposable {
  readonly pid: number;
  readonly configPath: string;
  /** All that it has logged. */
  readonly log: string;
  /** Waits for a match in what it logs; `from`: only in what stands behind this offset of the log. */
  logged(pattern: RegExp, from?: number): Promise<RegExpExecArray>;
  /**
   * Writes another file, sends SIGHUP, and waits until the reload has ended.
   * @returns what the log says of it, without time and level
   */
  reload(yaml: string): Promise<string>;
  /** SIGTERM, until it has ended. */
  stop(): Promise<Outcome>;
  /** Memory of its own, in KiB. */
  rssAnon(): number;
  /** How many descriptors are open. */
  descriptors(): number;
}

/** Starts the executable with this configuration, and waits until it listens. */
export async function startServe(yaml: string, options: ServeOptions = {}): Promise<RunningServe> {
  const { descriptors, log = 'info', prefix = [] } = options;
  const directory = mkdtempSync(join(tmpdir(), 'vsock-proxy-serve-'));
  const configPath = join(directory, 'config.yaml');
  writeFileSync(configPath, yaml);
  const limit = descriptors === undefined ? [] : ['prlimit', `--nofile=${descriptors}`];
  const command = [...limit, ...prefix, EXECUTABLE, 'serve', '--config', configPath];
  const program = new Program('env', [`RUST_LOG=${log}`, ...command]);
  const { stderr } = program;
  const proxy: RunningServe = {
    pid: program.pid,
    configPath,
    get log() {
      return stderr.text;
    },
    logged: (pattern, from) => stderr.match(pattern, PATIENCE_MS, from),
    async reload(text) {
      writeFileSync(configPath, text);
      const from = stderr.text.length;
      program.kill('SIGHUP');
      const [, outcome = ''] = await stderr.match(/\] (Reload(?:ed:| failed).*)\n/, PATIENCE_MS, from);
      return outcome;
    },
    stop() {
      program.kill('SIGTERM');
      return program.outcome(PATIENCE_MS);
    },
    rssAnon: () => Number(/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${program.pid}/status`, 'utf8'))?.[1]),
    descriptors: () => readdirSync(`/proc/${program.pid}/fd`).length,
    async [Symbol.asyncDispose]() {
      program.kill();
      await program.ended;
      rmSync(directory, { recursive: true });
    },
  };
  await stderr.match(/Proxy is now in listening state/, PATIENCE_MS).catch(async (error: unknown) => {
    await proxy[Symbol.asyncDispose]();
    throw error;
  });
  return proxy;
}
