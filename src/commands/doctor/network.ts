/** Checks that use the network: metadata, names, servers. All but the one of metadata need `--network`. */
import type { IpAddress } from '../../access/address.ts';
import type { Target } from '../../access/rules.ts';
import type { TemplateValues } from '../../config/schema/addresses.ts';
import type { SocketAddress } from '../../dataplane/contract.ts';
import type { Answer } from '../../dns/resolver.ts';
import { VsockProxyError } from '../../platform/errors.ts';
import { formatTarget } from '../../proxy/report/format.ts';
import { type Check, type CheckResult, fail, ok, skip, warn } from './check.ts';
import type { Host } from './host.ts';

/** Whether a connection succeeded, and after how many milliseconds that was known. */
export type DialOutcome =
  | { readonly kind: 'connected'; readonly ms: number }
  | { readonly kind: 'failed'; readonly ms: number; readonly errno: string };

export type Handshake =
  | {
      readonly kind: 'done';
      readonly connectMs: number;
      readonly handshakeMs: number;
      /** `TLSv1.3`. */
      readonly protocol: string;
      /** The issuer of the certificate. */
      readonly issuer: string;
      /** Why the certificate is not trusted on this machine; absent: it is. */
      readonly distrust?: string;
    }
  | { readonly kind: 'failed'; readonly connectMs?: number; readonly ms: number; readonly reason: string };

export interface Network {
  dial(to: SocketAddress, timeoutMs: number): Promise<DialOutcome>;
  /** Only the handshake; no request is sent. */
  handshake(to: SocketAddress, serverName: string, timeoutMs: number): Promise<Handshake>;
  /** @throws VsockProxyError `resolve-failed` */
  resolve(name: Target['host'] & { readonly kind: 'name' }): Promise<Answer>;
  /** The answer of an HTTP proxy to CONNECT for `host:port`. */
  askProxy(
    proxy: { readonly ip: string; readonly port: number },
    target: string,
    timeoutMs: number,
  ): Promise<{ readonly status: number; readonly reason: string } | { readonly errno: string }>;
  /** @throws VsockProxyError `metadata` */
  readPlacement(): Promise<TemplateValues>;
}

export const DIAL_MS = 5_000;

export interface NetworkSubject {
  readonly host: Host;
  readonly network: Network;
  /** Whether `--network` was given. */
  readonly allowed: boolean;
  /** The fixed servers of the service or of the file. */
  readonly targets: readonly Target[];
  /** Whether the endpoint is set, so that the metadata service is not needed. */
  readonly endpointGiven: boolean;
}

export function networkChecks(subject: NetworkSubject): readonly Check[] {
  const perTarget = (check: (target: Target) => Promise<CheckResult>) => async () => {
    if (!subject.allowed) return skip('it asks the network: --network');
    if (subject.targets.length === 0) return skip('no fixed server is configured');
    return await Promise.all(subject.targets.map(check));
  };
  return [
    { name: 'metadata', run: () => checkMetadata(subject) },
    { name: 'resolv-conf', run: () => checkResolvConf(subject.host) },
    { name: 'clock', run: () => checkClock(subject.host) },
    { name: 'names', run: perTarget((target) => checkName(subject.network, target)) },
    { name: 'servers', run: perTarget((target) => checkServer(subject.network, target)) },
  ];
}

async function checkMetadata({ host, network, endpointGiven }: NetworkSubject): Promise<CheckResult> {
  if (endpointGiven) return skip('the endpoint is given, and nothing asks the metadata service');
  try {
    const { region, domain } = await network.readPlacement();
    return ok(`the metadata service tells the region: ${region}, ${domain}`);
  } catch (error) {
    if (!(error instanceof VsockProxyError)) throw error;
    const hops = host.exists('/.dockerenv') || host.exists('/run/.containerenv') || host.env.KUBERNETES_SERVICE_HOST;
    return fail(
      error.message,
      hops && error.message.includes('no answer')
        ? 'in a container, answers need a second hop: aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2 --instance-id …'
        : (error.hint ?? 'or do without it: VSOCK_PROXY_KMS_ENDPOINT in the sysconfig file'),
    );
  }
}

function checkResolvConf(host: Host): CheckResult {
  const text = host.read('/etc/resolv.conf');
  if (text === undefined) return fail('there is no /etc/resolv.conf: no name can be resolved', 'resolvectl status');
  const servers = [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)].map(([, server]) => server);
  if (servers.length === 0) return fail('/etc/resolv.conf names no server', 'resolvectl status');
  return ok(`/etc/resolv.conf names ${servers.join(', ')}`);
}

/** A wrong clock makes certificates look not yet valid, or expired. */
async function checkClock(host: Host): Promise<CheckResult> {
  const now = host.now().toISOString();
  const shown = await host.run('timedatectl', ['show', '--property=NTPSynchronized', '--value']);
  if (shown?.status === 0 && shown.stdout.trim() === 'yes') return ok(`it is ${now}, synchronised`);
  const tracking = await host.run('chronyc', ['-c', 'tracking']);
  if (tracking?.status === 0 && !tracking.stdout.includes('Not synchronised')) return ok(`it is ${now}, by chrony`);
  if (shown === undefined && tracking === undefined)
    return skip(`it is ${now}; nothing here tells whether that is right`);
  return warn(`it is ${now}, and nothing keeps the clock right`, 'systemctl enable --now chronyd');
}

async function checkName(network: Network, target: Target): Promise<CheckResult> {
  const { host } = target;
  if (host.kind === 'ip') return ok(`${host.ip.text} is an address`);
  try {
    const { addresses, ttlMs, source } = await network.resolve(host);
    const by = source === 'dns' ? `for ${Math.round(ttlMs / 1000)} s` : `by ${source}`;
    return ok(`${host.name} is ${addresses.map(({ text }) => text).join(', ')}, ${by}`);
  } catch (error) {
    if (!(error instanceof VsockProxyError)) throw error;
    return fail(error.message, error.hint ?? `dig ${host.name}`);
  }
}

async function checkServer(network: Network, target: Target): Promise<CheckResult> {
  const { host, port } = target;
  let addresses: readonly IpAddress[];
  try {
    addresses = host.kind === 'ip' ? [host.ip] : (await network.resolve(host)).addresses;
  } catch {
    return skip(`${formatTarget(target)}: its name cannot be resolved`);
  }
  const [first] = addresses;
  if (first === undefined) return skip(`${formatTarget(target)}: it has no address`);
  const to = { family: 'tcp', ip: first.text, port } as const;
  const name = host.kind === 'name' ? host.name : host.ip.text;
  const shaken = await network.handshake(to, name, DIAL_MS);
  return describeHandshake(`${formatTarget(target)} (${first.text})`, shaken);
}

/** `vsock-proxy probe` uses this, too. */
export function describeHandshake(where: string, shaken: Handshake): CheckResult {
  if (shaken.kind === 'failed') {
    return shaken.connectMs === undefined
      ? fail(
          `${where}: no connection: ${shaken.reason}, after ${shaken.ms} ms`,
          'check route tables and security groups',
        )
      : fail(`${where}: connected in ${shaken.connectMs} ms, and no TLS: ${shaken.reason}, after ${shaken.ms} ms`);
  }
  const { connectMs, handshakeMs, protocol, issuer, distrust } = shaken;
  const done = `${where}: connected in ${connectMs} ms, ${protocol} in ${handshakeMs} ms, certificate by ${issuer}`;
  return distrust === undefined ? ok(done) : warn(`${done}, which this machine does not trust: ${distrust}`);
}
