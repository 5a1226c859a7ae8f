/** Checks inside an enclave: the set-up by `vsock-proxy enclave`, the enclave's device, and the path to the parent. */
import { isExactNameRule } from '../../access/rules.ts';
import { planEnclave } from '../../config/enclave-plan.ts';
import { inspectFile, type LoadedFile } from '../../config/load.ts';
import type { SocketAddress } from '../../dataplane/contract.ts';
import { writeAddress } from '../../dataplane/format.ts';
import { parseHosts } from '../../dns/hosts.ts';
import type { EnclavePlan, ListenerPlan } from '../../plan.ts';
import { VsockProxyError } from '../../platform/errors.ts';
import { CID_ANY, CID_PARENT } from '../../platform/vsock.ts';
import { type Check, type CheckResult, fail, ok, skip, warn } from './check.ts';
import { describeConfig } from './file.ts';
import type { Host } from './host.ts';
import { DIAL_MS, type Network } from './network.ts';
import { checkFamily } from './vsock.ts';

const IFF_UP = 1;
const ENCLAVE = 'start the application by: vsock-proxy enclave -- COMMAND';

export function enclaveChecks(host: Host, network: Network, configPath: string): readonly Check[] {
  const loaded = inspectFile(configPath, 'enclave');
  const plan = 'problems' in loaded ? undefined : plannedFor(loaded);
  return [
    { name: 'vsock', run: () => checkFamily(host) },
    { name: 'loopback', run: () => checkLoopback(host) },
    { name: 'config', run: () => describeConfig(configPath, loaded) },
    { name: 'hosts', run: () => checkHosts(host, plan) },
    { name: 'resolv-conf', run: () => checkResolvConf(host, plan) },
    { name: 'nsm', run: () => checkNsm(host) },
    { name: 'clock', run: () => checkClock(host) },
    { name: 'dns', run: () => checkDns(network, plan) },
    { name: 'parent', run: () => checkParent(network, plan) },
    { name: 'policy', run: () => checkPolicies(network, plan) },
  ];
}

function plannedFor(file: LoadedFile): EnclavePlan | VsockProxyError {
  try {
    return planEnclave(file, {
      parentAddress: (port) => ({ family: 'vsock', cid: CID_PARENT, port }),
      ownAddress: (port) => ({ family: 'vsock', cid: CID_ANY, port }),
    });
  } catch (error) {
    if (error instanceof VsockProxyError) return error;
    throw error;
  }
}

type Planned = EnclavePlan | VsockProxyError | undefined;

/** The plan, or the reason why there is none. */
function needPlan(plan: Planned): EnclavePlan | CheckResult {
  if (plan === undefined) return skip('the configuration is not valid');
  return plan instanceof VsockProxyError ? skip(plan.line) : plan;
}

function checkLoopback(host: Host): CheckResult {
  const flags = Number(host.read('/sys/class/net/lo/flags')?.trim() ?? Number.NaN);
  if (Number.isNaN(flags)) return skip('/sys does not tell of the interface lo');
  if ((flags & IFF_UP) !== 0) return ok('the loopback interface is up');
  return fail(
    'the loopback interface is down: nothing on 127.0.0.1 can be reached',
    `ip link set lo up, or ${ENCLAVE}`,
  );
}

function checkHosts(host: Host, plan: Planned): CheckResult {
  const needed = needPlan(plan);
  if ('status' in needed) return needed;
  const text = host.read('/etc/hosts');
  if (text === undefined) return fail('there is no /etc/hosts', ENCLAVE);
  const table = parseHosts(text);
  const missing = needed.hosts.filter(({ name, ip }) => !table.get(name)?.some((each) => each.text === ip.text));
  if (missing.length > 0) {
    return fail(`/etc/hosts lacks ${missing.map(({ name, ip }) => `${ip.text} ${name}`).join(', ')}`, ENCLAVE);
  }
  return ok(`/etc/hosts has ${needed.hosts.length === 0 ? 'nothing to have' : `all ${needed.hosts.length} names`}`);
}

