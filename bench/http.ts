/** Plain HTTP over connections that are kept, and CONNECT with a head of its own each time: beside squid, nginx, tinyproxy. */
import { writeFileSync } from 'node:fs';
import type { Place, Startable } from './contenders.ts';
import { type Contest, type Duel, serveHttp, tinyproxyCommand } from './decisions.ts';
import { type Course, visits } from './race.ts';

export const httpNames = ['GET', 'squid', 'nginx', 'CONNECT, every head different', 'tinyproxy'] as const;
export type HttpName = (typeof httpNames)[number];

/** Below the ports that clients' own ends are given: bench/run.sh. */
const OUR_PORT = 809;
const SQUID_PORT = 810;
const NGINX_PORT = 811;
const OUR_CONNECT_PORT = 812;
const TINYPROXY_PORT = 813;

export function httpRelays(executable: string): readonly Startable<HttpName>[] {
  return [
    {
      name: 'GET',
      command: (place) => serveHttp(executable, place, OUR_PORT),
      endpoint: ({ port }) => `tcp:${OUR_PORT},get=127.0.0.1:${port}`,
    },
    squid,
    nginx,
    {
      name: 'CONNECT, every head different',
      command: (place) => serveHttp(executable, place, OUR_CONNECT_PORT),
      endpoint: ({ port }) => `tcp:${OUR_CONNECT_PORT},connect-fresh=127.0.0.1:${port}`,
    },
    {
      name: 'tinyproxy',
      command: (place) => tinyproxyCommand(place, TINYPROXY_PORT),
      endpoint: ({ port }) => `tcp:${TINYPROXY_PORT},connect-fresh=127.0.0.1:${port}`,
    },
  ];
}

/** As Debian starts it, but without a cache and without logs. */
const squid: Startable<HttpName> = {
  name: 'squid',
  command({ directory }) {
    const file = `${directory}/squid.conf`;
    writeFileSync(
      file,
      `http_port 127.0.0.1:${SQUID_PORT}
http_access allow all
cache deny all
access_log none
cache_log /dev/null
pid_filename none
pinger_enable off
visible_hostname bench
shutdown_lifetime 0 seconds
coredump_dir /
`,
    );
    return ['/usr/sbin/squid', '-N', '-f', file];
  },
  endpoint: ({ port }) => `tcp:${SQUID_PORT},get=127.0.0.1:${port}`,
};

/** The proxy of the file with one server, whatever target the client names. */
const nginx: Startable<HttpName> = {
  name: 'nginx',
  command: nginxCommand,
  endpoint: ({ port }) => `tcp:${NGINX_PORT},get=127.0.0.1:${port}`,
};

function nginxCommand({ port, directory }: Place): [string, ...string[]] {
  const file = `${directory}/nginx.conf`;
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${directory};`);
  writeFileSync(
    file,
    `daemon off; worker_processes 2; pid ${directory}/nginx.pid; error_log /dev/null;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 1000000000; ${paths.join(' ')}
  upstream servers { server 127.0.0.1:${port}; keepalive 64; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:${NGINX_PORT};
    location / { proxy_pass http://servers; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
}
`,
  );
  return ['/usr/sbin/nginx', '-e', '/dev/null', '-c', file];
}

/** GETs of distinct URLs, one after the other on one connection for each client. */
function requests(clients: number): Course {
  return { load: (endpoint, millis) => ['requests', endpoint, String(clients), String(millis)], share: 1 };
}

function rate(title: string, ours: HttpName, beside: HttpName, goal: number): Duel<HttpName> {
  return { title, unit: '/s', figure: 'perSecond', better: 'higher', ours, beside, goal };
}

function contest(course: Course, peer: HttpName, duels: readonly Duel<HttpName>[]): Contest<HttpName> {
  return { ...course, ours: [...new Set(duels.map(({ ours }) => ours))], peer, duels };
}

const EIGHT = 'GET, 8 clients';
const TUNNEL = 'CONNECT, every head different';

export const httpContests: readonly Contest<HttpName>[] = [
  contest(requests(8), 'squid', [
    rate(EIGHT, 'GET', 'squid', 2),
    {
      title: 'GET, 8 clients, processor time each',
      unit: 'µs',
      figure: 'proxyMicros',
      better: 'lower',
      ours: 'GET',
      beside: 'squid',
    },
  ]),
  contest(requests(8), 'nginx', [rate(EIGHT, 'GET', 'nginx', 0.7)]),
  contest(requests(1), 'squid', [
    {
      title: 'GET, 1 client, median',
      unit: 'µs',
      figure: 'p50Micros',
      better: 'lower',
      ours: 'GET',
      beside: 'squid',
      goal: 1,
    },
  ]),
  contest(visits, 'tinyproxy', [rate(`${TUNNEL}, 8 clients`, TUNNEL, 'tinyproxy', 1.5)]),
];
