/**
 * A parent and its enclave for a soak: two network namespaces, and unix sockets in the place of vsock. This process is on
 * the parent's side.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { Program } from '../../program.ts';

export const PARENT_IP = '10.77.0.1';
export const SERVER_PORT = 9000;
export const INGRESS_PORT = 3000;
/** The ways that begin in the enclave. */
export const WAYS_OUT = ['names=data.test:9000', 'forward=127.0.0.1:9001', 'forwarder=127.0.0.1:9002'];

const EXECUTABLE = resolve('build/vsock-proxy');
const FORWARDER = resolve('build/vsock-forwarder');
const PATIENCE_MS = 60_000;
const DIRECTORY = 'VSOCK_PROXY_SOAK';

const PARENT = `
allowlist: [{address: data.test, port: ${SERVER_PORT}}]
listeners:
  - {listen: "unix:DIRECTORY/parent-10000", route: http}
  - {listen: "unix:DIRECTORY/parent-8001", connect: "data.test:${SERVER_PORT}"}
  - {listen: "tcp:${PARENT_IP}:${INGRESS_PORT}", connect: "unix:DIRECTORY/enclave-${INGRESS_PORT}"}
`;
const ENCLAVE = `
egress: {allow: [data.test], transparent_ports: [${SERVER_PORT}]}
ingress: [{listen_port: ${INGRESS_PORT}}]
forward: [{listen: "127.0.0.1:9001", connect: "unix:DIRECTORY/parent-8001"}]
`;

/** Runs this program again, as the parent, and ends with its status. */
export function enterParent(): void {
  if (process.env[DIRECTORY] !== undefined) return;
  const directory = mkdtempSync(join(tmpdir(), 'vsock-proxy-soak-'));
  writeFileSync(join(directory, 'hosts'), `127.0.0.1 localhost\n${PARENT_IP} data.test\n`);
  const enter = [
    `mount --bind ${directory}/hosts /etc/hosts`,
    'ip link set lo up',
    `ip address add ${PARENT_IP}/32 dev lo`,
    'exec "$0" "$@"',
  ];
  const { status } = spawnSync(
    'unshare',
    ['--net', '--mount', '--fork', '--kill-child', 'sh', '-ec', enter.join('\n'), ...process.argv],
    { env: { ...process.env, [DIRECTORY]: directory }, stdio: 'inherit' },
  );
  rmSync(directory, { recursive: true });
  process.exit(status ?? 1);
}

/** A process of the product, which may be killed and started again. */
export interface Role {
  readonly name: 'parent' | 'enclave' | 'forwarder';
  readonly command: readonly string[];
  /** The ways that lead through it. */
  readonly ways: readonly string[];
  /** By so much its memory may grow: the heap of Node.js breathes. */
  readonly growthKib: number;
}

export interface Sample {
  readonly memoryKib: number;
  /** But for pipes: the relay threads make those when they first have use for them, a bounded number, and keep them. */
  readonly descriptors: number;
}

export class Stage {
  readonly parent: Role;
  readonly enclave: Role;
  readonly forwarder: Role;
  readonly #directory = process.env[DIRECTORY] ?? '';
  readonly #sockets = join(this.#directory, 'vsock');
  readonly #running = new Map<Role, Program>();
  readonly #namespaces: Program;

  /** Resolves when everything is up. @param enclave the program of the enclave's side */
  static async open(enclave: string): Promise<Stage> {
    const stage = new Stage(resolve(enclave));
    await stage.#namespaces.stdout.match(/ready\n/, PATIENCE_MS);
    for (const role of [stage.parent, stage.enclave, stage.forwarder]) await stage.start(role);
    return stage;
  }

  private constructor(enclave: string) {
    const etc = join(this.#directory, 'etc');
    mkdirSync(etc);
    writeFileSync(join(etc, 'nsswitch.conf'), 'hosts: files dns\n');
    writeFileSync(join(etc, 'hosts'), '127.0.0.1 localhost\n');
    writeFileSync(join(etc, 'resolv.conf'), 'options timeout:1\n'); // for what was asked of a process that is killed
    const hold = `mount --bind ${etc} /etc; echo ready; exec cat`;
    this.#namespaces = new Program('unshare', ['--net', '--mount', 'sh', '-ec', hold]);
    mkdirSync(this.#sockets);
    this.parent = {
      name: 'parent',
      command: [EXECUTABLE, 'serve', '--config', this.#file('parent.yaml', PARENT)],
      ways: ['names', 'forward', 'forwarder', 'ingress'],
      growthKib: 8192,
    };
    const file = this.#file('enclave.yaml', ENCLAVE);
    this.enclave = {
      name: 'enclave',
      command: this.inEnclave(enclave, 'enclave', '--config', file, '--parent', `unix:${this.#sockets}`, '--', 'cat'),
      ways: ['names', 'forward', 'ingress'],
      growthKib: basename(enclave) === 'vsock-enclave' ? 512 : 8192,
    };
    this.forwarder = {
      name: 'forwarder',
      command: this.inEnclave(FORWARDER, '127.0.0.1:9002', `unix:${this.#sockets}/parent-8001`),
      ways: ['forwarder'],
      growthKib: 256,
    };
  }

  /** The command line of a program in the enclave. */
  inEnclave(...command: readonly string[]): readonly string[] {
    return ['nsenter', '--target', `${this.#namespaces.pid}`, '--net', '--mount', ...command];
  }

  /** Resolves when it listens. */
  async start(role: Role): Promise<void> {
    const program = new Program('env', ['RUST_LOG=info,vsock_proxy::proxy=off', ...role.command]);
    this.#running.set(role, program);
    await program.stderr.match(/Proxy is now in listening state/, PATIENCE_MS);
  }

  async kill(role: Role): Promise<void> {
    const program = this.#program(role);
    program.kill();
    program.stdin.end(); // ends the application of an enclave, which holds on to the outputs
    await program.outcome(PATIENCE_MS);
    for (const socket of readdirSync(this.#sockets)) {
      // Over vsock a dead listener leaves nothing.
      if (socket.startsWith(`${role.name}-`)) rmSync(join(this.#sockets, socket));
    }
  }

  sample(role: Role): Sample {
    const { pid } = this.#program(role);
    const [, memory] = /RssAnon:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    const links = readdirSync(`/proc/${pid}/fd`).map((name) => readLink(`/proc/${pid}/fd/${name}`));
    return {
      memoryKib: Number(memory),
      descriptors: links.filter((link) => link?.startsWith('pipe:') === false).length,
    };
  }

  #program(role: Role): Program {
    const program = this.#running.get(role);
    if (program === undefined) throw new Error(`${role.name} was not started`);
    return program;
  }

  #file(name: string, text: string): string {
    const path = join(this.#directory, name);
    writeFileSync(path, text.replaceAll('DIRECTORY', this.#sockets));
    return path;
  }
}

function readLink(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined; // closed meanwhile
  }
}
