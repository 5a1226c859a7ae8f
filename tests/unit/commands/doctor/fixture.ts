/** A machine for the tests of the doctor: a healthy parent, unless a test changes something. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseIpAddress } from '../../../../src/access/address.ts';
import { type DoctorArguments, type Examined, runDoctor } from '../../../../src/commands/doctor/doctor.ts';
import type { Holder, Host, Ran } from '../../../../src/commands/doctor/host.ts';
import type { Network } from '../../../../src/commands/doctor/network.ts';
import type { RunningListener } from '../../../../src/commands/doctor/running.ts';
import type { VsockListener, VsockSupport } from '../../../../src/dataplane/system.ts';
import { VsockProxyError } from '../../../../src/platform/errors.ts';

export interface Situation {
  files?: Readonly<Record<string, string | undefined>>;
  /** Output of programs, by their first words; undefined: not installed. */
  programs?: Readonly<Record<string, Partial<Ran> | undefined>>;
  vsock?: VsockSupport;
  listeners?: readonly VsockListener[] | undefined;
  holders?: Readonly<Record<number, Holder>>;
  kernel?: string;
  now?: Date;
  network?: Partial<Network>;
  /** Of the configuration file. */
  config?: string;
  arguments?: Partial<DoctorArguments>;
  /** Of the proxy that runs: what its one listener is, or why it cannot be asked. */
  running?: Partial<RunningListener> | VsockProxyError;
  env?: Readonly<Record<string, string>>;
}

export const OUR_UNIT = '/usr/local/lib/systemd/system/nitro-enclaves-vsock-proxy.service';
const KMS = 'kms.eu-west-1.amazonaws.com';
const WORDS = ['/usr/libexec/x/vsock-proxy', '8000', KMS, '443', '--config', 'CONFIG', ''];

export const UNIT = {
  LoadState: 'loaded',
  FragmentPath: OUR_UNIT,
  DropInPaths: '',
  ActiveState: 'active',
  SubState: 'running',
  StatusText: 'Listening on 1 address; 0 connections',
  Result: 'success',
  UnitFileState: 'enabled',
  LimitNOFILE: '131072',
  MainPID: '77',
};

export const show = (unit: Readonly<Record<string, string>>): Partial<Ran> => ({
  stdout: `${Object.entries(unit)
    .map(([key, value]) => `${key}=${value}`)
    .join('\n')}\n`,
});

const FILES: Readonly<Record<string, string>> = {
  '/proc/self/status': 'Seccomp:\t0\n',
  '/dev/nitro_enclaves': '',
  '/etc/nitro_enclaves/allocator.yaml': '---\nmemory_mib: 1024\ncpu_count: 2\n',
  '/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages': '512\n',
  '/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages': '0\n',
  '/sys/module/nitro_enclaves/parameters/ne_cpus': '1,3\n',
  '/run/systemd/system': '',
  [OUR_UNIT]: '',
  '/usr/bin/vsock-proxy': '',
  '/etc/resolv.conf': 'nameserver 10.0.0.2\n',
};

const PROGRAMS: Readonly<Record<string, Partial<Ran>>> = {
  systemctl: show(UNIT),
  'nitro-cli': { stdout: '[{"EnclaveName":"app","EnclaveCID":16,"State":"RUNNING"}]' },
  '/usr/bin/vsock-proxy': { stdout: 'vsock-proxy 0.2.0\n' },
  rpm: { stdout: 'nitro-enclaves-vsock-proxy-0.2.0-1.x86_64\n' },
  timedatectl: { stdout: 'yes\n' },
};

const CONFIG = `allowlist:\n- {address: ${KMS}, port: 443}\nlimits: {connections: 1000}\n`;

const LISTENER: RunningListener = {
  address: 'vsock:3:8000',
  target: `${KMS}:443`,
  limits: { connections: 4, connectionsPerClient: 0, ratePerClient: 0 },
  counters: { active: 1, limitHits: 0, waitingMs: 0 },
  upstream: { addresses: ['10.0.0.7:443'], ageSeconds: 7, ttlSeconds: 60, stale: false },
};

