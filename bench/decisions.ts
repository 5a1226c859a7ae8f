/** Proxies whose clients name their server: how they are started, and what is compared. */
import { writeFileSync } from 'node:fs';
import { connections, haproxyCommand, type Place, type Startable, vsockProxy } from './contenders.ts';
import { type Course, type Direction, type Measure, transfer, visits } from './race.ts';

/** Ours by its routes, including a fixed one without decision requests, and two peers. */
export const decisionNames = ['fixed', 'CONNECT', 'SNI', 'CONNECT over TCP', 'tinyproxy', 'HAProxy'] as const;
export type DecisionName = (typeof decisionNames)[number];

/** The name in a ClientHello. Its address is known without a DNS query. */
const SERVER_NAME = 'localhost';

/** Below the ports that clients' own ends are given: bench/run.sh. */
const OUR_PORT = 801;
const TINYPROXY_PORT = 802;

export function decisionRelays(executable: string): readonly Startable<DecisionName>[] {
  return [...ourRelays(executable, OUR_PORT), tinyproxy, haproxy];
}

/** @param tcpPort where the one listens that clients reach over TCP */
export function ourRelays(executable: string, tcpPort: number): readonly Startable<DecisionName>[] {
  const listener = (place: Place, address: string, rest: string) =>
    serveCommand(executable, place, `{listen: "${address}", ${rest}}`);
  return [
    { ...vsockProxy(executable), name: 'fixed' },
    {
      name: 'CONNECT',
      command: (place) => listener(place, `unix:${place.socket}`, 'route: http'),
      endpoint: ({ socket, port }) => `unix:${socket},connect=127.0.0.1:${port}`,
    },
    {
      name: 'SNI',
      command: (place) => listener(place, `unix:${place.socket}`, `route: sni, port: ${place.port}`),
      endpoint: ({ socket }) => `unix:${socket},hello=${SERVER_NAME}`,
    },
    {
      name: 'CONNECT over TCP',
      command: (place) => serveHttp(executable, place, tcpPort),
      endpoint: ({ port }) => `tcp:${tcpPort},connect=127.0.0.1:${port}`,
    },
  ];
}

/** With one listener, an HTTP proxy on this port. */
export function serveHttp(executable: string, place: Place, port: number): [string, ...string[]] {
  return serveCommand(executable, place, `{listen: "tcp:127.0.0.1:${port}", route: http}`);
}

export function serveCommand(executable: string, { port, directory }: Place, listener: string): [string, ...string[]] {
  const file = `${directory}/vsock-proxy.yaml`;
  const allowed = ['127.0.0.1', SERVER_NAME].map((address) => `  - {address: ${address}, port: ${port}}\n`);
  writeFileSync(file, fileText(listener, allowed.join('')));
  return [executable, 'serve', '--config', file];
}

/** @param allowlist its lines */
export function fileText(listener: string, allowlist: string): string {
  return `listeners:\n  - ${listener}\nallowlist:\n${allowlist}limits: {connections: ${connections}}\n`;
}

/** It listens on TCP only. */
const tinyproxy: Startable<DecisionName> = {
  name: 'tinyproxy',
  command: (place) => tinyproxyCommand(place, TINYPROXY_PORT),
  endpoint: ({ port }) => `tcp:${TINYPROXY_PORT},connect=127.0.0.1:${port}`,
};

export function tinyproxyCommand({ directory }: Place, port: number): [string, ...string[]] {
  const file = `${directory}/tinyproxy.conf`;
  const text = `Listen 127.0.0.1\nPort ${port}\nMaxClients ${connections}\nTimeout 3600\nLogLevel Critical\n`;
  writeFileSync(file, text);
  return ['/usr/bin/tinyproxy', '-d', '-c', file];
}

/** Only clients that give the name are passed on. */
const haproxy: Startable<DecisionName> = {
  name: 'HAProxy',
  command: (place) =>
    haproxyCommand(
      place,
      `  tcp-request inspect-delay 10s
  tcp-request content accept if { req_ssl_hello_type 1 }
  use_backend servers if { req_ssl_sni -i ${SERVER_NAME} }`,
    ),
  endpoint: ({ socket }) => `unix:${socket},hello=${SERVER_NAME}`,
};

/** One of ours beside another contender. */
export interface Duel<N extends string = DecisionName> extends Measure {
  readonly ours: N;
  readonly beside: N;
  /** The least ratio; absent: whatever it costs. */
  readonly goal?: number;
}

/** A course that ours and a peer run in turns. */
export interface Contest<N extends string = DecisionName> extends Course {
  readonly ours: readonly N[];
  /** Absent where ours are compared with each other. */
  readonly peer?: N;
  readonly duels: readonly Duel<N>[];
}

function visit(ours: DecisionName, beside: DecisionName, goal?: number): readonly Duel[] {
  const rate = { title: `${ours}, 8 clients`, unit: '/s', figure: 'perSecond', better: 'higher' } as const;
  const time = { title: `${ours}, time of 99 %`, unit: 'µs', figure: 'p99Micros', better: 'lower' } as const;
  const cost = { title: `${ours}, processor time each`, unit: 'µs', figure: 'proxyMicros', better: 'lower' } as const;
  const rateGoal = goal === undefined ? {} : { goal };
  return [
    { ours, beside, ...rate, ...rateGoal },
    { ours, beside, ...time },
    { ours, beside, ...cost },
  ];
}

/** After the decision a connection is relayed like any other. */
function established(direction: Direction, connections: number): Contest {
  const duel = (ours: DecisionName): Duel => ({
    title: `${ours}, throughput ${direction}, ${connections} connections`,
    unit: 'Gbit/s',
    figure: 'gbitPerSecond',
    better: 'higher',
    ours,
    beside: 'fixed',
    goal: 0.95,
  });
  return {
    ...transfer(direction, connections),
    ours: ['fixed', 'CONNECT', 'SNI'],
    duels: [duel('CONNECT'), duel('SNI')],
  };
}

export const contests: readonly Contest[] = [
  {
    ...visits,
    ours: ['CONNECT over TCP'],
    peer: 'tinyproxy',
    duels: visit('CONNECT over TCP', 'tinyproxy', 2),
  },
  {
    ...visits,
    ours: ['fixed', 'CONNECT', 'SNI'],
    peer: 'HAProxy',
    duels: [...visit('SNI', 'HAProxy', 1), ...visit('CONNECT', 'fixed')],
  },
  established('up', 16),
  established('down', 16),
];

/** Everyone who takes part. */
export function participants<N extends string>({ ours, peer }: Contest<N>): readonly N[] {
  return peer === undefined ? ours : [...ours, peer];
}
