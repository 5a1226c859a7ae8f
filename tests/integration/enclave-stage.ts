/**
 * A parent and its enclave without a second kernel: two network namespaces, joined by unix sockets in the place of vsock.
 *
 * The test itself runs on the parent's side, where names and servers are. The enclave's side is as an enclave finds it:
 * a loopback link that is down, and an /etc of its own.
 */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterEach, suite, test } from 'node:test';
import { Program } from '../program.ts';
import { ENCLAVE, EXECUTABLE } from './proxy.ts';

/** The address of the parent's servers. */
export const SERVER_IP = '10.77.0.1';
export const PATIENCE_MS = 60_000;
const INSIDE = 'VSOCK_PROXY_TEST_NAMESPACE';
const PATH = '/usr/sbin:/usr/bin:/sbin:/bin';

/** The program of the enclave's side, which is tested. */
export const TESTED = process.env.VSOCK_PROXY_TEST_ENCLAVE ?? EXECUTABLE;
/** What runs a program for another machine. */
const EMULATOR = TESTED.startsWith('build/aarch64/') && process.arch !== 'arm64' ? ['qemu-aarch64'] : [];

/**
 * Runs the tests of `body` in the parent's namespace, for each program of the enclave's side. `hosts`: what its hosts file has;
 * `programs`: instead of those for this machine.
 *
 * To run some of them by their names, the name of {@link NAMESPACES} has to be among the patterns.
 */
export function onParent(
  filename: string,
  hosts: string,
  body: () => void,
  programs: readonly string[] = [EXECUTABLE, ENCLAVE],
): void {
  if (process.env[INSIDE] !== undefined) {
    body();
    return;
  }
  suite(NAMESPACES, { concurrency: true, timeout: 600_000 }, () => {
    for (const program of programs) enterNamespaces(program, filename, hosts);
  });
}

export const NAMESPACES = 'in namespaces of their own';

/** The statuses of curl whose connection is closed: as it connects, without a byte of an answer, as it writes, as it reads. */
export const CURL_CLOSED = '7|52|55|56';

function enterNamespaces(program: string, filename: string, hosts: string): void {
  test(`with ${program}`, async () => {
    const directory = mkdtempSync(join(tmpdir(), 'vsock-proxy-enclave-'));
    writeFileSync(join(directory, 'hosts'), `127.0.0.1 localhost\n${hosts}`);
    writeFileSync(join(directory, 'resolv.conf'), 'nameserver 127.0.0.1\n');
    const enter = [
      'mount --make-rprivate /',
      `mount --bind ${directory}/hosts /etc/hosts`,
      `mount --bind ${directory}/resolv.conf /etc/resolv.conf`,
      'ip link set lo up',
      `ip address add ${SERVER_IP}/32 dev lo`,
      `exec "${process.execPath}" --test --test-reporter=spec "$@" ${filename}`,
    ];
    const patterns = process.execArgv.filter((argument) => argument.startsWith('--test-name-pattern='));
    const inside = await new Program('env', [
      ...['-u', 'NODE_TEST_CONTEXT', `${INSIDE}=${directory}`, `VSOCK_PROXY_TEST_ENCLAVE=${program}`],
      ...['unshare', '--net', '--mount', 'sh', '-ec', enter.join('\n'), 'sh', ...patterns],
    ]).ended;
    rmSync(directory, { recursive: true });
    console.log(inside.stdout, inside.stderr);
    assert.equal(inside.status, 0, 'see above; it needs root, unshare(1), mount(8) and ip(8)');
  });
}

/** What the current test has started; ended after it, the last one first. */
const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

export function afterTest(cleanUp: () => unknown): void {
  cleanUps.push(cleanUp);
}

export interface EnclaveOptions {
  /** Its configuration, YAML; `DIRECTORY` stands for that of the sockets. */
  readonly config: string;
  readonly command: readonly string[];
  /** It is the first process of its PID namespace, and not a child of that. */
  readonly isFirst?: boolean;
  /** Its environment, beside the path and the log level, as words of a shell. */
  readonly environment?: readonly string[];
  /** Shell commands that change what the enclave finds. */
  readonly prepare?: readonly string[];
  readonly options?: readonly string[];
  /** What its kernel calls it. */
  readonly hostName?: string;
  /** What its image brings. */
  readonly resolvConf?: string;
}

/** One parent and one enclave, and the directory with what they share. */
export class Stage {
  readonly directory = mkdtempSync(join(process.env[INSIDE] ?? assert.fail(), 'stage-'));
  readonly sockets = join(this.directory, 'vsock');
  #files = 0;

