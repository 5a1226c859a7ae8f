/**
 * What packaging/observability is worth: its alerts fire on figures of the real executable in each of their states, and in no
 * other; and a real Prometheus that scrapes the executable under load has an answer to every query of the dashboard.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { PANELS } from '../../scripts/dashboard.ts';
import { freePort } from '../free-port.ts';
import { Program } from '../program.ts';
import { startDnsServer } from '../unit/dns/server.ts';
import { refusing, run } from './launch.ts';
import { enterNamespace } from './namespace.ts';
import { Client } from './raw.ts';
import { type RunningServe, type ServeOptions, startServe } from './serve.ts';

const SERVER = '10.77.0.1';
const LISTED = 'listed.example.com';
const files = enterNamespace(import.meta.filename, { servers: { [SERVER]: [LISTED] } });

const ALERTS = fileURLToPath(new URL('../../packaging/observability/alerts.yaml', import.meta.url));
const ECHO_PORT = 9000;
const CLOSED_PORT = 9001;
const DEADLINE_MS = 20_000;
const at = (name: string) => join(files, name);

let echo: Server;

before(async () => {
  echo = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  }).listen(ECHO_PORT, SERVER);
  await once(echo, 'listening');
});

after(() => echo?.close());

/** One listener to this server, and metrics on a socket. */
function yaml(to: string, more = ''): string {
  const [name, port] = to.split(':');
  return `
allowlist: [{address: ${name}, port: ${port}}]
listeners: [{listen: "unix:${at('proxy.sock')}", connect: "${to}"}]
${more || `metrics: {listen: "unix:${at('metrics.sock')}"}`}
`;
}

async function start(text: string, options: ServeOptions = {}): Promise<RunningServe> {
  const proxy = await startServe(text, options);
  await proxy.logged(/Metrics are served on/);
  return proxy;
}

async function get(options: object, path: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const asking = request({ ...options, path, agent: false }, (response) => {
    let text = '';
    response.on('data', (bytes) => {
      text += bytes;
    });
    response.on('end', () => resolve(text));
  });
  asking.on('error', reject);
  asking.end();
  return await promise;
}

const scrape = () => get({ socketPath: at('metrics.sock') }, '/metrics');

function figureOf(text: string, metric: string): number {
  return Number(new RegExp(`^${metric}(?:\\{.*\\})? (\\S+)$`, 'm').exec(text)?.[1]);
}