const ip = (text: string) => parseIpAddress(text) ?? unparsable(text);
function unparsable(text: string): never {
  throw new Error(text);
}

const NETWORK: Network = {
  dial: () => Promise.resolve({ kind: 'connected', ms: 1 }),
  handshake: () =>
    Promise.resolve({ kind: 'done', connectMs: 2, handshakeMs: 9, protocol: 'TLSv1.3', issuer: 'Amazon' }),
  resolve: () => Promise.resolve({ addresses: [ip('10.0.0.7')], ttlMs: 60_000, source: 'dns' }),
  askProxy: () => Promise.resolve({ status: 200, reason: 'OK' }),
  readPlacement: () => Promise.resolve({ region: 'eu-west-1', domain: 'amazonaws.com' }),
};

/** Runs the doctor on it. Returns the output, and the findings of each check. */
export async function diagnose(situation: Situation = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'doctor-'));
  try {
    const configPath = join(folder, 'vsock-proxy.yaml');
    writeFileSync(configPath, situation.config ?? CONFIG);
    const words = WORDS.map((word) => (word === 'CONFIG' ? configPath : word)).join('\0');
    const files = { ...FILES, '/proc/77/cmdline': words, ...situation.files };
    const programs = { ...PROGRAMS, ...situation.programs };
    const host: Host = {
      pid: 99,
      env: situation.env ?? {},
      kernel: situation.kernel ?? '7.2.4-4.107.amzn2027.x86_64',
      now: () => situation.now ?? new Date('2026-11-27T12:00:00Z'),
      read: (path) => (files as Readonly<Record<string, string | undefined>>)[path],
      list: (path) => [
        ...new Set(
          Object.keys(files)
            .filter((each) => each.startsWith(`${path}/`))
            .map((each) => each.slice(path.length + 1).split('/')[0] ?? ''),
        ),
      ],
      exists: (path) =>
        Object.entries(files).some(
          ([each, text]) => text !== undefined && (each === path || each.startsWith(`${path}/`)),
        ),
      run: (program) => {
        const ran = (programs as Readonly<Record<string, Partial<Ran> | undefined>>)[program];
        return Promise.resolve(ran && { status: 0, stdout: '', stderr: '', ...ran });
      },
      vsock: () => situation.vsock ?? { cid: 3 },
      vsockListeners: () => ('listeners' in situation ? situation.listeners : [{ cid: 3, port: 8000, inode: 500 }]),
      holderOf: (inode) =>
        (situation.holders ?? {
          500: { pid: 77, command: 'vsock-proxy', unit: 'nitro-enclaves-vsock-proxy.service' },
        })[inode],
    };
    const { text, exitStatus } = await runDoctor(
      {
        where: 'parent',
        network: false,
        json: true,
        strict: false,
        skip: [],
        nitroCli: 'nitro-cli',
        ...situation.arguments,
        configPath,
      },
      {
        host,
        network: { ...NETWORK, ...situation.network },
        requestStatus: () =>
          situation.running instanceof VsockProxyError
            ? Promise.reject(situation.running)
            : Promise.resolve({ listeners: [{ ...LISTENER, ...situation.running }] }),
        judge: () => Promise.resolve({ status: 'ok', found: 'allowed by the first entry' }),
      },
    );
    const checks: readonly Examined[] = situation.arguments?.json === false ? [] : JSON.parse(text).checks;
    const lines = checks.map(({ name, status, found, fix }) => `${status} ${name}: ${found}${fix ? ` → ${fix}` : ''}`);
    return {
      text,
      exitStatus,
      checks,
      lines,
      of: (name: string) => lines.filter((line) => line.split(' ')[1] === `${name}:`),
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export const refused = (message: string, hint?: string): VsockProxyError =>
  new VsockProxyError('metadata', message, hint === undefined ? {} : { hint });
