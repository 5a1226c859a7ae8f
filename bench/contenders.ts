/** The measured programs, and how each is started: from a unix socket to a port of 127.0.0.1. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import type { Name } from './judge.ts';
import { type Endpoint, end, measure, pidOf } from './load.ts';

/** Where a proxy listens, where it connects to, and the directory for its files. */
export interface Place {
  readonly socket: string;
  readonly port: number;
  readonly directory: string;
}

/** How a proxy is started. */
export interface Startable<N extends string> {
  readonly name: N;
  readonly command: (place: Place) => readonly [string, ...string[]];
  /** Where clients meet it, if not simply on its unix socket. */
  readonly endpoint?: (place: Place) => Endpoint;
}

export interface Relay extends Startable<Exclude<Name, 'direct'>> {
  /** The most connections that it can hold open with the descriptors and processes of a usual machine. */
  readonly capacity: number;
}

/** How many ours may have. */
export const connections = 20_000;

const socat: Relay = {
  name: 'socat',
  capacity: 300, // each is a process
  command: ({ socket, port }) => [
    '/usr/bin/socat',
    ...['-b', '262144'],
    `UNIX-LISTEN:${socket},fork,backlog=4096`,
    `TCP:127.0.0.1:${port}`,
  ],
};

const socketProxyd: Relay = {
  name: 'systemd-socket-proxyd',
  capacity: 3000, // each has two sockets and two pipes: six descriptors
  // The activator becomes the proxy at the first connection, so it is the same process.
  command: ({ socket, port }) => [
    '/usr/bin/systemd-socket-activate',
    `--listen=${socket}`,
    '/lib/systemd/systemd-socket-proxyd',
    `--connections-max=${connections}`,
    `127.0.0.1:${port}`,
  ],
};

const haproxy: Relay = {
  name: 'HAProxy',
  capacity: 9300,
  command: (place) => haproxyCommand(place, '  default_backend servers'),
};

/**
 * It does not start unless its connections, 9,300, and pipes, 200, fit into the descriptors that it may have.
 * @param choice lines of the frontend: which clients go to the backend `servers`
 */
export function haproxyCommand({ socket, port, directory }: Place, choice: string): [string, ...string[]] {
  const file = `${directory}/haproxy.cfg`;
  writeFileSync(
    file,
    `global
  nbthread 2
  tune.bufsize 262144
  maxconn 9300
  maxpipes 200
defaults
  mode tcp
  option splice-auto
  timeout connect 10s
  timeout client 1h
  timeout server 1h
frontend clients
  bind unix@${socket} backlog 4096
${choice}
backend servers
  server server 127.0.0.1:${port}
`,
  );
  return ['/usr/sbin/haproxy', '-db', '-q', '-f', file];
}

/**
 * @param entries of its allowlist: the server, and names that no client requests
 * @param more lines of its file
 */
export function vsockProxy(executable: string, { entries = 1, more = '' } = {}): Relay {
  return {
    name: 'vsock-proxy',
    capacity: connections,
    command: ({ socket, port, directory }) => {
      const file = `${directory}/allowlist.yaml`;
      const others = Array.from(
        { length: entries - 1 },
        (_, index) => `  - {address: host-${index}.example.com, port: 443}\n`,
      );
      writeFileSync(file, `allowlist:\n  - {address: 127.0.0.1, port: ${port}}\n${others.join('')}${more}`);
      return [executable, `unix:${socket}`, '127.0.0.1', String(port), '--config', file, '-w', String(connections)];
    },
  };
}

export function relays(executable: string): readonly Relay[] {
  return [vsockProxy(executable), socat, socketProxyd, haproxy];
}

/** One line for each proxy. */
export function versions(executable: string): readonly string[] {
  const first = (command: string, ...args: string[]) =>
    execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).split('\n');
  return [
    first(executable, '--version')[0] ?? '',
    (first('/usr/bin/socat', '-V')[1] ?? '').replace(/ on .*/, ''),
    first('/lib/systemd/systemd-socket-proxyd', '--version')[0] ?? '',
    first('/usr/sbin/haproxy', '-v')[0] ?? '',
    first('/usr/bin/tinyproxy', '-v')[0] ?? '',
    first('/usr/sbin/squid', '-v')[0] ?? '',
    spawnSync('/usr/sbin/nginx', ['-v'], { encoding: 'utf8' }).stderr.trim(),
  ];
}

/** Who takes part in a race: a proxy that runs, or the way without one. */
export interface Contender<N extends string = Name> {
  readonly name: N;
  readonly endpoint: Endpoint;
  /** Absent without a proxy. */
  readonly pid?: number;
  /** What goes on beside each of its rounds. */
  readonly beside?: () => Promise<unknown>;
  stop(): Promise<void>;
}

export type RunningRelay<N extends string = Name> = Contender<N> & { readonly pid: number };

/** The limit of what a proxy can reach. */
export function direct(port: number): Contender {
  return { name: 'direct', endpoint: `tcp:${port}`, stop: () => Promise.resolve() };
}

/** Starts a proxy and proves that a byte comes and goes. */
export async function start<N extends string>(
  relay: Startable<N>,
  directory: string,
  port: number,
): Promise<RunningRelay<N>> {
  const { command, endpoint } = prepare(relay, directory, port);
  const [program, ...args] = command;
  const process = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  try {
    await measure(['await', endpoint]);
  } catch (error) {
    await end(process);
    throw new Error(`${relay.name} did not start`, { cause: error });
  }
  return { name: relay.name, endpoint, pid: pidOf(process), stop: () => end(process) };
}

/** A place of its own under `directory` for one run of a proxy, the command for it, and where clients meet it. */
export function prepare(relay: Startable<string>, directory: string, port: number) {
  const own = mkdtempSync(`${directory}/`);
  const place: Place = { socket: `${own}/socket`, port, directory: own };
  const endpoint: Endpoint = relay.endpoint?.(place) ?? `unix:${place.socket}`;
  return { endpoint, command: relay.command(place) };
}