/** Looks until it is so; nothing else tells. */
async function scrapeUntil(isSo: (text: string) => boolean): Promise<string> {
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    const text = await scrape();
    if (isSo(text)) return text;
    assert.ok(performance.now() < deadline, text);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** A client that has its server. */
async function openClient(): Promise<Socket> {
  const client = connect(at('proxy.sock'));
  client.write('x');
  await once(client, 'data');
  return client;
}

/** One that ends without a byte. */
async function failClient(): Promise<void> {
  const client = connect(at('proxy.sock'));
  client.on('error', () => undefined);
  client.resume();
  await once(client, 'close');
}

/** How long a state lasts: twice the longest `for` of the rules. */
const MINUTES = 20;

/**
 * Two scrapes → the series of a state that goes on as between the two: counters grow by the same again and again, gauges
 * stay as they were last.
 */
function toSeries(first: string, last: string): readonly { readonly series: string; readonly values: string }[] {
  const parse = (text: string) =>
    new Map(
      [...text.matchAll(/^([a-z_]+)(?:\{(.*)\})? (\S+)$/gm)].map(([, name, labels = '', value]) => {
        const all = [...(labels === '' ? [] : [labels]), 'instance="parent"', 'job="vsock-proxy"'].join(',');
        return [`${name}{${all}}`, Number(value)] as const;
      }),
    );
  const before = parse(first);
  return [...parse(last)].map(([series, value]) => {
    const grows = /_(total|count|sum|bucket)\{/.test(series);
    const step = grows ? value - (before.get(series) ?? 0) : 0;
    return { series, values: `${(grows ? value - step : value).toFixed(6)}+${step.toFixed(6)}x${MINUTES * 2}` };
  });
}

/** Holds the rules against them: exactly these alerts fire at the end. */
async function fires(first: string, last: string, alerts: readonly string[]): Promise<void> {
  const up = { series: 'up{instance="parent",job="vsock-proxy"}', values: `${first === '' ? 0 : 1}+0x${MINUTES * 2}` };
  const rules = {
    rule_files: [ALERTS],
    evaluation_interval: '30s',
    tests: [
      {
        interval: '30s',
        input_series: [up, ...toSeries(first, last)],
        promql_expr_test: [
          {
            expr: 'max by (alertname) (ALERTS{alertstate="firing"})',
            eval_time: `${MINUTES}m`,
            exp_samples: alerts.map((alert) => ({ labels: `{alertname="${alert}"}`, value: 1 })),
          },
        ],
      },
    ],
  };
  writeFileSync(at('rules.json'), JSON.stringify(rules));
  const { status, stdout, stderr } = await run(['promtool', 'test', 'rules', at('rules.json')]);
  assert.equal(status, 0, `${stdout}${stderr}`);
}

describe('the alerts', () => {
  test('none fires without a fault', async () => {
    await using _proxy = await start(yaml(`${LISTED}:${ECHO_PORT}`));
    const first = await scrape();
    const client = await openClient();
    client.end();
    await once(client, 'close');
    await fires(first, await scrape(), []);
  });

  test('VsockProxyDown: it cannot be scraped', async () => {
    await fires('', '', ['VsockProxyDown']);
  });

  test('VsockProxyLimitReached: a client waits for a place', async () => {
    const limited = yaml(`${SERVER}:${ECHO_PORT}`).replace('metrics:', 'limits: {connections: 1}\nmetrics:');
    await using proxy = await start(limited);
    const client = await openClient();
    const first = await scrape();
    const waiting = connect(at('proxy.sock'));
    await proxy.logged(/reached: a client waits/);
    await fires(first, await scrape(), ['VsockProxyLimitReached']);
    for (const socket of [client, waiting]) socket.destroy();
  });

  test('VsockProxyClientsRefused: one client opens too many connections', async () => {
    const limited = yaml(`${SERVER}:${ECHO_PORT}`)
      .replace(`unix:${at('proxy.sock')}`, 'tcp:127.0.0.1:8000')
      .replace('metrics:', 'limits: {connections_per_client: 1}\nmetrics:');
    await using proxy = await start(limited);
    const client = connect(8000, '127.0.0.1');
    client.write('x');
    await once(client, 'data');
    const first = await scrape();
    const refused = connect(8000, '127.0.0.1').on('error', () => undefined);
    await proxy.logged(/refused: 127\.0\.0\.1 has 1 connections open already/);
    await fires(first, await scrape(), ['VsockProxyClientsRefused']);
    for (const socket of [client, refused]) socket.destroy();
  });

  test('VsockProxyAllConnectsFail: nothing listens at the server', async () => {
    await using _proxy = await start(yaml(`${SERVER}:${CLOSED_PORT}`));
    const first = await scrape();
    await failClient();
    const last = await scrapeUntil((text) => /_closed_total\{.*reason="connect-failed"\} 1$/m.test(text));
    await fires(first, last, ['VsockProxyAllConnectsFail']);
  });

  test('VsockProxyNoAddress: the name of the server has no address', async () => {
    const dns = await startDnsServer(() => ({ records: [] }), 53);
    await using proxy = await start(yaml(`nothing.example.com:${ECHO_PORT}`));
    await proxy.logged(/WARN .*nothing\.example\.com/);
    const text = await scrape();
    dns.close();
    await fires(text, text, ['VsockProxyNoAddress']);
  });

  test('VsockProxyStaleDns: no name server answers', async () => {
    const records = [{ type: 'A', ttl: 1, data: SERVER }] as const;
    const dns = await startDnsServer(({ type }) => ({ records: type === 'A' ? records : [] }), 53);
    await using _proxy = await start(yaml(`stale.example.com:${ECHO_PORT}`));
    (await openClient()).destroy();
    const first = await scrape();
    dns.close();
    const last = await scrapeUntil((text) => figureOf(text, 'vsock_proxy_upstream_stale') === 1);
    await fires(first, last, ['VsockProxyStaleDns']);
  });

  test('VsockProxyEnclaveGone: an enclave does not return its metrics', async () => {
    const metrics = `metrics: {listen: "unix:${at('metrics.sock')}", enclaves: [{cid: 77, port: 9465}]}`;
    // No other machine gets a request: the kernel refuses the socket.
    const prefix = refusing('socket:0:0x28=EAFNOSUPPORT');
    await using _proxy = await start(yaml(`${SERVER}:${ECHO_PORT}`, metrics), { prefix });
    const text = await scrape();
    assert.equal(figureOf(text, 'vsock_proxy_enclave_up'), 0);
    await fires(text, text, ['VsockProxyEnclaveGone']);
  });

  test('VsockProxyConfigRejected: a reload was refused', async () => {
    const good = yaml(`${SERVER}:${ECHO_PORT}`);
    await using proxy = await start(good);
    assert.match(await proxy.reload(`${good}\nlimit: {}\n`), /^Reload failed/);
    const text = await scrape();
    await fires(text, text, ['VsockProxyConfigRejected']);
  });

  test('VsockProxyDescriptors: few descriptors are left', async () => {
    const descriptors = 128;
    const options = { descriptors, log: 'info' };
    const limited = yaml(`${SERVER}:${ECHO_PORT}`).replace('metrics:', 'limits: {connections: 48}\nmetrics:');
    await using proxy = await start(limited, options);
    const clients: Socket[] = [];
    while (proxy.descriptors() < 0.85 * descriptors) clients.push(await openClient());
    const text = await scrape();
    await fires(text, text, ['VsockProxyDescriptors']);
    for (const client of clients) client.destroy();
  });
});

describe('the dashboard', () => {
  test('every query has a result in a Prometheus that scrapes a proxy under load', async () => {
    const port = await freePort();
    await using _proxy = await startServe(`
allowlist: [{address: ${LISTED}, port: ${ECHO_PORT}}]
listeners:
- {listen: "unix:${at('proxy.sock')}", connect: "${LISTED}:${ECHO_PORT}"}
- {listen: "unix:${at('http.sock')}", route: http}
metrics: {listen: "tcp:127.0.0.1:${port}"}
`);
    const config = {
      global: { scrape_interval: '250ms', scrape_timeout: '250ms' },
      scrape_configs: [{ job_name: 'vsock-proxy', static_configs: [{ targets: [`127.0.0.1:${port}`] }] }],
    };
    writeFileSync(at('prometheus.yml'), JSON.stringify(config));
    const prometheus = new Program('prometheus', [
      `--config.file=${at('prometheus.yml')}`,
      `--storage.tsdb.path=${at('tsdb')}`,
      '--web.listen-address=127.0.0.1:0',
    ]);
    const loading = new AbortController();
    const load = loadUntil(loading.signal);
    try {
      const [, api = ''] = await prometheus.stderr.match(/msg="Listening on" address=127\.0\.0\.1:(\d+)/, DEADLINE_MS);
      const queries = PANELS.flatMap(({ queries: own }) => own.map(([expression]) => expression));
      const deadline = performance.now() + DEADLINE_MS;
      let empty = queries;
      while (empty.length > 0) {
        assert.ok(performance.now() < deadline, `no data: ${empty.join('\n')}`);
        await new Promise((resolve) => setTimeout(resolve, 500));
        const answers = await Promise.all(empty.map(async (query) => ({ query, has: await hasData(api, query) })));
        empty = answers.filter(({ has }) => !has).map(({ query }) => query);
      }
    } finally {
      loading.abort();
      await load;
      prometheus.kill('SIGKILL');
      await prometheus.ended;
    }
  });
});

/** Connections, tunnels, requests and denials, one after the other. */
async function loadUntil(signal: AbortSignal): Promise<void> {
  const ask = async (bytes: string): Promise<void> => {
    using client = await Client.open({ path: at('http.sock') });
    client.send(bytes);
    await client.receives(/\r\n\r\n/);
  };
  while (!signal.aborted) {
    const client = await openClient();
    client.end();
    await once(client, 'close');
    await ask(`CONNECT ${LISTED}:${ECHO_PORT} HTTP/1.1\r\nHost: ${LISTED}\r\n\r\n`);
    await ask('CONNECT denied.example.com:443 HTTP/1.1\r\nHost: denied.example.com\r\n\r\n');
  }
}

async function hasData(port: string, query: string): Promise<boolean> {
  const filled = query.replaceAll('$__rate_interval', '5s').replaceAll('$instance', '.*');
  const text = await get(
    { host: '127.0.0.1', port: Number(port) },
    `/api/v1/query?query=${encodeURIComponent(filled)}`,
  );
  const { status, data } = JSON.parse(text);
  assert.equal(status, 'success', `${filled}: ${text}`);
  return data.result.some(({ value }: { value: [number, string] }) => Number.isFinite(Number(value[1])));
}
