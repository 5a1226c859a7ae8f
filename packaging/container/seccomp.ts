/**
 * seccomp.ts [--check]: writes packaging/container/seccomp.json from Docker's default profile in moby/ beside this
 * file.
 *
 * The result is the default with AF_VSOCK. These parts are resolved here, because a runtime cannot resolve them:
 *
 * - Docker's own keys (`archMap`, `includes`, `excludes`) have a meaning for Docker and podman only. Under Kubernetes,
 *   containerd reads a profile as the OCI runtime specification defines it, and ignores these keys. A rule for one
 *   capability would then hold for everyone. The result has the rules for a process without capabilities, on Linux 4.8
 *   or later.
 * - The result has the native system calls of x86-64 and aarch64 only. The 32-bit ones include socketcall(2), whose
 *   address family no filter sees.
 * - The result compares every family by its whole value, and leaves out those above AF_VSOCK.
 */
import { readFileSync, writeFileSync } from 'node:fs';

const SOURCE = new URL('moby/default.json', import.meta.url);
const OUTPUT = new URL('seccomp.json', import.meta.url);
const SOURCE_NAME = 'github.com/moby/profiles, seccomp/v0.2.3';

const AF_VSOCK = 40;

/** https://github.com/opencontainers/runtime-spec/blob/v1.1.0/config-linux.md#seccomp */
interface Argument {
  readonly index: number;
  readonly value: number;
  readonly valueTwo?: number;
  readonly op: string;
}

export interface Rule {
  readonly names: readonly string[];
  readonly action: string;
  readonly errnoRet?: number;
  readonly args?: readonly Argument[];
}

export interface Profile {
  readonly defaultAction: string;
  readonly defaultErrnoRet: number;
  readonly architectures: readonly string[];
  readonly syscalls: readonly Rule[];
}

interface Condition {
  readonly arches?: readonly string[];
  readonly caps?: readonly string[];
  readonly minKernel?: string;
}

/** The keys that only Docker's format has. */
interface DockerRule extends Rule {
  readonly comment?: string;
  readonly includes?: Condition;
  readonly excludes?: Condition;
}

export interface DockerProfile {
  readonly defaultAction: string;
  readonly defaultErrnoRet: number;
  readonly syscalls: readonly DockerRule[];
}

const ARCHES: readonly string[] = ['amd64', 'arm64'];
const OLDEST_KERNEL = 4.8;

/** The same in the runtime's own format, for a process without capabilities. @throws Error for an unknown condition */
export function resolveConditions({ defaultAction, defaultErrnoRet, syscalls }: DockerProfile): Profile {
  return {
    defaultAction,
    defaultErrnoRet,
    architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_AARCH64'],
    syscalls: syscalls.filter(concernsUs).map(withoutConditions),
  };
}

/** @throws Error if the rules for sockets are not as expected */
export function allowVsock(profile: Profile): Profile {
  const above = profile.syscalls.filter(isAboveVsock);
  if (above.length !== 1) throw new Error(`${above.length} rules allow the families above AF_VSOCK, and not one`);
  const syscalls = profile.syscalls.map((rule) =>
    isAboveVsock(rule) ? { ...rule, args: [{ index: 0, value: AF_VSOCK, op: 'SCMP_CMP_EQ' }] } : rule,
  );
  return { ...profile, syscalls };
}

/**
 * Whether the rule holds for a process without capabilities on one of these architectures. @throws Error for an unknown
 * condition
 */
function concernsUs({ includes = {}, excludes = {} }: DockerRule): boolean {
  if (excludes.minKernel !== undefined) throw new Error('a rule excludes kernels');
  if (Number(includes.minKernel ?? 0) > OLDEST_KERNEL) throw new Error(`a rule is for Linux ${includes.minKernel}`);
  if ((excludes.arches ?? []).some((arch) => ARCHES.includes(arch))) return false;
  const forArch = includes.arches === undefined || includes.arches.some((arch) => ARCHES.includes(arch));
  return forArch && (includes.caps ?? []).length === 0;
}

function withoutConditions({ names, action, errnoRet, args }: DockerRule): Rule {
  return { names, action, ...(errnoRet !== undefined && { errnoRet }), ...(args !== undefined && { args }) };
}

function isAboveVsock({ names, args = [] }: Rule): boolean {
  const [first] = args;
  return names.includes('socket') && first?.op === 'SCMP_CMP_GT' && first.index === 0 && first.value === AF_VSOCK;
}

if (import.meta.main) {
  const profile = allowVsock(resolveConditions(JSON.parse(readFileSync(SOURCE, 'utf8')) as DockerProfile));
  const text = `${JSON.stringify(profile, undefined, 1)}\n`;
  if (process.argv[2] !== '--check') writeFileSync(OUTPUT, text);
  else if (readFileSync(OUTPUT, 'utf8') !== text) {
    process.stderr.write(`packaging/container/seccomp.json is not what ${SOURCE_NAME} gives. Hint: run make seccomp\n`);
    process.exitCode = 1;
  }
}
