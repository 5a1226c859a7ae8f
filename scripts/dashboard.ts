/**
 * dashboard.ts: prints the Grafana dashboard, packaging/observability/dashboard.json (`make configs`). Each panel is
 * one line here, so each query is written once.
 */
interface Panel {
  readonly title: string;
  readonly unit: string;
  /** The query in PromQL, and the legend of each series. */
  readonly queries: readonly (readonly [expression: string, legend: string])[];
  readonly type?: 'timeseries' | 'stat';
}

const HERE = '{job="vsock-proxy", instance=~"$instance"}';
const rate = (metric: string, by: string) => `sum by (${by}) (rate(${metric}${HERE}[$__rate_interval]))`;
const quantile = (q: number, metric: string) =>
  `histogram_quantile(${q}, sum by (listener, le) (rate(${metric}_bucket${HERE}[$__rate_interval])))`;

export const PANELS: readonly Panel[] = [
  {
    title: 'Version',
    unit: 'none',
    type: 'stat',
    queries: [[`vsock_proxy_build_info${HERE}`, '{{instance}} {{version}}']],
  },
  {
    title: 'Configuration in force',
    unit: 'bool',
    type: 'stat',
    queries: [[`vsock_proxy_config_last_load_successful${HERE}`, '{{instance}}']],
  },
  {
    title: 'Open connections',
    unit: 'short',
    queries: [
      [`sum by (listener) (vsock_proxy_connections_open${HERE})`, '{{listener}}'],
      [`sum by (listener) (vsock_proxy_connections_limit${HERE})`, 'limit of {{listener}}'],
    ],
  },
  {
    title: 'Accepted',
    unit: 'cps',
    queries: [[rate('vsock_proxy_connections_accepted_total', 'listener'), '{{listener}}']],
  },
  {
    title: 'Ended, by reason',
    unit: 'cps',
    queries: [[rate('vsock_proxy_connections_closed_total', 'reason'), '{{reason}}']],
  },
  {
    title: 'Refused, by reason',
    unit: 'cps',
    queries: [[rate('vsock_proxy_connections_refused_total', 'reason'), '{{reason}}']],
  },
  {
    title: 'Throughput',
    unit: 'Bps',
    queries: [[rate('vsock_proxy_bytes_total', 'listener, direction'), '{{listener}} {{direction}}']],
  },
  {
    title: 'Time to connect, median and 99 %',
    unit: 's',
    queries: [
      [quantile(0.5, 'vsock_proxy_connect_seconds'), '{{listener}} 50 %'],
      [quantile(0.99, 'vsock_proxy_connect_seconds'), '{{listener}} 99 %'],
    ],
  },
  {
    title: 'Duration of connections, median',
    unit: 's',
    queries: [[quantile(0.5, 'vsock_proxy_connection_duration_seconds'), '{{listener}}']],
  },
  {
    title: 'Waiting for a place',
    unit: 's',
    queries: [
      [rate('vsock_proxy_limit_wait_seconds_total', 'listener'), '{{listener}}'],
      [`max by (listener) (vsock_proxy_limit_waiting_seconds${HERE})`, '{{listener}} now'],
    ],
  },
  {
    title: 'Busiest clients',
    unit: 'short',
    queries: [[`topk(10, sum by (client) (vsock_proxy_client_connections_open${HERE}))`, '{{client}}']],
  },
  {
    title: 'Denials',
    unit: 'cps',
    queries: [[rate('vsock_proxy_denials_total', 'listener, kind'), '{{listener}} {{kind}}']],
  },
  {
    title: 'HTTP requests',
    unit: 'reqps',
    queries: [[rate('vsock_proxy_http_requests_total', 'method'), '{{method}}']],
  },
  {
    title: 'HTTP responses',
    unit: 'reqps',
    queries: [[rate('vsock_proxy_http_responses_total', 'status'), '{{status}}']],
  },
  { title: 'Decisions', unit: 'ops', queries: [[rate('vsock_proxy_decisions_total', 'from'), 'from the {{from}}']] },
  { title: 'DNS look-ups', unit: 'ops', queries: [[rate('vsock_proxy_dns_lookups_total', 'result'), '{{result}}']] },
  {
    title: 'Age of DNS answers of fixed servers',
    unit: 's',
    queries: [[`max by (listener) (vsock_proxy_upstream_answer_age_seconds${HERE})`, '{{listener}}']],
  },
  {
    title: 'Processor time',
    unit: 'percentunit',
    queries: [
      [rate('vsock_proxy_relay_cpu_seconds_total', 'instance'), 'relay threads'],
      [rate('process_cpu_seconds_total', 'instance'), 'all'],
    ],
  },
  {
    title: 'Delay of the control thread',
    unit: 's',
    queries: [[`max by (instance) (vsock_proxy_event_loop_delay_seconds${HERE})`, '{{instance}}']],
  },
  {
    title: 'Descriptors',
    unit: 'percentunit',
    queries: [[`process_open_fds${HERE} / process_max_fds${HERE}`, '{{instance}}']],
  },
  { title: 'Memory', unit: 'bytes', queries: [[`process_resident_memory_bytes${HERE}`, '{{instance}}']] },
];

const COLUMNS = 2;
const [WIDTH, HEIGHT] = [24 / COLUMNS, 8];

function toPanel({ title, unit, queries, type = 'timeseries' }: Panel, index: number) {
  return {
    id: index + 1,
    type,
    title,
    datasource: { type: 'prometheus', uid: '${datasource}' },
    gridPos: { x: (index % COLUMNS) * WIDTH, y: Math.floor(index / COLUMNS) * HEIGHT, w: WIDTH, h: HEIGHT },
    fieldConfig: { defaults: { unit, min: 0 }, overrides: [] },
    targets: queries.map(([expr, legendFormat], number) => ({
      refId: String.fromCharCode(65 + number),
      expr,
      legendFormat,
    })),
  };
}

/** The text of dashboard.json. */
export function renderDashboard(): string {
  const dashboard = {
    uid: 'vsock-proxy',
    title: 'vsock-proxy',
    tags: ['vsock-proxy'],
    schemaVersion: 39,
    editable: true,
    refresh: '30s',
    time: { from: 'now-1h', to: 'now' },
    templating: {
      list: [
        { name: 'datasource', type: 'datasource', query: 'prometheus' },
        {
          name: 'instance',
          type: 'query',
          datasource: { type: 'prometheus', uid: '${datasource}' },
          query: 'label_values(vsock_proxy_build_info, instance)',
          multi: true,
          includeAll: true,
          allValue: '.*',
          current: { text: 'All', value: '$__all' },
        },
      ],
    },
    panels: PANELS.map(toPanel),
  };
  return `${JSON.stringify(dashboard, undefined, 2)}\n`;
}

if (import.meta.main) process.stdout.write(renderDashboard());
