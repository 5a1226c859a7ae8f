/**
 * Turns a snapshot into Prometheus metrics: https://prometheus.io/docs/practices/naming. prom-client is the registry,
 * and writes the description of a family. This program itself writes the samples, of which there are many.
 *
 * The configuration bounds label values: listeners and reasons. Clients beyond a bound are summed up as `other`.
 */
import Registry from 'prom-client/lib/registry.js';
import {
  histogram,
  labelled,
  type MetricFamily,
  type MetricsSource,
  type Pieces,
  perClient,
  perKey,
  perListener,
  scrapeOf,
  single,
} from './family.ts';

/** `openmetrics` if the Accept header of the scraper prefers it. */
export type Format = 'text' | 'openmetrics';

export function contentTypeOf(format: Format): string {
  return format === 'text' ? Registry.PROMETHEUS_CONTENT_TYPE : Registry.OPENMETRICS_CONTENT_TYPE;
}

/** The complete exposition. */
export async function renderMetrics(source: MetricsSource, format: Format): Promise<string> {
  HEADS[format] ??= readHeads(format);
  const scrape = scrapeOf(source);
  const families = (await HEADS[format]).map(({ head, write }) => {
    const pieces: Pieces = [head];
    write(pieces, scrape);
    return pieces.join('');
  });
  return format === 'text' ? `${families.join('\n\n')}\n` : `${families.join('\n')}\n# EOF\n`;
}

interface Headed {
  /** The lines `# HELP` and `# TYPE`. */
  readonly head: string;
  readonly write: MetricFamily['write'];
}

/** The lines of each format, from its first request on. */
const HEADS: Partial<Record<Format, Promise<readonly Headed[]>>> = {};

/** @throws Error of prom-client, if a name exists twice */
async function readHeads(format: Format): Promise<readonly Headed[]> {
  const registry = new Registry();
  registry.setContentType(contentTypeOf(format) as typeof Registry.PROMETHEUS_CONTENT_TYPE);
  const names = FAMILIES.map(({ name: full, help, type }) => {
    // In OpenMetrics, only the samples of a counter have its suffix.
    const name = format === 'openmetrics' && type === 'counter' ? full.replace(/_total$/, '') : full;
    registry.registerMetric({
      name,
      get: () => Promise.resolve({ name, help, type, values: [], aggregator: 'sum' }),
    } as never);
    return name;
  });
  const heads = await Promise.all(names.map((name) => registry.getSingleMetricAsString(name)));
  return FAMILIES.map(({ write }, index) => ({ head: heads[index] ?? '', write }));
}

/** Reasons to refuse a client when it is accepted. The other reasons say why a connection ended. */
const REFUSED: ReadonlySet<string> = new Set(['not-admitted', 'client-limit', 'client-rate']);

const NONE = {};
const seconds = (date: Date) => date.getTime() / 1000;

/** The names are an interface. A name never changes its meaning. */
const FAMILIES: readonly MetricFamily[] = [
  labelled('gauge', 'vsock_proxy_build_info', 'The program that runs; always 1', ({ version, process }) => [
    { value: 1, labels: { version, ...process.engine } },
  ]),
  single(
    'gauge',
    'vsock_proxy_start_time_seconds',
    'When the process began to serve, since the epoch',
    ({ snapshot }) => seconds(snapshot.startedAt),
  ),
  single(
    'gauge',
    'vsock_proxy_config_load_time_seconds',
    'When the configuration in force was loaded, since the epoch',
    ({ snapshot }) => seconds(snapshot.config.loadedAt),
  ),
  single(
    'gauge',
    'vsock_proxy_config_last_load_successful',
    'Whether the last load of the configuration succeeded',
    ({ snapshot }) => (snapshot.config.failure === undefined ? 1 : 0),
  ),
  labelled(
    'counter',
    'vsock_proxy_config_loads_total',
    'Loads of the configuration, by result',
    ({ snapshot: { config } }) => [
      { value: config.loads - config.failedLoads, labels: { result: 'success' } },
      { value: config.failedLoads, labels: { result: 'failure' } },
    ],
  ),
  labelled(
    'gauge',
    'vsock_proxy_config_info',
    'The configuration in force, by the SHA-256 of its file; always 1',
    ({ snapshot: { config } }) =>
      config.hash === undefined ? [] : [{ value: 1, labels: { path: config.path ?? '', sha256: config.hash } }],
  ),
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
    ({ counters }) => counters.closed,
    (reason) => REFUSED.has(reason),
  ),
  perKey(
    'vsock_proxy_connections_closed_total',
    'Connections that have ended, by reason',
    'reason',
    ({ counters }) => counters.closed,
    (reason) => !REFUSED.has(reason),
  ),
  perKey(
    'vsock_proxy_bytes_total',
    'Bytes delivered, by direction: up is from the client to the server',
    'direction',
    ({ counters: { bytesUp, bytesDown } }) => ({ up: bytesUp, down: bytesDown }),
  ),
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
  perKey(
    'vsock_proxy_decisions_total',
    'Decisions about clients that say where they want to go, by where they came from: the cache or the policy',
    'from',
    ({ counters: { decisionsCached, decisionsRequested } }) =>
      decisionsCached + decisionsRequested === 0 ? NONE : { cache: decisionsCached, policy: decisionsRequested },
  ),
  perKey(
    'vsock_proxy_http_requests_total',
    'HTTP requests answered or relayed, by method',
    'method',
    ({ http }) => http?.methods ?? NONE,
  ),
  perKey(
    'vsock_proxy_http_responses_total',
    'HTTP responses to clients, by class of status; those of tunnels that stand are not among them',
    'status',
    ({ http }) => http?.statuses ?? NONE,
  ),
  perKey(
    'vsock_proxy_denials_total',
    'Targets that clients were refused, by kind',
    'kind',
    ({ denials }) => denials ?? NONE,
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
  labelled('counter', 'vsock_proxy_dns_lookups_total', 'Look-ups of names, by result', ({ snapshot }) =>
    Object.entries(snapshot.dns.lookups).map(([result, value]) => ({ value, labels: { result } })),
  ),
  single(
    'counter',
    'vsock_proxy_dns_stale_answers_total',
    'Times that an old answer was used because no new one could be had',
    ({ snapshot }) => snapshot.dns.staleAnswers,
  ),
  single(
    'gauge',
    'vsock_proxy_dns_names_remembered',
    'Names that clients requested and whose answers are cached',
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
  labelled('counter', 'vsock_proxy_relay_cpu_seconds_total', 'Processor time of each relay thread', ({ snapshot }) =>
    snapshot.threadSeconds.map((value, thread) => ({ value, labels: { thread: String(thread) } })),
  ),
  single(
    'gauge',
    'vsock_proxy_event_loop_delay_seconds',
    'Longest delay of the control thread since the last scrape',
    ({ process }) => process.loopDelaySeconds,
  ),
  single('counter', 'process_cpu_seconds_total', 'Processor time of the process', ({ process }) => process.cpuSeconds),
  single(
    'gauge',
    'process_resident_memory_bytes',
    'Memory of the process that is resident',
    ({ process }) => process.residentBytes,
  ),
  single('gauge', 'process_open_fds', 'Open descriptors', ({ process }) => process.descriptors),
  single('gauge', 'process_max_fds', 'Descriptors that may be open', ({ process }) => process.descriptorLimit),
];

export const FAMILY_NAMES: ReadonlySet<string> = new Set(FAMILIES.map(({ name }) => name));