  constructor() {
    mkdirSync(this.sockets);
    afterTest(() => rmSync(this.directory, { recursive: true }));
  }

  /** The path of a file with this text. */
  file(text: string): string {
    this.#files += 1;
    const path = join(this.directory, `file-${this.#files}`);
    writeFileSync(path, text.replaceAll('DIRECTORY', this.sockets));
    return path;
  }

  /** Runs the executable on the parent, and waits until it listens. */
  async parent(...args: readonly string[]): Promise<Program> {
    const program = new Program('env', ['-i', `PATH=${PATH}`, 'RUST_LOG=info', EXECUTABLE, ...args]);
    afterTest(async () => {
      program.kill();
      await program.ended;
    });
    await program.stderr.match(/Proxy is now in listening state/, PATIENCE_MS);
    return program;
  }

  /** The parent's half of `egress`: what it lets through. `settings`: more YAML. */
  async egress(allow: readonly string[], deny: readonly string[] = [], settings = ''): Promise<Program> {
    const entries = (list: readonly string[]) =>
      list.map((address) => `{address: "${address}", port: 1-65535}`).join(', ');
    const listener = `{listen: "unix:DIRECTORY/parent-10000", route: http}`;
    const config = `allowlist: [${entries(allow)}]\ndenylist: [${entries(deny)}]\nlisteners: [${listener}]\n${settings}`;
    return await this.parent('serve', '--config', this.file(config));
  }

  /** Starts an enclave; its command runs until it ends. */
  enclave({
    config,
    command,
    isFirst = false,
    environment = [],
    prepare = [],
    options = [],
    ...found
  }: EnclaveOptions): Program {
    const { hostName = 'box', resolvConf = 'nameserver 192.0.2.1\noptions timeout:2\n' } = found;
    const etc = join(this.directory, 'etc');
    cpSync('/etc', etc, { recursive: true, verbatimSymlinks: true, filter: isNeeded });
    writeFileSync(join(etc, 'hosts'), '127.0.0.1 old-name\n');
    writeFileSync(join(etc, 'resolv.conf'), resolvConf);
    const run = isFirst ? 'exec "$@"' : '"$@"; exit $?';
    const setUp = [`printf '${hostName}' >/proc/sys/kernel/hostname`, `mount --bind ${etc} /etc`, ...FILE_SYSTEMS];
    const setEnvironment = `set -- env -i PATH=${PATH} RUST_LOG=info ${environment.join(' ')} "$@"`;
    const enter = ['mount --make-rprivate /', ...setUp, setEnvironment, ...prepare, 'set +e', run];
    // With a PID namespace in any case: what is left in it ends with the test.
    const flags = ['--net', '--uts', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
    const proxy = [
      ...EMULATOR,
      resolve(TESTED),
      'enclave',
      '--config',
      this.file(config),
      '--parent',
      `unix:${this.sockets}`,
    ];
    const program = new Program('unshare', [
      ...flags,
      ...['sh', '-ec', enter.join('\n'), 'sh'],
      ...proxy,
      ...options,
      ...['--', ...command],
    ]);
    afterTest(async () => {
      program.kill();
      await program.ended;
    });
    return program;
  }

  /** A file of the enclave's /etc, as it is now. */
  readEtc(name: string): string {
    return readFileSync(join(this.directory, 'etc', name), 'utf8');
  }
}

/** As the init process of an enclave's image mounts them, but for what is tested, which may be below one of them. */
const FILE_SYSTEMS = [
  ...[process.cwd(), dirname(resolve(EXECUTABLE))].map((path) => `mount --bind ${path} ${path}`),
  ...['/run', '/tmp', '/dev/shm'].flatMap((path) => [
    `mount --rbind ${path} ${path}`,
    `mount -o remount,bind,nodev,nosuid,noexec ${path}`,
  ]),
];

/** The process of an enclave's entry point. */
export function pidOf({ pid }: Pick<Program, 'pid'>): number {
  if (/^vsock-(?:proxy|enclave)\n$/.test(readFileSync(`/proc/${pid}/comm`, 'utf8'))) return pid;
  return pidOf({ pid: Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')) });
}

/** The files of /etc that libc, TLS and Java read. */
function isNeeded(path: string): boolean {
  const [, , part] = path.split('/');
  return part === undefined || NEEDED.has(part);
}
const NEEDED = new Set([
  'alternatives',
  'hosts',
  'java-17-openjdk',
  'ld.so.cache',
  'nsswitch.conf',
  'passwd',
  'group',
  'ssl',
  'python3',
]);
