/** Runs an enclave from its start to the end of its application. */
import { type Hostname, parseHostname, parseIpAddress, type TargetHost } from '../access/address.ts';
import { type HostsTable, parseHosts } from '../dns/hosts.ts';
import type { RecordType } from '../dns/records.ts';
import type { EgressPlan, EnclavePlan, ListenerPlan, Plan } from '../plan.ts';
import type { Clock } from '../platform/clock.ts';
import type { Environment } from '../platform/environment.ts';
import { closeSync, readFileSync } from '../platform/system/files.ts';
import { readPipe } from '../platform/system/sockets.ts';
import type { RunningProxy } from '../proxy/server.ts';
import type { AddressTable } from './address-table.ts';
import { type AddressDependencies, listenersFor, openAddresses } from './addresses.ts';
import { type CommandLine, type NotStarted, type RunningCommand, startCommand } from './command.ts';
import { Denials } from './denials.ts';
import { type DnsServer, openDnsServer } from './dns-server.ts';
import { withProxy } from './environment.ts';
import { changeFile, type HostsEntry, withHosts, withOwnName, withResolver } from './files.ts';
import { type Logging, relayTo, sendFailure, startSending } from './logging.ts';
import { ParentRecords, relayToParent } from './parent-records.ts';
import type { SignalPassing } from './signals.ts';
import { openZone } from './zone.ts';

export interface EnclaveDependencies extends AddressDependencies {
  readonly clock: Clock;
  readonly env: Environment;
  /** The host name, from uname(2). */
  readonly hostName: string;
  /** @throws VsockProxyError on a machine that is no enclave: elsewhere.ts */
  readonly refuseElsewhere: () => void;
  readonly bringUpLoopback: () => void;
  readonly serve: (plan: Plan, hostOf: (ip: string) => TargetHost | undefined) => Promise<RunningProxy>;
  /** Reaps orphans. Called when a child has ended, with the child that is awaited anyway. */
  readonly reapOrphans: (own: number) => void;
  readonly signals: SignalPassing;
  /** Absent: the command has the standard streams of this process. */
  readonly logging?: Logging;
}

const DNS_IP = '127.0.0.1';
const DNS_PORT = 53;
/** When the application has ended, its connections get this time for the last bytes. */
const LONGEST_DRAIN_MS = 2_000;

/**
 * Returns when the command has ended, or could not be started.
 * @param load returns the plan
 * @returns the exit status
 * @throws VsockProxyError if the enclave cannot be set up; then the command has not been started
 */
export async function runEnclave(
  load: () => EnclavePlan,
  command: CommandLine,
  dependencies: EnclaveDependencies,
): Promise<number> {
  const { log, logging, signals } = dependencies;
  const enclave = await open(load, dependencies).catch(async (error: unknown) => {
    if (logging !== undefined) await tellParent(error, logging, dependencies);
    throw error;
  });
  const started = await start(command, enclave, dependencies).catch(async (error: unknown) => {
    logging?.sender.write(logging.describeFailure(error));
    await enclave.stop();
    throw error;
  });
  if ('error' in started) {
    log.error(started.error.line);
    await enclave.stop();
    return started.exitStatus;
  }
  const { child, ended } = started;
  const reap = () => dependencies.reapOrphans(child.pid ?? 0);
  signals.passTo(child, reap);
  reap();
  const exitStatus = await ended;
  log.info(`The command has ended with status ${exitStatus}`);
  await enclave.stop();
  return exitStatus;
}

/** The listeners for the command. */
interface OpenEnclave {
  readonly plan: EnclavePlan;
  readonly dns: DnsServer | undefined;
  readonly stop: () => Promise<void>;
}

