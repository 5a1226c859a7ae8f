/**
 * A machine like a Nitro parent: real vsock with CID 3, real systemd, commands in by ssh.
 *
 * QEMU emulates it in software, so it runs wherever an ordinary process runs. vhost-device-vsock, another ordinary
 * process, serves its vsock device. The disk is the image of image.sh, never written to; a second disk carries the
 * files that a test brings. Every process dies with this one, however it ends, and all files lie in the directory that
 * run.sh makes and removes.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, watch } from 'node:fs';
import { createConnection } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Outcome, Output, Program } from '../program.ts';
import { type Platform, platformOf } from './platforms.ts';

const CID_PARENT = 3;
/** An emulated machine is up in 10 to 30 s; beside other work it may take several times as long. */
const BOOT_MS = 300_000;
const MOST_BOOTS = 3;
/**
 * The kernel patches its own code while it boots, and has int3 there for a moment. QEMU without KVM may run that on another
 * processor when it is gone already.
 */
const EMULATORS_FAULT = /Oops: int3/;
const COMMAND_MS = 180_000;
/** Where the project is, on this machine. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const KERNEL_ARGUMENTS = 'quiet root=/dev/nvme0n1 rootfstype=ext4 rw panic=-1 mitigations=off nokaslr net.ifnames=0';
/** What is denied goes to the kernel's log, which is not to leave any of it out. */
const SELINUX_ARGUMENTS = ' security=selinux selinux=1 enforcing=1 sysctl.kernel.printk_ratelimit=0';

/** What the kinds of processors differ in, for QEMU and for the kernel. */
const MACHINES: Readonly<
  Record<
    Platform['machine'],
    { readonly emulator: string; readonly board: string; readonly processor: string; readonly console: string }
  >
> = {
  x86_64: { emulator: 'qemu-system-x86_64', board: 'q35', processor: 'max', console: 'ttyS0' },
  // To sign pointers as the architecture has it would take an emulator most of its time.
  aarch64: { emulator: 'qemu-system-aarch64', board: 'virt', processor: 'max,pauth-impdef=on', console: 'ttyAMA0' },
};

/** What run.sh runs the tests on; a file of tests that has another one in mind starts its machine with that. */
export const PLATFORM_NAME = process.env.E2E_PLATFORM ?? 'bookworm';

/** Where the machine has the files of the project that it was given. Read-only. */
export const PROJECT = '/mnt/project';

type Extra = 'engines' | 'peers';

export interface MachineOptions {
  readonly memoryMib: number;
  /** One of platforms.ts; {@link PLATFORM_NAME}, unless it says otherwise. */
  readonly platform?: string;
  /** What it has besides: see image.sh. */
  readonly extra?: Extra;
  /** Two, unless it says otherwise. */
  readonly processors?: number;
  /**
   * To measure on. By instructions: one processor, each of whose instructions takes a nanosecond, so that figures repeat.
   * Either way it copies 8 bytes an instruction: REP MOVSB, which hardware makes fast, is emulated byte by byte.
   */
  readonly measures?: 'seconds' | 'instructions';
  /** Files and directories of the project, by their paths in it; below {@link PROJECT} in the machine. */
  readonly files: readonly string[];
  /** Whether its disk is to outlive {@link Machine.reboot}, for which it gets one of its own. */
  readonly reboots?: boolean;
  /** Commands of debugfs(8) that change its disk before it starts; for a machine that reboots. */
  readonly edits?: readonly string[];
  /** An instance of EC2, as its firmware tells. */
  readonly instance?: Instance;
}

/** The TCP ports of this machine's loopback that an instance reaches, and nothing else. */
export interface Instance {
  /** What it finds at 169.254.169.254. */
  readonly metadata: number;
  /** What it finds at 169.254.169.253. */
  readonly repositories: number;
}

