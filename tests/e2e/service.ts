/** The package and its service on a machine of the tests: what installs it, what it needs around it, and what it tells. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Machine, type MachineOptions, PLATFORM_NAME, PROJECT, type RemoteProgram, ROOT } from './machine.ts';
import { platformOf } from './platforms.ts';

export const NAME = 'nitro-enclaves-vsock-proxy';
export const EXECUTABLE = `/usr/libexec/${NAME}/vsock-proxy`;
export const COMMAND = '/usr/bin/vsock-proxy';
export const UNIT = `/usr/local/lib/systemd/system/${NAME}.service`;
export const ALLOWLIST = '/etc/nitro_enclaves/vsock-proxy.yaml';
export const DEFAULT_LIST = `/usr/share/${NAME}/vsock-proxy.yaml`;
export const GUEST = `${PROJECT}/tests/e2e/guest`;
export const KMS = 'kms.us-east-1.amazonaws.com';
/** What guest/tls_client.py prints when KMS answers. */
export const ANSWER = `TLSv1.3, certificate of ${KMS} issued by test authority\n200 hello from ${KMS}\n`;
export const SOON_MS = 120_000;
export const INSTALL_MS = 300_000;

const METADATA_LINK =
  'ip link add metadata type dummy 2>&- || true; ip address replace 169.254.169.254/32 dev metadata; ip link set metadata up';

/** What `make e2e-packages` makes, and where a machine has it. */
const PACKAGES = { x86_64: 'build/e2e-packages', aarch64: 'build/aarch64/e2e-packages' } as const;

export class Service {
  readonly machine: Machine;
  readonly #platform: ReturnType<typeof platformOf>;

  private constructor(machine: Machine, platform: ReturnType<typeof platformOf>) {
    this.machine = machine;
    this.#platform = platform;
  }

  /** A machine with the packages, none of which is installed but the stand-in for Amazon Linux, and with a certificate of KMS. */
  static async start({ platform: name = PLATFORM_NAME, ...options }: Partial<MachineOptions>): Promise<Service> {
    const platform = platformOf(name);
    const packages = PACKAGES[platform.machine];
    if (!existsSync(join(ROOT, packages))) {
      throw new Error(`${packages} is not there. Hint: make e2e-packages ARCH=${platform.machine}`);
    }
    const files = [packages, 'tests/e2e/guest'];
    const machine = await Machine.start({ memoryMib: 1024, files, platform: name, ...options });
    const service = new Service(machine, platform);
    await service.rpm(`--install ${PROJECT}/${packages}/amazon-linux-1.rpm`);
    await machine.check(`sh ${GUEST}/certificates.sh /var/lib/e2e ${KMS}`);
    return service;
  }

  /** The path of the package, or of its part with this name. */
  ours(release: number, part = ''): string {
    const { machine } = this.#platform;
    return `${PROJECT}/${PACKAGES[machine]}/${NAME}${part}-[0-9]*-${release}.${machine}.rpm`;
  }

  aws(release: number): string {
    return `${PROJECT}/${PACKAGES[this.#platform.machine]}/aws-nitro-enclaves-cli-${release}.rpm`;
  }

  /** dnf 5 where Amazon Linux 2027 has it, else dnf 4, with the options that it takes here. */
  get dnfCommand(): string {
    return `${this.#platform.suite === 'sid' ? 'dnf5' : 'dnf'} --quiet --assumeyes --disablerepo='*'`;
  }

  dnf(command: string): Promise<string> {
    return this.machine.check(`${this.dnfCommand} ${command}`, INSTALL_MS);
  }

  /** Without digests, which dnf has checked before, and which take an emulated processor long. */
  rpm(command: string): Promise<string> {
    return this.machine.check(`rpm --nodigest --nofiledigest ${command}`, INSTALL_MS);
  }

  /** A metadata service that tells us-east-1, at its address, which the machine has only while it runs. */
  async startMetadata(): Promise<RemoteProgram> {
    await this.machine.check(METADATA_LINK);
    const service = await this.machine.spawn(`python3 ${GUEST}/imds.py --region us-east-1`);
    await service.stdout.match(/listening/, SOON_MS);
    return service;
  }