async function open(load: () => EnclavePlan, dependencies: EnclaveDependencies): Promise<OpenEnclave> {
  const { log, clock, hostName, logging } = dependencies;
  const plan = load();
  dependencies.refuseElsewhere();
  dependencies.bringUpLoopback();
  changeFile('/etc/hosts', (text) => withOwnName(withHosts(text, [...LOCALHOST, ...plan.hosts]), hostName));

  const table = openAddresses(plan.egress, dependencies);
  const denials = new Denials(log, clock);
  const records = new ParentRecords(log, clock);
  const dns = plan.egress && (await openDns(plan.egress, table, records, denials));
  const drainMs = Math.min(plan.drainMs, LONGEST_DRAIN_MS);
  const own = listenersFor(plan.listeners, table);
  const relays = [
    ...(plan.egress !== undefined && dns !== undefined ? [relayToParent(plan.egress.parent)] : []),
    ...(logging === undefined ? [] : [relayTo(logging.to)]),
  ];
  const listeners = [...own, ...relays];
  const proxy = await dependencies.serve({ ...plan, listeners, drainMs }, (ip) => table.hostOf(ip));
  if (dns !== undefined) records.start(proxy.addresses()[own.length]);
  if (logging !== undefined) startSending(logging, proxy);
  const stop = async (): Promise<void> => {
    dns?.close();
    denials.stop();
    await logging?.sender.finish(drainMs);
    await proxy.drain();
  };
  return { plan, dns, stop };
}

async function start(
  command: CommandLine,
  { plan, dns }: OpenEnclave,
  { env, hostName, logging }: EnclaveDependencies,
): Promise<RunningCommand | NotStarted> {
  const { egress } = plan;
  if (egress !== undefined && dns !== undefined) {
    // Only after that server answers.
    const settings = { server: DNS_IP, search: egress.search, hostName };
    changeFile('/etc/resolv.conf', (text) => withResolver(text, settings));
  }
  const outputs = logging === undefined ? undefined : [logging.openPipe(), logging.openPipe()];
  const started = await startCommand(command, {
    env: egress === undefined ? env : withProxy(env, egress.proxy, ownHosts(plan, hostName)),
    stdio: ['inherit', ...(outputs?.map(({ write }) => write) ?? (['inherit', 'inherit'] as const))],
  });
  for (const { read, write } of outputs ?? []) {
    closeSync(write); // so that the pipe ends with the command
    logging?.sender.pipe(readPipe(read));
  }
  return started;
}

/** Errors of this are ignored, because the first error matters more. */
async function tellParent(error: unknown, logging: Logging, dependencies: EnclaveDependencies): Promise<void> {
  const { bringUpLoopback, serve } = dependencies;
  try {
    bringUpLoopback();
    const serveOnly = (listeners: readonly ListenerPlan[]) =>
      serve({ listeners, drainMs: LONGEST_DRAIN_MS }, () => undefined);
    await sendFailure(error, logging, serveOnly, LONGEST_DRAIN_MS);
  } catch {
    return;
  }
}

async function openDns(
  { policy, transparentPorts: ports }: EgressPlan,
  table: AddressTable,
  records: ParentRecords,
  denials: Denials,
): Promise<DnsServer | undefined> {
  if (ports.length === 0) return undefined;
  const hosts = readHosts();
  const lookUpRecords = (name: Hostname, type: RecordType) => records.lookUp(name, type);
  const onDenied = (name: Hostname, reason: string) => denials.report(name, reason);
  return await openDnsServer(DNS_IP, DNS_PORT, openZone({ table, hosts, policy, ports, lookUpRecords, onDenied }));
}

function readHosts(): HostsTable {
  return parseHosts(readFileSync('/etc/hosts', 'utf8'));
}

/** Names and addresses of this machine, besides those that every machine has. */
function ownHosts({ hosts, listeners }: EnclavePlan, hostName: string): readonly string[] {
  const own = parseHostname(hostName);
  return [
    ...(typeof own === 'string' ? [own, ...(readHosts().get(own) ?? []).map(({ text }) => text)] : []),
    ...hosts.map(({ name }) => name),
    ...listeners.flatMap(({ on, route }) => (on.family === 'tcp' && route.kind === 'address' ? [on.ip] : [])),
  ];
}

const LOCALHOST: readonly HostsEntry[] = ['127.0.0.1', '::1'].flatMap((text) => {
  const name = parseHostname('localhost');
  const ip = parseIpAddress(text);
  return ip !== undefined && typeof name === 'string' ? [{ name, ip }] : [];
});