function checkResolvConf(host: Host, plan: Planned): CheckResult {
  const needed = needPlan(plan);
  if ('status' in needed) return needed;
  if (needed.egress === undefined || needed.egress.transparentPorts.length === 0) {
    return skip('no name is reached transparently: there is no DNS server to name');
  }
  const servers = [...(host.read('/etc/resolv.conf') ?? '').matchAll(/^\s*nameserver\s+(\S+)/gm)].map(([, ip]) => ip);
  if (servers.length === 1 && servers[0] === '127.0.0.1')
    return ok('/etc/resolv.conf names the DNS server of this enclave');
  return fail(
    `/etc/resolv.conf names ${servers.length === 0 ? 'no server' : servers.join(', ')}, and not 127.0.0.1`,
    ENCLAVE,
  );
}

function checkNsm(host: Host): CheckResult {
  if (host.exists('/dev/nsm')) return ok('/dev/nsm is there: the enclave can attest itself');
  return warn(
    'there is no /dev/nsm: this is no Nitro enclave, or its kernel lacks the driver',
    'insmod nsm.ko, in the init of the image',
  );
}

/** An enclave has no time service. The hypervisor sets its clock. */
function checkClock(host: Host): CheckResult {
  const now = host.now();
  if (now.getUTCFullYear() < 2026)
    return fail(
      `it is ${now.toISOString()}: certificates are not valid yet`,
      'hwclock --hctosys, or PTP from /dev/ptp0',
    );
  return ok(`it is ${now.toISOString()}`);
}

async function checkDns(network: Network, plan: Planned): Promise<CheckResult> {
  const needed = needPlan(plan);
  if ('status' in needed) return needed;
  const { egress } = needed;
  if (egress === undefined || egress.transparentPorts.length === 0) return skip('no name is reached transparently');
  const rule = egress.policy.allow.find(isExactNameRule);
  if (rule === undefined) return skip('egress.allow has no exact name to ask for');
  const { name } = rule.address;
  try {
    const { addresses } = await network.resolve({ kind: 'name', name });
    return ok(`${name} is ${addresses.map(({ text }) => text).join(', ')}`);
  } catch (error) {
    if (!(error instanceof VsockProxyError)) throw error;
    return fail(error.message, ENCLAVE);
  }
}

/** Every port of the parent to which the plan connects. */
async function checkParent(network: Network, plan: Planned): Promise<CheckResult | readonly CheckResult[]> {
  const needed = needPlan(plan);
  if ('status' in needed) return needed;
  const addresses = new Map(needed.listeners.flatMap(parentOf).map((address) => [JSON.stringify(address), address]));
  if (addresses.size === 0) return skip('no listener leads to the parent');
  return await Promise.all([...addresses.values()].map((address) => dialParent(network, address)));
}

/** Those of ingress lead to the application. */
function parentOf({ route }: ListenerPlan): readonly SocketAddress[] {
  if (route.kind === 'address') return route.address.family === 'tcp' ? [] : [route.address];
  return (route.kind === 'http' || route.kind === 'names') && route.via !== undefined ? [route.via] : [];
}

async function dialParent(network: Network, address: SocketAddress): Promise<CheckResult> {
  const where = address.family === 'vsock' ? `vsock port ${address.port} of CID ${address.cid}` : writeAddress(address);
  const dialled = await network.dial(address, DIAL_MS);
  if (dialled.kind === 'connected') return ok(`${where} answers, after ${dialled.ms} ms`);
  return fail(`${where}: ${dialled.errno} after ${dialled.ms} ms`, 'on the parent: vsock-proxy doctor');
}

/** Opens a tunnel to a name that this side allows, to see whether the other side allows it. */
async function checkPolicies(network: Network, plan: Planned): Promise<CheckResult | readonly CheckResult[]> {
  const needed = needPlan(plan);
  if ('status' in needed) return needed;
  const { egress } = needed;
  const rule = egress?.policy.allow.find(isExactNameRule);
  if (egress === undefined || rule === undefined) return skip('egress.allow has no exact name to ask for');
  const target = `${rule.address.name}:443`;
  const answer = await network.askProxy(egress.proxy, target, DIAL_MS);
  if ('errno' in answer) return fail(`the proxy of this enclave does not answer: ${answer.errno}`, ENCLAVE);
  if (answer.status === 403) {
    return fail(
      `this side allows ${target}, and the parent does not: ${answer.reason}`,
      'on the parent: vsock-proxy check HOST PORT',
    );
  }
  if (answer.status === 200) return ok(`both sides allow ${target}, and it answers`);
  return warn(`both sides allow ${target}, and it cannot be reached: ${answer.status} ${answer.reason}`);
}
