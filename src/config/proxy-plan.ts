/** Makes plans from their sources: the command line overrides the file, and the file overrides the defaults. */

import { denyAll } from '../access/authorize.ts';
import type { Target } from '../access/rules.ts';
import type { SocketAddress } from '../dataplane/contract.ts';
import type { Family } from '../dns/resolver.ts';
import type { ListenerPlan, Plan } from '../plan.ts';
import { VsockProxyError } from '../platform/errors.ts';
import { escapeControls } from '../platform/escape.ts';
import type { Log } from '../platform/log.ts';
import { mayHaveCids } from '../platform/vsock.ts';
import { type LenientFile, loadLeniently } from './lenient.ts';
import { firstOf, type LoadedFile, loadFile } from './load.ts';
import { complete, globalPolicy, limitsOf, partialListeners, timeoutsOf } from './partial-plan.ts';
import type { TemplateValues } from './schema/addresses.ts';
import { CONNECTIONS } from './schema/connections.ts';
import { ENTRY_HEADS } from './schema/rule.ts';
import { upstreamProxyOf } from './upstream-proxy.ts';

/** The route of the command line, with every value checked. */
export interface ProxyRoute {
  readonly listenOn: SocketAddress;
  readonly target: Target;
  /** The host of the target as it was typed. */
  readonly written: string;
  readonly family: Family;
  /** `--num_workers`; absent: the file or the default decides. */
  readonly connections?: number;
  readonly configPath: string;
}

export interface ProxyPlan extends Plan {
  readonly listeners: readonly [ListenerPlan];
}

/**
 * The plan of the drop-in form. It is synchronous, because the file is small and nothing can run before.
 * @param log receives a record for each mistake that lenient.ts ignores
 * @throws VsockProxyError `config` with the phrases of AWS's proxy (`Could not open the file: …`), for the first
 * problem of the file; the caller prepends `Error at checking the allowlist: `
 */
export function loadProxyPlan(
  { listenOn, target, written, family, connections, configPath }: ProxyRoute,
  log: Pick<Log, 'warn'>,
): ProxyPlan {
  const file = loadLeniently(configPath);
  const policy = globalPolicy(file);
  const denial = denyAll({ policy, family, target }, { mayHaveCids: mayHaveCids(listenOn), cids: undefined });
  // AWS's proxy ends with the phrase for such an entry if no entry before it matches.
  const phrased = file.ignored.find(({ problem: { message } }) => ENTRY_HEADS.some((head) => message.startsWith(head)));
  if (denial !== undefined && denial.rule === undefined && phrased !== undefined) throw phrased.problem;
  warnOfIgnored(file, configPath, log);

  const { limits, timeouts } = file.settings;
  const upstreamProxy = upstreamProxyOf(file);
  const listener = {
    on: listenOn,
    route: { kind: 'target', target, written, proxyHeader: false },
    policy,
    family,
    ...(upstreamProxy && { upstreamProxy }),
    limits: limitsOf(limits, { connections: connections ?? limits.connections ?? CONNECTIONS.proxyDefault }),
    timeouts: timeoutsOf(timeouts, {}),
  } as const;
  return { listeners: [listener], ...observedBy(file), drainMs: timeouts.drain, notes: file.notes };
}

function warnOfIgnored({ ignored, more }: LenientFile, path: string, log: Pick<Log, 'warn'>): void {
  for (const { kind, problem } of ignored) {
    log.warn(`${kind === 'entry' ? 'Ignored, and allows nothing' : 'Ignored'}: ${problem.line}`);
  }
  if (more > 0)
    log.warn(`${more} more mistakes of ${escapeControls(path)} are ignored. Hint: correct those above first`);
}

export interface PlanSource {
  readonly configPath: string;
  /** The enclave of `ingress`; one of the two. */
  readonly enclaveCid?: number;
  readonly enclaveName?: string;
  /** Called only if the file has a placeholder. */
  readonly readPlacement: () => Promise<TemplateValues>;
}

/**
 * The plan of `serve`.
 * @throws VsockProxyError `config`, for the first problem of the file; also what `readPlacement` throws
 */
export async function loadPlan({ configPath, readPlacement, ...enclave }: PlanSource): Promise<Plan> {
  const file = loadFile(configPath, 'serve');
  await othersTurn();
  const partials = partialListeners(file);
  await othersTurn();
  const placement = partials.some(({ route }) => route.kind === 'template') ? await readPlacement() : undefined;
  const known = { ...enclave, ...(placement && { placement }) };

  const listeners = [];
  const problems = [];
  for (const partial of partials) {
    const completion = complete(partial, known);
    if (completion.kind === 'listener') listeners.push(completion.listener);
    else if (completion.kind === 'problem') problems.push(completion.problem);
    else problems.push(needsEnclave(partial.routeKey, partial.routePlace));
  }
  if (problems.length > 0) throw firstOf({ problems, more: 0 }, configPath);
  return { listeners, ...observedBy(file), drainMs: file.settings.timeouts.drain, notes: file.notes };
}

/** Clients wait while thousands of rules are read again. Each pause between parts lets them go on. */
function othersTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** The settings of the file for observers: metrics and log. */
export function observedBy(file: LoadedFile): Pick<Plan, 'metrics' | 'logFormat' | 'source'> {
  const { metrics, log } = file.settings;
  return {
    source: file.source,
    ...(log && { logFormat: log.format }),
    ...(metrics && {
      metrics: {
        place: file.placeOf(['metrics', 'listen']),
        listen: metrics.listen,
        enclaves: metrics.enclaves ?? [],
      },
    }),
  };
}

function needsEnclave(key: string, place: string): VsockProxyError {
  const hint = 'start it with: vsock-proxy serve --enclave-cid N, or --enclave-name NAME';
  return new VsockProxyError('config', `${key}: which enclave it leads to is not known`, { hint, place });
}
