/** Checks of Nitro Enclaves on the parent: the driver, the allocator, and the running enclaves. */
import { parseYaml } from '../../config/read/yaml.ts';
import { VsockProxyError } from '../../platform/errors.ts';
import { quoteBriefly } from '../../platform/escape.ts';
import { type Check, type CheckResult, fail, ok, skip, warn } from './check.ts';
import type { Host } from './host.ts';

const DEVICE = '/dev/nitro_enclaves';
const ALLOCATOR = '/etc/nitro_enclaves/allocator.yaml';
const HUGE_PAGES = '/sys/kernel/mm/hugepages';
const RESTART = 'systemctl enable --now nitro-enclaves-allocator';

export function nitroChecks(host: Host, nitroCli: string): readonly Check[] {
  return [
    { name: 'nitro-driver', run: () => checkDriver(host) },
    { name: 'allocator', run: () => checkAllocator(host) },
    { name: 'enclaves', run: () => checkEnclaves(host, nitroCli) },
  ];
}

function checkDriver(host: Host): CheckResult {
  if (host.exists(DEVICE)) return ok(`${DEVICE} is there`);
  const loaded = host.exists('/sys/module/nitro_enclaves');
  return fail(
    loaded
      ? `the module nitro_enclaves is loaded, and ${DEVICE} is not there: the instance was launched without enclaves`
      : `the module nitro_enclaves is not loaded: no enclave can run here`,
    loaded ? 'stop the instance and launch it with --enclave-options Enabled=true' : 'modprobe nitro_enclaves',
  );
}

/** Compares the configuration of the allocator with the machine: memory as huge pages, CPUs as those of the driver. */
function checkAllocator(host: Host): CheckResult {
  const text = host.read(ALLOCATOR);
  if (text === undefined) return skip(`there is no ${ALLOCATOR}: the package aws-nitro-enclaves-cli is not installed`);
  const wanted = readAllocator(text);
  if (wanted instanceof VsockProxyError) return fail(wanted.line, `edit ${ALLOCATOR}, then ${RESTART}`);
  const { memoryMib, cpus } = wanted;
  const reservedMib = hugePagesMib(host);
  const pool = host.read('/sys/module/nitro_enclaves/parameters/ne_cpus')?.trim() ?? '';
  if (reservedMib < memoryMib) {
    return fail(
      `${ALLOCATOR} wants ${memoryMib} MiB for enclaves, and ${reservedMib} MiB of huge pages are reserved`,
      `${RESTART}; if it fails, memory is too fragmented: reboot, or ask for less`,
    );
  }
  if (cpus !== 0 && pool === '') return fail(`${ALLOCATOR} wants CPUs for enclaves, and none is set aside`, RESTART);
  return ok(`${reservedMib} MiB of huge pages, CPUs ${pool === '' ? 'none' : pool} for enclaves`);
}

/** `cpus` is a number, or the list in `cpu_pool`. */
function readAllocator(text: string): { memoryMib: number; cpus: number | string } | VsockProxyError {
  try {
    const { value } = parseYaml(text, ALLOCATOR);
    const {
      memory_mib: memoryMib,
      cpu_count: count,
      cpu_pool: pool,
    } = (value ?? {}) as Readonly<Record<string, unknown>>;
    if (typeof memoryMib !== 'number') throw new VsockProxyError('config', `${ALLOCATOR} has no number memory_mib`);
    const cpus = typeof pool === 'string' || typeof pool === 'number' ? String(pool) : count;
    if (typeof cpus === 'string' || typeof cpus === 'number') return { memoryMib, cpus };
    throw new VsockProxyError('config', `${ALLOCATOR} has neither cpu_count nor cpu_pool`);
  } catch (error) {
    if (error instanceof VsockProxyError) return error;
    throw error;
  }
}

/** The huge pages of all sizes, including those that enclaves use now. */
function hugePagesMib(host: Host): number {
  return host
    .list(HUGE_PAGES)
    .map((name) => {
      const kib = Number(/^hugepages-(\d+)kB$/.exec(name)?.[1] ?? 0);
      return (kib / 1024) * Number(host.read(`${HUGE_PAGES}/${name}/nr_hugepages`)?.trim() ?? 0);
    })
    .reduce((sum, mib) => sum + mib, 0);
}

async function checkEnclaves(host: Host, nitroCli: string): Promise<CheckResult> {
  const described = await host.run(nitroCli, ['describe-enclaves']);
  if (described === undefined) return skip(`${quoteBriefly(nitroCli)} is not installed`);
  const enclaves = parse(described.stdout);
  if (enclaves === undefined) {
    return fail(
      `${nitroCli} describe-enclaves ends with status ${described.status}: ${quoteBriefly(described.stderr.trim())}`,
      `${nitroCli} describe-enclaves`,
    );
  }
  if (enclaves.length === 0) return warn('no enclave runs', `${nitroCli} run-enclave …`);
  return ok(
    `${enclaves.length === 1 ? 'one enclave runs' : `${enclaves.length} enclaves run`}: ${enclaves.join(', ')}`,
  );
}

/** The running enclaves, such as `"app" (CID 16)`; undefined if the text is not the output of describe-enclaves. */
function parse(text: string): readonly string[] | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (!Array.isArray(value)) return undefined;
    return value.flatMap((each: Readonly<Record<string, unknown>> | null) => {
      if (each?.State !== 'RUNNING') return [];
      const name = each.EnclaveName ?? each.EnclaveID ?? 'unnamed';
      return [`${quoteBriefly(String(name))} (CID ${Number(each.EnclaveCID)})`];
    });
  } catch {
    return undefined;
  }
}
