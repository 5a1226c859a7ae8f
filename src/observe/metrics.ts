/**
 * A snapshot → Prometheus metrics: https://prometheus.io/docs/practices/naming. prom-client writes both text formats; the
 * values stand in the snapshot already, so that each family only says where.
 *
 * Label values are bounded by the configuration: listeners and reasons. Clients beyond a bound are summed up as `other`.
 */
import Registry from 'prom-client/lib/registry.js';
import type { Histogram, ListenerCounters } from '../dataplane/contract.ts';
import type { ClientSnapshot, ListenerSnapshot, Snapshot } from '../proxy/snapshot.ts';
import type { ProcessFigures } from './process.ts';

/** So many clients have series of their own. */
export const MOST_CLIENTS = 256;

export interface MetricsSource {
  readonly snapshot: Snapshot;
  readonly process: ProcessFigures;
  readonly version: string;
}

type Labels = Readonly<Record<string, string>>;
interface Sample {
  readonly value: number;
  readonly labels: Labels;
  /** Of a histogram, with its labels: `…_bucket{…}`, `…_sum{…}`, `…_count{…}`. */
  readonly metricName?: string;
}

interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly samples: (source: MetricsSource) => readonly Sample[];
}

/** `openmetrics` where the scraper's Accept header prefers it. */
export type Format = 'text' | 'openmetrics';

export function contentTypeOf(format: Format): string {
  return format === 'text' ? Registry.PROMETHEUS_CONTENT_TYPE : Registry.OPENMETRICS_CONTENT_TYPE;
}

/** The whole exposition. */
export async function renderMetrics(source: MetricsSource, format: Format): Promise<string> {
  const registry = new Registry();
  registry.setContentType(contentTypeOf(format) as typeof Registry.PROMETHEUS_CONTENT_TYPE);
  for (const family of FAMILIES) registry.registerMetric(readable(family, source, format) as never);
  return await registry.metrics();
}

/** What prom-client asks of a metric when it writes it. */
function readable({ name: full, help, type, samples }: Family, source: MetricsSource, format: Format) {
  // In OpenMetrics a counter has its suffix on each sample only, where prom-client puts it.
  const name = format === 'openmetrics' && type === 'counter' ? full.replace(/_total$/, '') : full;
  return { name, get: () => Promise.resolve({ name, help, type, values: samples(source), aggregator: 'sum' }) };
}

const one = (value: number): readonly Sample[] => [{ value, labels: {} }];

function scalar(
  type: 'counter' | 'gauge',
  name: string,
  help: string,
  value: (source: MetricsSource) => number | undefined,
): Family {
  return {
    name,
    help,
    type,
    samples(source) {
      const found = value(source);
      return found === undefined ? [] : one(found);
    },
  };
}

function perListener(
  type: 'counter' | 'gauge',
  name: string,
  help: string,
  value: (listener: ListenerSnapshot) => number | undefined,
): Family {
  return {
    name,
    help,
    type,
    samples: ({ snapshot }) =>
      snapshot.listeners.flatMap((listener) => {
        const found = value(listener);
        return found === undefined ? [] : [{ value: found, labels: { listener: listener.address } }];
      }),
  };
}

/** One sample for each key of a record, with a label for it. */
function perKey(
  name: string,
  help: string,
  label: string,
  record: (listener: ListenerSnapshot) => Readonly<Record<string, number>>,
): Family {
  return {
    name,
    help,
    type: 'counter',
    samples: ({ snapshot }) =>
      snapshot.listeners.flatMap((listener) =>
        Object.entries(record(listener)).map(([key, value]) => ({
          value,
          labels: { listener: listener.address, [label]: key },
        })),
      ),
  };
}

function histogram(name: string, help: string, of: (counters: ListenerCounters) => Histogram): Family {
  return {
    name,
    help,
    type: 'histogram',
    samples: ({ snapshot }) =>
      snapshot.listeners.flatMap(({ address, counters }) => histogramSamples(name, address, of(counters))),
  };
}

/** Most lines are these, so their labels are written here, at once, and not by prom-client one by one. */
function histogramSamples(name: string, listener: string, { bounds, counts, sum }: Histogram): readonly Sample[] {
  const label = `listener="${escapeLabel(listener)}"`;
  let total = 0;
  const buckets = counts.map((count, index) => {
    total += count;
    return { value: total, labels: NO_LABELS, metricName: `${name}_bucket{${label},le="${bounds[index] ?? '+Inf'}"}` };
  });
  return [
    ...buckets,
    { value: sum, labels: NO_LABELS, metricName: `${name}_sum{${label}}` },
    { value: total, labels: NO_LABELS, metricName: `${name}_count{${label}}` },
  ];
}

const NO_LABELS: Labels = {};

