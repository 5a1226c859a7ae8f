/** Checks of AF_VSOCK on the machine: whether it works, who has which CID, who holds the ports, and where CIDs lead. */
import type { VsockListener } from '../../dataplane/system.ts';
import { CID_PARENT, NAMESPACE_MODE } from '../../platform/vsock.ts';
import { type Check, type CheckResult, fail, ok, skip, warn } from './check.ts';
import type { Host } from './host.ts';

const MODULES = 'modprobe vsock';
const SECCOMP_FIX = 'give the container a seccomp profile that allows socket(AF_VSOCK): docs/containers.md';

export function vsockChecks(host: Host, ports: readonly number[], servicePid: number | undefined): readonly Check[] {
  return [
    { name: 'vsock', run: () => checkFamily(host) },
    { name: 'cid', run: () => checkCid(host) },
    { name: 'vsock-namespace', run: () => checkNamespace(host) },
    { name: 'vhost', run: () => checkVhost(host) },
    { name: 'port', run: () => checkPorts(host, ports, servicePid) },
    { name: 'port-9000', run: () => checkConsolePort(host) },
    { name: 'kernel', run: () => checkKernel(host) },
  ];
}

/** The errno and the confinement of this process show who forbids it. */
export function checkFamily(host: Host): CheckResult {
  const { errno } = host.vsock();
  switch (errno) {
    case undefined:
      return ok('AF_VSOCK sockets can be made');
    case 'EAFNOSUPPORT':
      return fail('this kernel has no AF_VSOCK: the module vsock is not loaded, and could not be', MODULES);
    case 'EPERM':
    case 'EACCES':
      return denied(host, errno);
    default:
      return fail(`no AF_VSOCK socket can be made: ${errno}`);
  }
}

function denied(host: Host, errno: string): CheckResult {
  const what = `AF_VSOCK is forbidden to this process (${errno})`;
  const label = host.read('/proc/self/attr/current')?.replace(/\0/g, '').trim() ?? '';
  if (errno === 'EPERM' && /^Seccomp:\t2$/m.test(host.read('/proc/self/status') ?? '')) {
    return fail(`${what}: a seccomp filter is in force`, SECCOMP_FIX);
  }
  if (host.read('/sys/fs/selinux/enforce')?.trim() === '1') {
    return fail(
      `${what}: SELinux is enforcing, and this runs as ${label}`,
      'ausearch -m avc -c vsock-proxy -ts recent',
    );
  }
  if (/\(enforce\)$/.test(label)) {
    const profile = label.replace(/ \(enforce\)$/, '');
    return fail(
      `${what}: the AppArmor profile ${profile} is in force`,
      `add "network vsock," to the profile ${profile}`,
    );
  }
  return fail(what, SECCOMP_FIX);
}

function checkCid(host: Host): CheckResult {
  const { errno, cid } = host.vsock();
  if (errno !== undefined) return skip('without AF_VSOCK there is none');
  if (cid === undefined) return skip('/dev/vsock cannot be opened, and nothing else tells the CID');
  if (cid === CID_PARENT) return ok(`this machine has CID ${CID_PARENT}, as a parent of enclaves has`);
  return fail(
    `this machine has CID ${cid === 0xffff_ffff ? 'none' : cid}, and a parent of enclaves has ${CID_PARENT}: the proxy cannot listen there`,
    'launch the instance with enclaves enabled (--enclave-options Enabled=true), or listen with --cid any',
  );
}

/** Linux 7.0 and later: sockets of a local namespace never reach those of enclaves. */
function checkNamespace(host: Host): CheckResult {
  const mode = host.read(NAMESPACE_MODE)?.trim();
  if (mode === undefined) return ok('vsock knows no network namespaces on this kernel');
  if (mode !== 'local') return ok(`vsock of this network namespace is ${mode}`);
  return fail(
    'vsock of this network namespace is its own (ns_mode is local): what listens here, enclaves cannot reach',
    'run the proxy in the network namespace of the host (for a pod: hostNetwork: true)',
  );
}

/**
 * With vhost_vsock, the kernel first looks for CIDs above 2 among virtual machines of this host; before Linux 7.1 it
 * looks only there. Since Linux 5.11 a program can ask it not to: vm_sockets.h, VMADDR_FLAG_TO_HOST.
 */
