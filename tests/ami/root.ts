/**
 * A root directory of some Debian, in which commands run as if it were the machine's: with namespaces of mounts, processes
 * and networks of their own. What they write stays for the next command and goes with the object; chroot.sh's directory below
 * is never written to. There is no network but loopback.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Outcome, Program } from '../program.ts';

export const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const COMMAND_MS = 120_000;

/** Arguments: the lower directory, a directory of this object's own, the project, a command. */
const ENTER = `
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root" &&
mount -t proc proc "$2/root/proc" && mount --bind /dev "$2/root/dev" &&
mkdir -p "$2/root/project" "$2/root/shared" && mount --bind -o ro "$3" "$2/root/project" && mount --bind "$2/shared" "$2/root/shared" &&
ip link set lo up && exec chroot "$2/root" /bin/bash -c "$4"`;

export class Root implements Disposable {
  readonly #lower: string;
  readonly #own: string;

  private constructor(lower: string, own: string) {
    this.#lower = lower;
    this.#own = own;
  }

  /** Of this suite of Debian, as chroot.sh has them. Makes it, which takes a minute, where no run has before. */
  static of(suite: 'bookworm' | 'trixie' | 'sid' | 'sid-rpmlint'): Root {
    const lower = execFileSync(join(PROJECT, 'tests/ami/chroot.sh'), [suite], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    return Root.#above(lower.trim());
  }

  /** A new one, which begins as this one is now, and must not outlive it. This one must not be written to meanwhile. */
  fork(): Root {
    return Root.#above(`${join(this.#own, 'upper')}:${this.#lower}`);
  }

  static #above(lower: string): Root {
    const own = mkdtempSync(join(tmpdir(), 'root-'));
    for (const name of ['upper', 'work', 'root', 'shared']) mkdirSync(join(own, name));
    return new Root(lower, own);
  }

  /** A directory that this machine and the root, as /shared, have in common. */
  get shared(): string {
    return join(this.#own, 'shared');
  }

  /** Where this machine finds a file of the root that a command has written. */
  path(file: string): string {
    return join(this.#own, 'upper', file);
  }

  /** Starts a command of bash that runs beside the test. The project is at /project, and cannot be written to. */
  spawn(command: string): Program {
    const namespaces = ['--mount', '--net', '--pid', '--fork', '--kill-child'];
    return new Program('unshare', [...namespaces, 'sh', '-c', ENTER, 'sh', this.#lower, this.#own, PROJECT, command]);
  }

  async run(command: string, timeoutMs = COMMAND_MS): Promise<Outcome> {
    const program = this.spawn(command);
    try {
      return await program.outcome(timeoutMs);
    } finally {
      program.kill();
    }
  }

  /** @throws Error with all that it printed when its status is not 0. */
  async check(command: string, timeoutMs = COMMAND_MS): Promise<string> {
    const { status, stdout, stderr } = await this.run(command, timeoutMs);
    if (status !== 0) throw new Error(`status ${status} of: ${command}\n${stdout}${stderr}`);
    return stdout;
  }

  [Symbol.dispose](): void {
    rmSync(this.#own, { recursive: true, force: true });
  }
}