/** A program in the machine that runs beside the test. Disposing of it kills it. */
export interface RemoteProgram extends Pick<Program, 'stdin' | 'stdout' | 'stderr' | 'outcome'>, AsyncDisposable {
  signal(name: 'TERM' | 'KILL' | 'HUP'): Promise<unknown>;
}

export class Machine implements AsyncDisposable {
  readonly #platform: Platform;
  readonly #image: string;
  readonly #work = mkdtempSync(join(fromRunScript('E2E_WORK'), 'machine-'));
  readonly #options: MachineOptions;
  #programs: Program[] = [];
  #emulator: Program | undefined;
  #boots = 0;
  #port = 0;

  private constructor(options: MachineOptions) {
    this.#options = options;
    this.#platform = platformOf(options.platform ?? PLATFORM_NAME);
    this.#image = imageOf(this.#platform, options.extra);
  }

  /** Resolves when the machine takes commands. */
  static async start(options: MachineOptions): Promise<Machine> {
    const machine = new Machine(options);
    try {
      machine.#makeDisks();
      await machine.#comeUp();
    } catch (error) {
      await machine[Symbol.asyncDispose]();
      throw error;
    }
    return machine;
  }

  /** Runs a shell command to its end. */
  run(command: string, timeoutMs = COMMAND_MS): Promise<Outcome> {
    const session = this.#session(command);
    session.stdin.end();
    return session.outcome(timeoutMs);
  }

  /**
   * Runs a shell command that must succeed, and gives its standard output.
   * @throws Error with all that it printed when its status is not 0.
   */
  async check(command: string, timeoutMs = COMMAND_MS): Promise<string> {
    const { status, stdout, stderr } = await this.run(command, timeoutMs);
    if (status !== 0) throw new Error(`status ${status} of: ${command}\n${stdout}${stderr}`);
    return stdout;
  }

  /** Starts one program with its arguments (no other shell syntax: signals have to reach the program itself). */
  async spawn(command: string): Promise<RemoteProgram> {
    const session = this.#session(`echo $$; exec ${command}`);
    const [, pid] = await session.stdout.match(/^(\d+)\n/, COMMAND_MS);
    return {
      stdin: session.stdin,
      stdout: session.stdout,
      stderr: session.stderr,
      outcome: (timeoutMs) => session.outcome(timeoutMs),
      signal: (name) => this.check(`kill -${name} ${pid}`),
      [Symbol.asyncDispose]: async () => {
        await this.run(`kill -KILL ${pid}`); // fails where it has already ended
        await session.outcome(COMMAND_MS);
      },
    };
  }

  /**
   * Restarts the machine in order; its disk stays. Resolves when it takes commands again.
   *
   * The emulator is a new one: after a reset, the firmware of an emulated machine takes minutes.
   */
  async reboot(): Promise<void> {
    await this.check('systemctl --no-block reboot');
    await this.comesBack();
  }

  /** The same, where it is asked to restart by somebody else. */
  async comesBack(): Promise<void> {
    await this.#emulator?.outcome(BOOT_MS);
    await this[Symbol.asyncDispose]();
    await this.#comeUp();
  }

  /** Where sshd of the machine is reached on loopback, since it last came up. */
  get sshPort(): number {
    return this.#port;
  }