function checkVhost(host: Host): CheckResult {
  if (!host.exists('/sys/module/vhost_vsock')) return ok('vhost_vsock is not loaded');
  const fallback = host.read('/proc/sys/net/vsock/g2h_fallback')?.trim();
  if (fallback === '1')
    return ok('vhost_vsock is loaded, and what it does not know goes to the enclaves (g2h_fallback)');
  const cause = fallback === '0' ? 'net.vsock.g2h_fallback is 0' : 'this kernel has no net.vsock.g2h_fallback';
  const consequence = isOlder(host.kernel, [5, 11])
    ? 'no program finds an enclave by its CID'
    : "programs that do not ask for the host's way find no enclave by its CID. This proxy asks for it";
  return warn(
    `vhost_vsock is loaded, and ${cause}: ${consequence}`,
    fallback === '0' ? 'sysctl -w net.vsock.g2h_fallback=1' : 'rmmod vhost_vsock, if no virtual machines need it',
  );
}

function checkPorts(
  host: Host,
  ports: readonly number[],
  servicePid: number | undefined,
): readonly CheckResult[] | CheckResult {
  const listeners = host.vsockListeners();
  if (ports.length === 0) return skip('no listener on vsock is configured');
  if (listeners === undefined) return skip('the kernel does not tell who listens: modprobe vsock_diag, as root');
  return ports.map((port) => checkPort(host, listeners, port, servicePid));
}

function checkPort(host: Host, listeners: readonly VsockListener[], port: number, servicePid?: number): CheckResult {
  const listener = listeners.find((each) => each.port === port);
  if (listener === undefined) {
    return servicePid === undefined
      ? warn(`nobody listens on vsock port ${port}`, 'systemctl start nitro-enclaves-vsock-proxy')
      : fail(
          `the service runs, and nobody listens on vsock port ${port}`,
          'systemctl restart nitro-enclaves-vsock-proxy',
        );
  }
  const holder = host.holderOf(listener.inode);
  if (holder === undefined)
    return warn(`vsock port ${port} is taken by a process that this user may not see`, 'run it as root');
  const who = `${holder.command} (process ${holder.pid}${holder.unit === undefined ? '' : `, ${holder.unit}`})`;
  if (servicePid === undefined ? holder.command === 'vsock-proxy' : holder.pid === servicePid || holder.pid === 1) {
    return ok(`vsock port ${port} is held by ${who}`);
  }
  return fail(`vsock port ${port} is held by ${who}, and the service cannot have it`, stopOf(holder.pid, holder.unit));
}

function stopOf(pid: number, unit: string | undefined): string {
  return unit?.endsWith('.service') ? `systemctl disable --now ${unit}` : `kill ${pid}`;
}

const CONSOLE_PORT = 9000;

/** nitro-cli binds this port itself while an enclave boots. */
function checkConsolePort(host: Host): CheckResult {
  const listeners = host.vsockListeners();
  if (listeners === undefined) return skip('the kernel does not tell who listens: modprobe vsock_diag, as root');
  const taken = listeners.find(({ port }) => port === CONSOLE_PORT);
  if (taken === undefined)
    return ok(`vsock port ${CONSOLE_PORT}, which nitro-cli needs while an enclave boots, is free`);
  const holder = host.holderOf(taken.inode);
  if (holder?.command.startsWith('nitro-cli'))
    return ok(`vsock port ${CONSOLE_PORT} is held by nitro-cli: an enclave is booting`);
  return fail(
    `vsock port ${CONSOLE_PORT} is held by ${holder?.command ?? 'another process'}: nitro-cli needs it, and no enclave boots`,
    holder === undefined ? undefined : stopOf(holder.pid, holder.unit),
  );
}

/**
 * Faults of kernels that make a listener refuse every client, or an enclave hang. They are fixed upstream in Linux 7.1.
 * Vendors fix older kernels, too, and only their changelogs say so.
 */
const FAULTS = 'CVE-2026-46214';
const MENDED: KernelVersion = [7, 1];

async function checkKernel(host: Host): Promise<CheckResult> {
  if (!isOlder(host.kernel, MENDED)) return ok(`Linux ${host.kernel}`);
  const changelog = await host.run('rpm', ['-q', '--changelog', `kernel-${host.kernel}`]);
  if (changelog?.status === 0 && changelog.stdout.includes(FAULTS)) {
    return ok(`Linux ${host.kernel}, whose changelog has ${FAULTS}`);
  }
  return warn(
    `Linux ${host.kernel} may have ${FAULTS}, by which a vsock listener refuses everybody until it is opened anew`,
    'dnf upgrade kernel, and restart the service whenever clients get ECONNRESET at once',
  );
}

type KernelVersion = readonly [major: number, minor: number];

function isOlder(kernel: string, than: KernelVersion): boolean {
  const [major = 0, minor = 0] = (/^(\d+)\.(\d+)/.exec(kernel) ?? []).slice(1).map(Number);
  return major < than[0] || (major === than[0] && minor < than[1]);
}
