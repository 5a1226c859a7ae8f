/**
 * Adds the metrics of enclaves to those of their parent, each with the label `cid`.
 *
 * Metrics of an enclave are not trusted. Only lines of families that this program knows are taken, in the form in which
 * it writes them itself. An answer that is late, too long or malformed counts as down.
 */
import type { MetricsPlan } from '../plan.ts';
import { VsockProxyError } from '../platform/errors.ts';
import type { Log } from '../platform/log.ts';
import type { Reply, Request } from './conversation.ts';
import type { Pages } from './http.ts';
import { FAMILY_NAMES } from './metrics.ts';

/** The text of `/metrics` at a vsock address. @throws VsockProxyError */
export type FetchMetrics = (enclave: { readonly cid: number; readonly port: number }) => Promise<string>;

/** A line that is not a comment: name, labels if any, value. */
const SAMPLE = /^([a-z_]+)(?:\{(.*)\})? (-?\d+(?:\.\d+)?(?:e[-+]?\d+)?|[-+]?Inf|NaN)$/;
/** The next label: its name and its value, and the comma or the end behind it. */
const LABEL = /([a-z_]+)="(?:[^"\\\p{Cc}]|\\[\\n"])*"(?:,|$)/uy;
const SUFFIX = /_(bucket|sum|count)$/;
const UP = 'vsock_proxy_enclave_up';

/** The same pages, with the samples of enclaves in `/metrics`. */
export function mergeEnclaves(
  pages: Pages,
  enclaves: MetricsPlan['enclaves'],
  fetchMetrics: FetchMetrics,
  log: Log,
): Pages {
  const { '/metrics': own } = pages;
  if (own === undefined) return pages;
  const merged = async (request: Request): Promise<Reply> => {
    // Samples are the same in both formats except for the names of counters. The samples of enclaves are requested as
    // text.
    const [reply, ...theirs] = await Promise.all([
      own({ ...request, accept: 'text/plain' }),
      ...enclaves.map(async (enclave) => ({ cid: enclave.cid, samples: await samplesOf(enclave, fetchMetrics, log) })),
    ]);
    return { ...reply, body: merge(reply.body, theirs) };
  };
  return { ...pages, '/metrics': merged };
}

interface EnclaveSamples {
  readonly cid: number;
  /** Lines by family; absent: the enclave did not answer. */
  readonly samples: ReadonlyMap<string, readonly string[]> | undefined;
}

async function samplesOf(
  enclave: MetricsPlan['enclaves'][number],
  fetchMetrics: FetchMetrics,
  log: Log,
): Promise<EnclaveSamples['samples']> {
  try {
    return parseSamples(await fetchMetrics(enclave), enclave.cid);
  } catch (error) {
    const reason = error instanceof VsockProxyError ? error.line : String(error);
    log.debug(`The enclave with CID ${enclave.cid} does not tell its metrics: ${reason}`);
    return undefined;
  }
}

/** Lines by family, with the label `cid` first; only of known families. */
export function parseSamples(text: string, cid: number): ReadonlyMap<string, readonly string[]> {
  const families = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const [, name = '', labels = '', value = ''] = SAMPLE.exec(line) ?? [];
    const family = FAMILY_NAMES.has(name) ? name : name.replace(SUFFIX, '');
    // A scraper refuses the whole text for one such line.
    if (!FAMILY_NAMES.has(family) || !areLabels(labels) || Math.abs(Number(value)) === Number.POSITIVE_INFINITY)
      continue;
    const all = [`cid="${cid}"`, ...(labels === '' ? [] : [labels.replace(/,$/, '')])].join(',');
    const lines = families.get(family) ?? [];
    lines.push(`${name}{${all}} ${value}`);
    families.set(family, lines);
  }
  return families;
}

/** Whether labels are well-formed, and no name is among them twice or is `cid`. */
function areLabels(text: string): boolean {
  const names = new Set(['cid']);
  for (LABEL.lastIndex = 0; LABEL.lastIndex < text.length; ) {
    const [, name = ''] = LABEL.exec(text) ?? [];
    if (name === '' || names.has(name)) return false;
    names.add(name);
  }
  return true;
}

/** The samples of one family must be adjacent. */
function merge(own: string, theirs: readonly EnclaveSamples[]): string {
  const lines = own.trimEnd().split('\n');
  const merged: string[] = [];
  let family: string | undefined;
  const flush = () => {
    for (const { samples } of theirs) merged.push(...((family !== undefined && samples?.get(family)) || []));
  };
  for (const line of lines) {
    const [, next] = /^# HELP (\S+) /.exec(line) ?? [];
    if (next !== undefined) {
      flush();
      family = next;
    }
    if (line !== '') merged.push(line);
  }
  flush();
  const up = theirs.map(({ cid, samples }) => `${UP}{cid="${cid}"} ${samples === undefined ? 0 : 1}`);
  return `${[...merged, `# HELP ${UP} Whether the enclave returned its metrics`, `# TYPE ${UP} gauge`, ...up].join('\n')}\n`;
}