  async kms(): Promise<RemoteProgram> {
    const server = await this.machine.spawn(`python3 ${GUEST}/tls_server.py 10.77.0.1 443 /var/lib/e2e/server.pem`);
    await server.stdout.match(/listening\n/, SOON_MS);
    return server;
  }

  /** Runs a scenario of guest/scenarios.py between a client at CID 3 port 8000 and a server at the address of KMS. */
  play(scenario: string): Promise<string> {
    return this.machine.check(`python3 ${GUEST}/scenarios.py ${scenario} 8000 443`);
  }

  /** An enclave calls KMS through the service. It has no network: its one link is down. */
  askKms(): Promise<string> {
    return this.machine.check(`unshare --net python3 ${GUEST}/tls_client.py 3 8000 ${KMS} /var/lib/e2e/ca.pem`);
  }

  async state(): Promise<{ readonly enabled: string; readonly active: string; readonly unit: string }> {
    const shown = await this.machine.check(`systemctl show -P UnitFileState -P ActiveState -P FragmentPath ${NAME}`);
    const [active = '', unit = '', enabled = ''] = shown.split('\n');
    return { enabled, active, unit: unit.replace(/^\/lib\//, '/usr/lib/') }; // Debian 12 calls it by its old name
  }

  async status(): Promise<string> {
    return (await this.machine.run(`systemctl status --no-pager --full ${NAME}`)).stdout;
  }

  async mainPid(): Promise<number> {
    return Number(await this.machine.check(`systemctl show -P MainPID ${NAME}`));
  }

  async becomesActive(): Promise<void> {
    await this.machine.check(`until systemctl --quiet is-active ${NAME}; do sleep 0.1; done`);
  }

  /** All that the journal has of the service. */
  journal(): Promise<string> {
    return this.machine.check(`journalctl --sync; journalctl --unit ${NAME} --output cat`);
  }

  /** What the journal gets of the service from now on. */
  async follow(): Promise<RemoteProgram['stdout']> {
    const shown = await this.machine.check('journalctl --sync; journalctl --lines 0 --show-cursor');
    const cursor = /cursor: (\S+)/.exec(shown)?.[1];
    const follow = `journalctl --follow --unit ${NAME} --output cat --after-cursor='${cursor}'`;
    return (await this.machine.spawn(follow)).stdout;
  }

  /** When systemd last logged this of the service, in microseconds. */
  async microsOf(text: string): Promise<number> {
    const fields = `journalctl --unit ${NAME} --output json --output-fields MESSAGE --grep '${text}' --lines 1`;
    return Number(JSON.parse(await this.machine.check(`journalctl --sync; ${fields}`)).__REALTIME_TIMESTAMP);
  }

  /** It runs as a user of its own without capabilities and under a filter of system calls, and has no memory to write code into. */
  async isConfined(): Promise<void> {
    const facts = await this.machine.check(`cat /proc/${await this.mainPid()}/status`);
    assert.doesNotMatch(facts, /^Uid:\t0\t/m);
    assert.match(facts, /^CapBnd:\t0{16}$/m);
    assert.match(facts, /^NoNewPrivs:\t1$/m);
    assert.match(facts, /^Seccomp:\t2$/m);
    assert.doesNotMatch(await this.machine.check(`cat /proc/${await this.mainPid()}/maps`), /^\S+ .wx/m);
  }

  /** @returns the exposure that `systemd-analyze security` finds, at most 1.5 */
  async exposure(): Promise<number> {
    const report = await this.machine.check(`systemd-analyze security --no-pager ${NAME}`);
    const exposure = Number(/Overall exposure level for .*: ([\d.]+)/.exec(report)?.[1]);
    assert(exposure <= 1.5, report);
    return exposure;
  }

  /** systemd finds no fault in the unit. */
  async verifyUnit(): Promise<void> {
    const { status, stdout, stderr } = await this.machine.run(`systemd-analyze verify --man=no ${NAME}.service`);
    assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '', stderr: '' });
  }
}

export async function succeeded(program: RemoteProgram, timeoutMs = SOON_MS): Promise<void> {
  const { status, stdout, stderr } = await program.outcome(timeoutMs);
  assert.equal(status, 0, stdout + stderr);
}
