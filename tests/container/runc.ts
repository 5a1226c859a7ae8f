/** The image in containers of runc, as tight as the tightest pod: not root, read-only, without capabilities. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Profile } from '../../packaging/container/seccomp.ts';
import { Program } from '../program.ts';

export const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
export const { version: VERSION } = read<{ readonly version: string }>(join(PROJECT, 'package.json'));
export const OCI = join(PROJECT, 'build/oci');
/** The user of the image. */
export const UID = 65532;
/** The profile that goes with the image. */
export const OURS = read<Profile>(join(PROJECT, 'packaging/container/seccomp.json'));

const PATIENCE_MS = 60_000;

export function read<T>(path: string): T {
  return JSON.parse(readFileSync(path, 'utf8')) as T;
}

/**
 * @returns what the command prints
 * @throws AssertionError with its standard error unless it ends with 0
 */
export async function run(...[command = '', ...args]: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await new Program(command, args).outcome(PATIENCE_MS);
  assert.equal(status, 0, `${command} ${args.join(' ')}: ${stderr}`);
  return stdout;
}

export const skopeo = (...args: readonly string[]) => run('skopeo', '--insecure-policy', ...args);

export interface Container {
  readonly id: string;
  /** runc, which stays until the container's process ends, and ends with its status. */
  readonly program: Program;
}

export interface ContainerOptions {
  readonly seccomp: Profile;
  readonly args: readonly string[];
  /** Directories of this machine, by where the container has them; it cannot write to them. */
  readonly volumes?: Readonly<Record<string, string>>;
  /** `RUST_LOG`, `info` by default. */
  readonly log?: string;
  /** As `hostNetwork: true` in a pod. */
  readonly hostNetwork?: true;
}

/** The unpacked image, and the containers that run it. */
export class Bundle {
  readonly rootfs: string;
  readonly #work: string;
  readonly #runc: readonly string[];
  readonly #config: Readonly<Record<string, object>>;
  #containers = 0;

  private constructor(work: string) {
    const bundle = join(work, 'bundle');
    this.rootfs = join(bundle, 'rootfs');
    this.#work = work;
    this.#runc = ['--root', join(work, 'runc')];
    this.#config = read(join(bundle, 'config.json'));
  }

  /**
   * Unpacks what `docker load` takes, with layers that umoci of Debian 12 knows, too.
   * @param work a directory of the caller's
   */
  static async unpack(work: string): Promise<Bundle> {
    const archive = `docker-archive:${OCI}/vsock-proxy-${VERSION}-amd64.tar`;
    await skopeo('copy', '--quiet', archive, `oci:${work}/layout:proxy`);
    await run('umoci', 'unpack', '--image', `${work}/layout:proxy`, join(work, 'bundle'));
    return new Bundle(work);
  }

  /** The container's process, until it ends. */
  start(options: ContainerOptions): Container {
    const { id, command } = this.prepare(options);
    const [program, ...args] = command;
    return { id, program: new Program(program, args) };
  }

  /** The command that runs it. */
  prepare({ seccomp, args, volumes = {}, log = 'info', hostNetwork }: ContainerOptions) {
    this.#containers += 1;
    const id = `vsock-proxy-test-${process.pid}-${this.#containers}`;
    const directory = join(this.#work, id);
    mkdirSync(directory);
    const namespaces = ['pid', 'ipc', 'uts', 'mount', ...(hostNetwork ? [] : ['network'])];
    const binds = Object.entries(volumes).map(([destination, source]) => {
      return { destination, type: 'bind', source, options: ['bind', 'ro'] };
    });
    const spec = {
      ...this.#config,
      root: { path: this.rootfs, readonly: true },
      process: {
        terminal: false,
        user: { uid: UID, gid: UID },
        args,
        env: ['PATH=/usr/bin', `RUST_LOG=${log}`],
        cwd: '/',
        capabilities: {},
        noNewPrivileges: true,
      },
      mounts: [
        { destination: '/proc', type: 'proc', source: 'proc' },
        { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'noexec', 'mode=755', 'ro'] },
        ...binds,
      ],
      linux: {
        namespaces: namespaces.map((type) => ({ type })),
        maskedPaths: ['/proc/kcore', '/proc/keys', '/proc/timer_list'],
        readonlyPaths: ['/proc/sys', '/proc/sysrq-trigger'],
        seccomp,
      },
    };
    writeFileSync(join(directory, 'config.json'), JSON.stringify(spec));
    const command: readonly [string, ...string[]] = ['runc', ...this.#runc, 'run', '--bundle', directory, id];
    return { id, command };
  }

  async signal({ id }: Container, signal: 'TERM' | 'HUP'): Promise<void> {
    await run('runc', ...this.#runc, 'kill', id, signal);
  }

  /** Process id on this machine. */
  async pid({ id }: Pick<Container, 'id'>): Promise<number> {
    const { pid } = JSON.parse(await run('runc', ...this.#runc, 'state', id)) as { readonly pid: number };
    return pid;
  }

  /** Ends what a failed test has left running. */
  async clear(): Promise<void> {
    const left = JSON.parse(await run('runc', ...this.#runc, 'list', '--format', 'json')) as
      | readonly { readonly id: string }[]
      | null;
    for (const { id } of left ?? []) await run('runc', ...this.#runc, 'delete', '--force', id);
  }
}