function escapeLabel(text: string): string {
  return text.replace(/[\\"\n]/g, (char) => (char === '\n' ? '\\n' : `\\${char}`));
}

function perClient(
  type: 'counter' | 'gauge',
  name: string,
  help: string,
  value: (client: ClientSnapshot) => number,
): Family {
  return {
    name,
    help,
    type,
    samples({ snapshot }) {
      const own = snapshot.clients.slice(0, MOST_CLIENTS);
      const others = snapshot.clients.slice(MOST_CLIENTS);
      const samples = own.map((client) => ({ value: value(client), labels: { client: client.name } }));
      if (others.length === 0) return samples;
      return [
        ...samples,
        { value: others.reduce((sum, client) => sum + value(client), 0), labels: { client: 'other' } },
      ];
    },
  };
}

/** Reasons why a client was refused when it was accepted; the others are those why a connection ended. */
const REFUSED: readonly string[] = ['not-admitted', 'client-limit', 'client-rate'];

function split(counters: ListenerCounters, refused: boolean): Readonly<Record<string, number>> {
  return Object.fromEntries(Object.entries(counters.closed).filter(([reason]) => REFUSED.includes(reason) === refused));
}

const seconds = (date: Date) => date.getTime() / 1000;

/** The names are an interface: a name that is here keeps its meaning. */
const FAMILIES: readonly Family[] = [
  {
    name: 'vsock_proxy_build_info',
    help: 'The program that runs; always 1',
    type: 'gauge',
    samples: ({ version, process }) => [{ value: 1, labels: { version, node: process.node, arch: process.arch } }],
  },
  scalar(
    'gauge',
    'vsock_proxy_start_time_seconds',
    'When the process began to serve, since the epoch',
    ({ snapshot }) => seconds(snapshot.startedAt),
  ),
  scalar(
    'gauge',
    'vsock_proxy_config_load_time_seconds',
    'When the configuration in force was loaded, since the epoch',
    ({ snapshot }) => seconds(snapshot.config.loadedAt),
  ),
  scalar(
    'gauge',
    'vsock_proxy_config_last_load_successful',
    'Whether the last load of the configuration succeeded',
    ({ snapshot }) => (snapshot.config.failure === undefined ? 1 : 0),
  ),
  {
    name: 'vsock_proxy_config_loads_total',
    help: 'Loads of the configuration, by result',
    type: 'counter',
    samples: ({ snapshot: { config } }) => [
      { value: config.loads - config.failedLoads, labels: { result: 'success' } },
      { value: config.failedLoads, labels: { result: 'failure' } },
    ],
  },
  {
    name: 'vsock_proxy_config_info',
    help: 'The configuration in force, by the SHA-256 of its file; always 1',
    type: 'gauge',
    samples: ({ snapshot: { config } }) =>
      config.hash === undefined ? [] : [{ value: 1, labels: { path: config.path ?? '', sha256: config.hash } }],
  },
  perListener(
    'counter',
    'vsock_proxy_connections_accepted_total',
    'Connections accepted',
    ({ counters }) => counters.accepted,
  ),
  perListener('gauge', 'vsock_proxy_connections_open', 'Connections open now', ({ counters }) => counters.active),
  perListener(
    'gauge',
    'vsock_proxy_connections_limit',
    'Connections that may be open at once',
    ({ limits }) => limits.connections,
  ),
  perKey(
    'vsock_proxy_connections_refused_total',
    'Clients refused when they were accepted, by reason',
    'reason',
    ({ counters }) => split(counters, true),
  ),
  perKey('vsock_proxy_connections_closed_total', 'Connections that have ended, by reason', 'reason', ({ counters }) =>
    split(counters, false),
  ),
  {
    name: 'vsock_proxy_bytes_total',
    help: 'Bytes delivered, by direction: up is from the client to the server',
    type: 'counter',
    samples: ({ snapshot }) =>
      snapshot.listeners.flatMap(({ address: listener, counters: { bytesUp, bytesDown } }) => [
        { value: bytesUp, labels: { listener, direction: 'up' } },
        { value: bytesDown, labels: { listener, direction: 'down' } },
      ]),
  },
  perListener(
    'counter',
    'vsock_proxy_limit_hits_total',
    'Times that a client waited because the limit of connections was reached',
    ({ counters }) => counters.limitHits,
  ),
  perListener(
    'counter',
    'vsock_proxy_limit_wait_seconds_total',
    'Time that clients have waited for a free place',
    ({ counters }) => counters.limitWaitMs / 1000,
  ),
  perListener(
    'gauge',
    'vsock_proxy_limit_waiting_seconds',
    'For how long a client waits for a free place now; 0: none waits',
    ({ counters }) => counters.waitingMs / 1000,
  ),
  histogram(
    'vsock_proxy_connect_seconds',
    'From accept to the established connection to the server',
    ({ connect }) => connect,
  ),
  histogram(
    'vsock_proxy_connection_duration_seconds',
    'From accept to the end of the connection',
    ({ duration }) => duration,
  ),
  histogram(
    'vsock_proxy_queue_wait_seconds',
    'Time that clients waited for a free place before they were accepted',
    ({ queued }) => queued,
  ),
  {
    name: 'vsock_proxy_decisions_total',
    help: 'Decisions about clients that say where they want to go, by where they came from: the cache or the policy',
    type: 'counter',
    samples: ({ snapshot }) =>
      snapshot.listeners.flatMap(({ address: listener, counters: { decisionsCached, decisionsRequested } }) =>
        decisionsCached + decisionsRequested === 0
          ? []
          : [
              { value: decisionsCached, labels: { listener, from: 'cache' } },
              { value: decisionsRequested, labels: { listener, from: 'policy' } },
            ],
      ),
  },
  perKey(
    'vsock_proxy_http_requests_total',
    'HTTP requests answered or relayed, by method',
    'method',
    ({ http }) => http?.methods ?? {},
  ),
  perKey(
    'vsock_proxy_http_responses_total',
    'HTTP responses to clients, by class of status; those of tunnels that stand are not among them',
    'status',
    ({ http }) => http?.statuses ?? {},
  ),
  perKey(
    'vsock_proxy_denials_total',
    'Targets that clients were refused, by kind',
    'kind',
    ({ denials }) => denials ?? {},
  ),
  perListener(
    'gauge',
    'vsock_proxy_upstream_addresses',
    'Addresses known of the fixed server; 0: clients are refused',
    ({ upstream }) => upstream?.addresses.length,
  ),
  perListener(
    'gauge',
    'vsock_proxy_upstream_answer_age_seconds',
    'Age of the DNS answer in use for the fixed server',
    ({ upstream }) => upstream?.ageSeconds,
  ),
  perListener(
    'gauge',
    'vsock_proxy_upstream_stale',
    'Whether the DNS answer in use is older than its time to live and could not be renewed',
    ({ upstream }) => (upstream?.ageSeconds === undefined ? undefined : Number(upstream.stale)),
  ),
  perListener(
    'gauge',
    'vsock_proxy_last_failure_time_seconds',
    'When a connection failed last, since the epoch',
    ({ lastFailure }) => (lastFailure === undefined ? undefined : seconds(lastFailure.at)),
  ),
  {
    name: 'vsock_proxy_dns_lookups_total',
    help: 'Look-ups of names, by result',
    type: 'counter',
    samples: ({ snapshot }) =>
      Object.entries(snapshot.dns.lookups).map(([result, value]) => ({ value, labels: { result } })),
  },
  scalar(
    'counter',
    'vsock_proxy_dns_stale_answers_total',
    'Times that an old answer was used because no new one could be had',
    ({ snapshot }) => snapshot.dns.staleAnswers,
  ),
  scalar(
    'gauge',
    'vsock_proxy_dns_names_remembered',
    'Names that clients asked for and whose answers are remembered',
    ({ snapshot }) => snapshot.dns.remembered,
  ),
  perClient(
    'gauge',
    'vsock_proxy_client_connections_open',
    'Connections of a client that are open now',
    ({ active }) => active,
  ),
  perClient(
    'counter',
    'vsock_proxy_client_connections_accepted_total',
    'Connections accepted from a client',
    ({ accepted }) => accepted,
  ),
  perClient(
    'counter',
    'vsock_proxy_client_connections_refused_total',
    'Connections of a client that were refused',
    ({ refused }) => refused,
  ),
  perClient('counter', 'vsock_proxy_client_bytes_up_total', 'Bytes delivered from a client', ({ bytesUp }) => bytesUp),
  perClient(
    'counter',
    'vsock_proxy_client_bytes_down_total',
    'Bytes delivered to a client',
    ({ bytesDown }) => bytesDown,
  ),
  {
    name: 'vsock_proxy_relay_cpu_seconds_total',
    help: 'Processor time of each relay thread',
    type: 'counter',
    samples: ({ snapshot }) =>
      snapshot.threadSeconds.map((value, thread) => ({ value, labels: { thread: String(thread) } })),
  },
  scalar(
    'gauge',
    'vsock_proxy_event_loop_delay_seconds',
    'Longest delay of the control thread since the last scrape',
    ({ process }) => process.loopDelaySeconds,
  ),
  scalar('counter', 'process_cpu_seconds_total', 'Processor time of the process', ({ process }) => process.cpuSeconds),
  scalar(
    'gauge',
    'process_resident_memory_bytes',
    'Memory of the process that is resident',
    ({ process }) => process.residentBytes,
  ),
  scalar('gauge', 'process_open_fds', 'Open descriptors', ({ process }) => process.descriptors),
  scalar('gauge', 'process_max_fds', 'Descriptors that may be open', ({ process }) => process.descriptorLimit),
];

export const FAMILY_NAMES: ReadonlySet<string> = new Set(FAMILIES.map(({ name }) => name));
