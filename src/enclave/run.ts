/** An enclave from its first moment to its application's end. */
import { closeSync, readFileSync } from 'node:fs';
import { connect, Socket } from 'node:net';
import type { Clock } from '../clock.ts';
import type { RunningProxy } from '../control/serve.ts';
import type { SocketAddress } from '../dataplane/contract.ts';
import { parseHosts } from '../dns/hosts.ts';
import type { Log } from '../log.ts';
import type { EgressPlan, EnclavePlan, ListenerPlan, Plan } from '../plan.ts';
import { type Hostname, parseHostname, parseIpAddress } from '../policy/address.ts';
import { type CommandLine, startCommand } from './command.ts';
import { Denials } from './denials.ts';
import { type DnsServer, openDnsServer } from './dns-server.ts';
import { type Environment, withProxy } from './environment.ts';
import { changeFile, type Host, withHosts, withNameserver } from './files.ts';
import type { LogSender } from './log-sender.ts';
import { NameTable } from './names.ts';
import type { SignalPassing } from './signals.ts';
import { openZone } from './zone.ts';

export interface EnclaveDependencies {
  readonly log: Log;
  readonly clock: Clock;
  readonly env: Environment;
  readonly bringUpLoopback: () => void;
  readonly serve: (plan: Plan, nameOf: (ip: string) => Hostname | undefined) => Promise<RunningProxy>;
  /** Called when a child has ended, with the one that is waited for anyway. */
  readonly reapOrphans: (own: number) => void;
  readonly signals: SignalPassing;
  /** Absent: the command has the standard streams of this process. */
  readonly logging?: Logging;
}

/** Where log lines and the command's output go. */
export interface Logging {
  readonly to: SocketAddress;
  readonly sender: LogSender;
  readonly openPipe: () => PipeEnds;
}

/** Descriptors. */
export interface PipeEnds {
  readonly read: number;
  readonly write: number;
}

const DNS_IP = '127.0.0.1';
const DNS_PORT = 53;
/** The application has ended, so nobody waits for what its connections still carry but for the last of what it sent. */
const LONGEST_DRAIN_MS = 2_000;
const WEEK_MS = 7 * 24 * 3_600_000;

/**
 * Returns when the command has ended, or could not be started.
 * @returns the exit status
 * @throws VsockProxyError when the enclave cannot be set up; then nothing has been started
 */
export async function runEnclave(
  plan: EnclavePlan,
  command: CommandLine,
  dependencies: EnclaveDependencies,
): Promise<number> {
  const { log, clock, env, signals, logging } = dependencies;
  const { egress, hosts } = plan;
  dependencies.bringUpLoopback();
  changeFile('/etc/hosts', (text) => withHosts(text, [...LOCALHOST, ...hosts]));

  const names = new NameTable();
  const denials = new Denials(log, clock);
  const dns = egress && (await openDns(egress, names, denials));
  const drainMs = Math.min(plan.drainMs, LONGEST_DRAIN_MS);
  const listeners = logging === undefined ? plan.listeners : [...plan.listeners, relayTo(logging.to)];
  const proxy = await dependencies.serve({ listeners, drainMs }, (ip) => names.nameOf(ip));
  const relay = proxy.addresses().at(-1);
  if (relay?.family === 'tcp') logging?.sender.start(() => connect({ host: relay.ip, port: relay.port }));
  const stop = async (): Promise<void> => {
    dns?.close();
    denials.stop();
    await logging?.sender.finish(drainMs);
    await proxy.drain();
  };
  // Not before that server answers.
  if (dns !== undefined) changeFile('/etc/resolv.conf', (text) => withNameserver(text, DNS_IP));

  const direct = hosts.map(({ name }) => name);
  const outputs = logging === undefined ? undefined : [logging.openPipe(), logging.openPipe()];
  const started = await startCommand(command, {
    env: egress === undefined ? env : withProxy(env, egress.proxy, direct),
    stdio: outputs === undefined ? 'inherit' : ['inherit', ...outputs.map(({ write }) => write)],
  });
  for (const { read, write } of outputs ?? []) {
    closeSync(write); // so that the pipe ends with the command
    logging?.sender.pipe(new Socket({ fd: read, writable: false }));
  }
  if ('error' in started) {
    log.error(started.error.line);
    await stop();
    return started.exitStatus;
  }
  const { child, ended } = started;
  const reap = () => dependencies.reapOrphans(child.pid ?? 0);
  signals.passTo(child, reap);
  reap();
  const exitStatus = await ended;
  log.info(`The command has ended with status ${exitStatus}`);
  await stop();
  return exitStatus;
}

async function openDns(
  { policy, transparentPorts: ports }: EgressPlan,
  names: NameTable,
  denials: Denials,
): Promise<DnsServer | undefined> {
  if (ports.length === 0) return undefined;
  const hosts = parseHosts(readFileSync('/etc/hosts', 'utf8'));
  const onDenied = (name: Hostname, reason: string) => denials.report(name, reason);
  return await openDnsServer(DNS_IP, DNS_PORT, openZone({ names, hosts, policy, ports, onDenied }));
}

/** A way for the sender, which knows no vsock. It waits for the parent as long as it takes. */
function relayTo(address: SocketAddress): ListenerPlan {
  return {
    place: '--log',
    on: { family: 'tcp', ip: '127.0.0.1', port: 0 },
    route: { kind: 'address', address, proxyHeader: false },
    policy: { allow: [], deny: [] },
    family: 'any',
    limits: { connections: 4, connectionsPerClient: 0, ratePerClient: 0 },
    timeouts: { connectMs: WEEK_MS, idleMs: 0, headMs: WEEK_MS },
  };
}

const LOCALHOST: readonly Host[] = ['127.0.0.1', '::1'].flatMap((text) => {
  const name = parseHostname('localhost');
  const ip = parseIpAddress(text);
  return ip !== undefined && typeof name === 'string' ? [{ name, ip }] : [];
});
