import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { MOST_CLIENTS } from '../../../src/observe/family.ts';
import { renderMetrics } from '../../../src/observe/metrics.ts';
import { formatFor, readiness } from '../../../src/observe/pages.ts';
import { listener, PROCESS, snapshot } from './fixture.ts';

const source = { snapshot: snapshot(), process: PROCESS, version: '0.2.0' };
const render = (changes = {}, format: 'text' | 'openmetrics' = 'text') =>
  renderMetrics({ ...source, snapshot: snapshot(changes) }, format);

describe('metrics', () => {
  it('tells what a snapshot has', async () => {
    const lines = (await render()).split('\n');
    for (const line of [
      'vsock_proxy_build_info{version="0.2.0",node="24.21.0",arch="x64"} 1',
      'vsock_proxy_connections_open{listener="vsock:3:8000"} 3',
      'vsock_proxy_connections_refused_total{listener="vsock:3:8000",reason="not-admitted"} 4',
      'vsock_proxy_connections_closed_total{listener="vsock:3:8000",reason="finished"} 6',
      'vsock_proxy_bytes_total{listener="vsock:3:8000",direction="down"} 5000000',
      'vsock_proxy_limit_wait_seconds_total{listener="vsock:3:8000"} 2.5',
      'vsock_proxy_connect_seconds_bucket{listener="vsock:3:8000",le="0.001"} 5',
      'vsock_proxy_connect_seconds_bucket{listener="vsock:3:8000",le="0.1"} 8',
      'vsock_proxy_connect_seconds_bucket{listener="vsock:3:8000",le="+Inf"} 8',
      'vsock_proxy_connect_seconds_sum{listener="vsock:3:8000"} 1.5',
      'vsock_proxy_connect_seconds_count{listener="vsock:3:8000"} 8',
      'vsock_proxy_decisions_total{listener="vsock:3:10000",from="cache"} 7',
      'vsock_proxy_http_requests_total{listener="vsock:3:10000",method="CONNECT"} 9',
      'vsock_proxy_denials_total{listener="vsock:3:10000",kind="denied"} 2',
      'vsock_proxy_upstream_answer_age_seconds{listener="vsock:3:8000"} 12',
      'vsock_proxy_config_loads_total{result="failure"} 1',
      'vsock_proxy_dns_lookups_total{result="ENOTFOUND"} 1',
      'vsock_proxy_client_connections_open{client="vsock:16"} 3',
      'vsock_proxy_relay_cpu_seconds_total{thread="1"} 0.25',
      'process_open_fds 40',
    ]) {
      assert(lines.includes(line), `${line}\n${lines.join('\n')}`);
    }
  });

  it('a reason is told either of those who were refused or of those who came in, and a listener without a list has no addresses', async () => {
    const text = await render({ listeners: [listener({ route: 'sni' })].map(({ upstream: _, ...rest }) => rest) });
    assert.doesNotMatch(text, /closed_total\{[^}]*not-admitted|refused_total\{[^}]*finished/);
    assert.doesNotMatch(text, /upstream_addresses\{/);
  });

  it('OpenMetrics ends with EOF, and names counters as it has them', async () => {
    const text = await render({}, 'openmetrics');
    assert.match(text, /\n# EOF\n$/);
    assert.match(text, /^# TYPE vsock_proxy_connections_accepted counter$/m);
  });

  it('clients beyond the bound are summed up', async () => {
    const clients = Array.from({ length: MOST_CLIENTS + 3 }, (_, index) => ({
      name: `vsock:${index + 16}`,
      active: 1,
      accepted: 2,
      refused: 0,
      bytesUp: 0,
      bytesDown: 0,
    }));
    const text = await render({ clients });
    assert.match(text, /^vsock_proxy_client_connections_open\{client="other"\} 3$/m);
    assert.equal(text.match(/^vsock_proxy_client_connections_open\{/gm)?.length, MOST_CLIENTS + 1);
  });

  it('promtool finds nothing to say of it', async () => {
    const input = await render();
    const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input, encoding: 'utf8' });
    assert.deepEqual([status, stdout, stderr], [0, '', ''], 'apt-get install prometheus');
  });

  for (const [accept, format] of [
    ['', 'text'],
    ['*/*', 'text'],
    ['text/plain;version=0.0.4', 'text'],
    ['application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3', 'openmetrics'],
    ['application/openmetrics-text; version=1.0.0; q=0.2, text/plain; q=0.9', 'text'],
    ['application/openmetrics-text;q=x', 'openmetrics'],
  ] as const) {
    it(`"${accept}" gets ${format}`, () => assert.equal(formatFor(accept), format));
  }
});

describe('readiness', () => {
  it('is 200 when each fixed route has an address', () => assert.equal(readiness(snapshot()).status, 200));

  it('is 503, with the reason, while one has none or the proxy stops', () => {
    const upstream = { addresses: [], absence: 'Could not resolve kms.example: ETIMEOUT', stale: false };
    const waiting = readiness(snapshot({ listeners: [listener({ upstream })] }));
    assert.deepEqual(
      [waiting.status, JSON.parse(waiting.body)],
      [503, { status: 'not ready', reasons: [{ listener: 'vsock:3:8000', reason: upstream.absence }] }],
    );
    assert.equal(readiness(snapshot({ drains: true })).status, 503);
  });
});