  /** The private key that root of the image can be logged in with. */
  get sshKey(): string {
    return join(this.#image, 'key');
  }

  /** Ends the machine at once. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const program of this.#programs) program.kill();
    await Promise.all(this.#programs.map((program) => program.outcome(COMMAND_MS)));
    this.#programs = [];
  }

  #makeDisks(): void {
    const tree = this.#path('files');
    for (const file of this.#options.files) cpSync(join(ROOT, file), join(tree, file), { recursive: true });
    const disk = ['-q', '-t', 'ext4', '-O', '^has_journal', '-d', tree, this.#path('files.img'), '1G'];
    execFileSync('mke2fs', disk, { stdio: ['ignore', 'ignore', 'inherit'] });
    if (this.#options.reboots) {
      execFileSync('cp', ['--sparse=always', join(this.#image, 'root.img'), this.#path('root.img')]);
      for (const edit of this.#options.edits ?? []) {
        execFileSync('debugfs', ['-w', '-R', edit, this.#path('root.img')], { stdio: ['ignore', 'ignore', 'ignore'] });
      }
    }
  }

  /** Boots, and again if it is the emulator's fault that the kernel did not come up. */
  async #comeUp(): Promise<void> {
    for (let left = MOST_BOOTS; ; left -= 1) {
      try {
        return await this.#boot();
      } catch (error) {
        if (left === 1 || !EMULATORS_FAULT.test(this.#emulator?.stdout.text ?? '')) throw error;
        await this[Symbol.asyncDispose]();
      }
    }
  }

  async #boot(): Promise<void> {
    this.#boots++;
    mkdirSync(this.#socket('.'));
    await this.#startVsockDevice();
    const emulator = this.#startEmulator();
    this.#emulator = emulator;
    const ready = emulator.stdout.match(/machine is ready/, BOOT_MS).catch((error: Error) => {
      throw new Error(`${error.message}${emulator.stderr.text}`, { cause: error });
    });
    await Promise.race([ready, failure(emulator)]);
    await this.#logIn();
    await this.check(`mkdir -p ${PROJECT} && modprobe virtio_blk && mount -o ro /dev/vda ${PROJECT}`);
  }

  async #startVsockDevice(): Promise<void> {
    const options = `guest-cid=${CID_PARENT},socket=${this.#socket('vsock-device')},uds-path=${this.#socket('vsock')}`;
    const device = this.#start(join(this.#image, 'vhost-device-vsock'), ['--vm', options]);
    await Promise.race([appearance(this.#socket('vsock-device')), failure(device)]);
  }

  #startEmulator(): Program {
    const { memoryMib, measures, reboots = false } = this.#options;
    const counted = measures === 'instructions';
    const { processors = counted ? 1 : 2 } = this.#options;
    const root = reboots ? this.#path('root.img') : `${join(this.#image, 'root.img')},snapshot=on`;
    const { emulator, board, processor, console } = MACHINES[this.#platform.machine];
    const selinux = this.#platform.selinux ? SELINUX_ARGUMENTS : '';
    return this.#start(emulator, [
      ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
      ...['-accel', `tcg,thread=${counted ? 'single' : 'multi'}`, ...(counted ? ['-icount', 'shift=0,sleep=off'] : [])],
      ...['-cpu', `${processor}${measures ? ',erms=off,fsrm=off' : ''}`, '-smp', `${processors}`, '-m', `${memoryMib}`],
      ...['-machine', `${board},memory-backend=memory`],
      ...['-object', `memory-backend-memfd,id=memory,share=on,size=${memoryMib}M`],
      ...['-kernel', join(this.#image, 'vmlinuz'), '-append', `console=${console} ${KERNEL_ARGUMENTS}${selinux}`],
      ...['-trace', 'pci_nvme_err_aio'], // why a read or write of the disk failed, should one
      ...['-drive', `if=none,id=root,format=raw,cache=unsafe,file=${root}`],
      ...['-drive', `if=none,id=files,file=${this.#path('files.img')},format=raw,readonly=on`],
      // The only one of its kind: Linux from 6.12 on names several in the order in which it has found them.
      ...['-device', 'nvme,serial=e2e,drive=root', '-device', 'virtio-blk-pci,drive=files'],
      ...['-device', 'virtio-rng-pci'],
      ...['-chardev', `socket,id=vsock,path=${this.#socket('vsock-device')}`],
      ...['-device', 'vhost-user-vsock-pci,chardev=vsock'],
      ...['-netdev', 'user,id=net,ipv6=off,restrict=on,hostfwd=tcp:127.0.0.1:0-:22'],
      ...['-device', 'virtio-net-pci,netdev=net,romfile='],
      ...(this.#options.instance ? ofEc2(this.#options.instance) : []),
      ...['-chardev', `stdio,id=console,logfile=${this.#path('console.log')},logappend=on`],
      ...['-serial', 'chardev:console'],
      ...['-monitor', `unix:${this.#socket('monitor')},server=on,wait=off`],
    ]);
  }

  /** Opens the connection that every command is a session of. */
  async #logIn(): Promise<void> {
    this.#port = Number(await this.#findSshPort());
    // An instance makes host keys of its own, at its first boot.
    const known = this.#options.instance
      ? ['-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null']
      : ['-o', 'HostKeyAlias=parent', '-o', `UserKnownHostsFile=${join(this.#image, 'known_hosts')}`];
    const ssh = this.#start('ssh', [
      ...['-M', '-N', ...this.#control, '-p', `${this.#port}`, '-i', this.sshKey],
      ...['-o', 'BatchMode=yes', ...known, 'root@127.0.0.1'],
    ]);
    await Promise.race([appearance(this.#socket('ssh')), failure(ssh)]);
  }

  get #control(): readonly string[] {
    return ['-F', 'none', '-S', this.#socket('ssh')];
  }

  #session(command: string): Program {
    return new Program('ssh', [...this.#control, 'root@127.0.0.1', command]);
  }

  /** Asks QEMU which free port it chose for `hostfwd`. */
  async #findSshPort(): Promise<string> {
    const monitor = createConnection(this.#socket('monitor'));
    monitor.write('info usernet\n');
    const [, port = ''] = await new Output(monitor).match(/HOST_FORWARD\S*\s+\d+\s+127\.0\.0\.1\s+(\d+)/, COMMAND_MS);
    monitor.destroy();
    return port;
  }

  #start(command: string, args: readonly string[]): Program {
    const program = new Program(command, args);
    this.#programs.push(program);
    return program;
  }

  #path(name: string): string {
    return join(this.#work, name);
  }

  /** Of this boot. */
  #socket(name: string): string {
    return join(this.#work, `boot-${this.#boots}`, name);
  }
}

/** The directory of the image that a platform boots from: see image.sh, which makes it where no run has before. */
export function imageOf({ machine, suite, kernel }: Platform, extra?: Extra): string {
  const script = join(ROOT, 'tests/e2e/image.sh');
  const args = [machine, suite, kernel ?? suite, ...(extra ? [extra] : [])];
  const printed = execFileSync(script, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  return printed.toString().trim();
}

/** What cloud-init takes for an instance: https://cloudinit.readthedocs.io, "ds-identify". */
function ofEc2({ metadata, repositories }: Instance): readonly string[] {
  const id = 'ec2e2e00-0000-4000-8000-0000000000e2';
  const forward = (address: string, port: number) =>
    `guestfwd=tcp:${address}:80-cmd:socat STDIO TCP4:127.0.0.1:${port}`;
  const network = ['user,id=ec2,ipv6=off,restrict=on,net=169.254.169.0/24'];
  network.push(forward('169.254.169.254', metadata), forward('169.254.169.253', repositories));
  return [
    ...['-smbios', `type=1,uuid=${id},serial=${id}`],
    ...['-netdev', network.join(','), '-device', 'virtio-net-pci,netdev=ec2,romfile='],
  ];
}

/** Resolves when `path` exists. */
async function appearance(path: string): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const watcher = watch(dirname(path), { persistent: false }, () => existsSync(path) && resolve());
  if (existsSync(path)) resolve();
  await promise.finally(() => watcher.close());
}

/** Rejects when a program that should run on ends. */
async function failure(program: Program): Promise<never> {
  const { stdout, stderr } = await program.ended;
  throw new Error(`a part of the machine ended: ${program.command}\n${stdout}${stderr}`);
}

/** @throws Error when this was not started through run.sh */
export function fromRunScript(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set. Hint: start this through tests/e2e/run.sh`);
  return value;
}
