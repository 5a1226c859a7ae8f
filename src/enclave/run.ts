/** An enclave from its first moment to its application's end. */
import { readFileSync } from 'node:fs';
import type { RunningProxy } from '../control/serve.ts';
import { Throttle } from '../control/throttle.ts';
import { count } from '../control/words.ts';
import type { Clock } from '../dns/clock.ts';
import { parseHosts } from '../dns/hosts.ts';
import type { VsockProxyError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { EgressPlan, EnclavePlan, Plan } from '../plan.ts';
import { type Hostname, parseHostname, parseIpAddress } from '../policy/address.ts';
import { type CommandLine, startCommand } from './command.ts';
import { type DnsServer, openDnsServer } from './dns-server.ts';
import { type Environment, withProxy } from './environment.ts';
import { changeFile, type Host, withHosts, withNameserver } from './files.ts';
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
}

/** How it has ended: the command's exit status, or why there was no command. */
export interface Ending {
  readonly exitStatus: number;
  readonly error?: VsockProxyError;
}

const DNS_IP = '127.0.0.1';
const DNS_PORT = 53;
/** The application has ended, so nobody waits for what its connections still carry but for the last of what it sent. */
const LONGEST_DRAIN_MS = 2_000;
const DENIED_PERIOD_MS = 10_000;

/**
 * Returns when the command has ended, or cannot be started.
 * @throws VsockProxyError when the enclave cannot be set up; then nothing has been started
 */
export async function runEnclave(
  plan: EnclavePlan,
  command: CommandLine,
  dependencies: EnclaveDependencies,
): Promise<Ending> {
  const { log, clock, env, signals } = dependencies;
  const { egress, hosts } = plan;
  dependencies.bringUpLoopback();
  changeFile('/etc/hosts', (text) => withHosts(text, [...LOCALHOST, ...hosts]));

  const names = new NameTable();
  const denied = new Throttle(clock, DENIED_PERIOD_MS);
  const dns = egress && (await openDns(egress, names, log, denied));
  const drainMs = Math.min(plan.drainMs, LONGEST_DRAIN_MS);
  const proxy = await dependencies.serve({ ...plan, drainMs }, (ip) => names.nameOf(ip));
  const stop = async (): Promise<void> => {
    dns?.close();
    denied.stop();
    await proxy.drain();
  };
  // Last of all: until here the enclave is as it was.
  if (dns !== undefined) changeFile('/etc/resolv.conf', (text) => withNameserver(text, DNS_IP));

  const direct = hosts.map(({ name }) => name);
  const started = await startCommand(command, {
    env: egress === undefined ? env : withProxy(env, egress.proxy, direct),
    stdio: 'inherit',
  });
  if ('error' in started) {
    await stop();
    return started;
  }
  const { child, ended } = started;
  const reap = () => dependencies.reapOrphans(child.pid ?? 0);
  signals.passTo(child, reap);
  reap();
  const exitStatus = await ended;
  log.info(`The command has ended with status ${exitStatus}`);
  await stop();
  return { exitStatus };
}

async function openDns(
  { policy, transparentPorts: ports }: EgressPlan,
  names: NameTable,
  log: Log,
  denied: Throttle,
): Promise<DnsServer | undefined> {
  if (ports.length === 0) return undefined;
  const onDenied = (name: Hostname, reason: string): void => {
    const first = () => log.warn(`${name} was looked up, and does not exist here: ${reason}`);
    denied.report(
      'denied',
      {
        first,
        again(times, subjects) {
          const listed = subjects.map(([subject, each]) => `${subject} (${each})`).join(', ');
          if (times > 0) log.warn(`${count(times, 'more look-up')} of names that are not allowed: ${listed}`);
          return times > 0;
        },
      },
      name,
    );
  };
  const hosts = parseHosts(readFileSync('/etc/hosts', 'utf8'));
  return await openDnsServer(DNS_IP, DNS_PORT, openZone({ names, hosts, policy, ports, onDenied }));
}

const LOCALHOST: readonly Host[] = ['127.0.0.1', '::1'].flatMap((text) => {
  const name = parseHostname('localhost');
  const ip = parseIpAddress(text);
  return ip !== undefined && typeof name === 'string' ? [{ name, ip }] : [];
});
