/**
 * The whole chain of an enclave: an application, the enclave's forwarder, a unix socket in the place of vsock, the parent's HTTP
 * proxy, a server. Beside it, socat and tinyproxy in the same places, and our HTTP proxy alone.
 */

import { connections, type Place, type Startable } from './contenders.ts';
import { type Contest, type Duel, serveCommand, tinyproxyCommand } from './decisions.ts';
import { type Course, transfer, visits } from './race.ts';

export const chainNames = ['chain', 'socat + tinyproxy', 'one hop'] as const;
export type ChainName = (typeof chainNames)[number];

/** Where applications connect to, below the ports that clients' own ends are given. */
const PORTS: Readonly<Record<ChainName, number>> = { chain: 805, 'socat + tinyproxy': 806, 'one hop': 807 };
const PARENTS_TINYPROXY_PORT = 808;

/** @param directory with vsock-forwarder, the enclave's side */
export function chains(executable: string, directory: string): readonly Startable<ChainName>[] {
  const startable = (name: ChainName, command: Startable<ChainName>['command']) => ({
    name,
    command,
    endpoint: ({ port }: Place) => `tcp:${PORTS[name]},connect=127.0.0.1:${port}` as const,
  });
  const onTcp = (name: ChainName) => `tcp:127.0.0.1:${PORTS[name]}`;
  return [
    startable('chain', (place) => {
      const enclave = [
        `${directory}/vsock-forwarder`,
        '--connections',
        `${connections}`,
        onTcp('chain'),
        `unix:${place.socket}`,
      ];
      const parent = serveCommand(executable, place, `{listen: "unix:${place.socket}", route: http}`);
      return together(enclave, parent);
    }),
    startable('socat + tinyproxy', (place) => {
      const socat = (from: string, to: string) => ['/usr/bin/socat', '-b', '262144', `${from},fork,backlog=4096`, to];
      const enclave = socat(
        `TCP-LISTEN:${PORTS['socat + tinyproxy']},bind=127.0.0.1,reuseaddr`,
        `UNIX-CONNECT:${place.socket}`,
      );
      const parent = socat(`UNIX-LISTEN:${place.socket}`, `TCP:127.0.0.1:${PARENTS_TINYPROXY_PORT}`);
      return together(enclave, parent, tinyproxyCommand(place, PARENTS_TINYPROXY_PORT));
    }),
    startable('one hop', (place) => serveCommand(executable, place, `{listen: "${onTcp('one hop')}", route: http}`)),
  ];
}

/** One process, whose children the others are; they end with it. */
export function together(...commands: readonly (readonly string[])[]): [string, ...string[]] {
  const words = commands.map((command) => command.map((word) => `'${word}'`).join(' '));
  const children = words.slice(0, -1).map((command) => `setpriv --pdeathsig TERM -- ${command} &`);
  return ['/bin/sh', '-c', `${children.join(' ')} exec ${words.at(-1)}`];
}

function contest(course: Course, title: string, measure: Pick<Duel<ChainName>, 'unit' | 'figure'>): Contest<ChainName> {
  const duel = (beside: ChainName, goal: number) =>
    ({ ...measure, title, better: 'higher', ours: 'chain', beside, goal }) as const;
  return {
    ...course,
    ours: chainNames,
    duels: [duel('socat + tinyproxy', 2), duel('one hop', 0.6)],
  };
}

const bulk = { unit: 'Gbit/s', figure: 'gbitPerSecond' } as const;

export const chainContests: readonly Contest<ChainName>[] = [
  contest(transfer('up', 1), 'throughput up, 1 connection', bulk),
  contest(transfer('down', 1), 'throughput down, 1 connection', bulk),
  contest(visits, 'connections, 8 clients', { unit: '/s', figure: 'perSecond' }),
];
