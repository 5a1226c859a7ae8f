/**
 * What the one-file executable promises beside its main job: it heeds nothing around it and leaves nothing behind.
 * These are properties of Node, of pkg and of how the two are put together, the first to go with a new version of either.
 */
import assert from 'node:assert/strict';
import {
  chmodSync,
  copyFileSync,
  constants as fs,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { after, suite, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Program } from '../program.ts';
import { launch, refusing, run, untilMade, withMounts } from './launch.ts';

if (process.getuid?.() !== 0) throw new Error('These tests mount and change users. Hint: run them as root');

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const { version: VERSION } = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8'));

/** Open to every user, which the project's own place may not be. */
const WORK = mkdtempSync('/tmp/vsock-proxy-executable-');
after(() => rmSync(WORK, { recursive: true }));
chmodSync(WORK, 0o755);
const EXECUTABLE = join(WORK, 'vsock-proxy');
copyFileSync(join(PROJECT, 'build/vsock-proxy'), EXECUTABLE);
const ALLOWLIST = join(WORK, 'allowlist.yaml');
writeFileSync(ALLOWLIST, 'allowlist:\n- {address: 127.0.0.1, port: 9}\n');

/** A new directory with empty ones inside, and the command that listens there. */
function makePlace() {
  const directory = mkdtempSync(join(WORK, 'place-'));
  const inside = (name: string) => {
    const path = join(directory, name);
    mkdirSync(path);
    chmodSync(path, 0o777);
    return path;
  };
  chmodSync(directory, 0o755);
  const socket = join(inside('run'), 'listener');
  return { inside, socket, command: [EXECUTABLE, `unix:${socket}`, '127.0.0.1', '9', '--config', ALLOWLIST] };
}

/** Starts the proxy behind `front` and waits until it listens, which is after the addon was loaded. */
async function startProxy(
  t: TestContext,
  front: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<Program> {
  const { command, socket } = makePlace();
  const proxy = launch([...front, ...command], env);
  t.after(() => proxy.kill());
  await untilMade(socket, proxy);
  return proxy;
}

async function stop(proxy: Program): Promise<void> {
  proxy.kill('SIGTERM');
  assert.deepEqual(await proxy.outcome(10_000), { status: 0, stdout: '', stderr: '' });
}

/** The mappings of a process, one line each: proc_pid_maps(5). */
function mappings(pid: number): readonly string[] {
  return readFileSync(`/proc/${pid}/maps`, 'utf8').trimEnd().split('\n');
}

/** Whether a process has a handler for a signal: proc_pid_status(5). */
function catches(pid: number, signal: number): boolean {
  const mask = /^SigCgt:\s+(\w+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return ((BigInt(`0x${mask}`) >> BigInt(signal - 1)) & 1n) === 1n;
}

const VERSION_ONLY = {
  status: 0,
  stdout: `vsock-proxy ${VERSION}\nVsock-TCP proxy 1.0.2 (compatible: vsock-proxy of the AWS Nitro Enclaves CLI 1.5.0)\n`,
  stderr: '',
};

suite('its environment', () => {
  test('NODE_OPTIONS is ignored, whatever its value', async () => {
    const intruder = join(WORK, 'intruder.cjs');
    writeFileSync(intruder, 'console.log("intruder"); process.exit(3);');
    for (const NODE_OPTIONS of ['--no-such-option', '--version', '--inspect=127.0.0.1:0', `--require=${intruder}`]) {
      assert.deepEqual(await run([EXECUTABLE, '--version'], { NODE_OPTIONS }), VERSION_ONLY, NODE_OPTIONS);
    }
  });

  test("Node's options are none of its own", async () => {
    for (const option of ['--inspect=127.0.0.1:0', '--eval=1', '--v8-options']) {
      const { status, stdout, stderr } = await run([EXECUTABLE, option]);
      assert.deepEqual([status, stdout], [2, ''], option);
      assert.match(stderr, /unknown option/);
    }
  });

  test('an empty environment is enough', async () => {
    assert.deepEqual(await run(['env', '-i', EXECUTABLE, '--version']), VERSION_ONLY);
  });

  test('a user without a passwd entry or a home runs it', async (t) => {
    const user = ['setpriv', '--reuid', '54321', '--regid', '54321', '--clear-groups', 'env', '-i'];
    assert.deepEqual(await run([...user, EXECUTABLE, '--version']), VERSION_ONLY);
    await stop(await startProxy(t, user));
  });

  test('in a network namespace that has a vsock of its own, it warns that no enclave can reach it', async (t) => {
    const namespace = withMounts(
      'mount -t tmpfs none /proc/sys/net',
      'mkdir /proc/sys/net/vsock',
      'echo local >/proc/sys/net/vsock/ns_mode',
    );
    const port = 40_000 + (process.pid % 10_000);
    const words = ['--cid', 'any', `${port}`, '127.0.0.1', '9', '--config', ALLOWLIST];
    const proxy = launch([...namespace, EXECUTABLE, ...words], { RUST_LOG: 'warn' });
    t.after(() => proxy.kill());
    await proxy.stderr.match(/WARN {2}vsock_proxy::proxy\] No enclave can reach .* Hint: run the proxy in the/, 10_000);
  });

  test('a read-only root is enough', async (t) => {
    const readOnly = withMounts(
      `mount --bind ${WORK} ${WORK}`,
      'mount -o remount,bind,ro /',
      'if touch /tmp/x 2>&-; then exit 99; fi',
    );
    await stop(await startProxy(t, readOnly));
  });
});

test('aarch64: the addon is mapped from memory and listens, under emulation', async (t) => {
  const { command, socket } = makePlace();
  const executable = join(PROJECT, 'build/aarch64/vsock-proxy');
  const proxy = launch(['qemu-aarch64', '-L', '/usr/aarch64-linux-gnu', executable, ...command.slice(1)]);
  t.after(() => proxy.kill());
  await untilMade(socket, proxy);
  assert(mappings(proxy.pid).some((line) => line.endsWith(' /memfd:vsock.node (deleted)')));
  await stop(proxy);
});

for (const [machine, ...front] of [
  ['this machine', join(PROJECT, 'build/vsock-proxy')],
  ['aarch64', 'qemu-aarch64', '-L', '/usr/aarch64-linux-gnu', join(PROJECT, 'build/aarch64/vsock-proxy')],
] as const) {
  test(`${machine}: too little address space gives one line, where Node itself dies of a signal`, async () => {
    const limited = ['sh', '-c', 'ulimit -v 512000; exec "$@"', 'sh'];
    assert.deepEqual(await run([...limited, ...front, '--version']), {
      status: 1,
      stdout: '',
      stderr:
        'Error: "The limit on address space is below 640 MiB, which Node.js reserves, and mostly never uses. ' +
        'Hint: raise it (ulimit -v; systemd: LimitAS=); MemoryMax= limits the memory that is in use"\n',
    });
  });
}

test('640 MiB of address space are enough', async (t) => {
  await stop(await startProxy(t, ['sh', '-c', 'ulimit -v 655360; exec "$@"', 'sh']));
});

suite('its traces', () => {
  test('nothing is on disk, neither while it runs nor afterwards', async (t) => {
    const { inside, socket, command } = makePlace();
    const [tmp, shm, home, cwd, runtime] = ['tmp', 'shm', 'home', 'cwd', 'runtime'].map(inside) as [
      string,
      string,
      string,
      string,
      string,
    ];
    const tell = () =>
      [tmp, shm, home, cwd, runtime].flatMap((directory) =>
        readdirSync(directory, { recursive: true, encoding: 'utf8' }),
      );
    const front = [
      ...withMounts(`mount --bind ${shm} /dev/shm`, `cd ${cwd}`),
      'env',
      `HOME=${home}`,
      `TMPDIR=${tmp}`,
      `XDG_CACHE_HOME=${home}`,
      `RUNTIME_DIRECTORY=${runtime}`,
    ];
    assert.deepEqual(await run([...front, EXECUTABLE, '--version']), VERSION_ONLY);
    assert.deepEqual(tell(), []);

    const proxy = launch([...front, ...command]);
    t.after(() => proxy.kill());
    await untilMade(socket, proxy);
    assert.deepEqual(tell(), []);
    await stop(proxy);
    assert.deepEqual(tell(), []);
  });

  /** Where the addon is mapped from, what is gone with its mark. */
  const addonOf = ({ pid }: Pick<Program, 'pid'>) => {
    const paths = mappings(pid).flatMap((line) => / r-xp .*? (\/.*)$/.exec(line)?.[1] ?? []);
    return new Set(paths.filter((path) => path.endsWith(' (deleted)') || path.endsWith('/vsock.node')));
  };
  const MEMORY = new Set(['/memfd:vsock.node (deleted)']);
  const WITHOUT_MEMORY = 'memfd_create=EPERM';
  const unnamed = (directory: string) => new RegExp(`^${directory}#\\d+ \\(deleted\\)$`);

  test('the addon is mapped from memory, and no descriptor stays open', async (t) => {
    for (const front of [
      [],
      // Where memory must not be executed as a program, it may be mapped all the same. The sysctl is of the PID namespace.
      ['unshare', '--pid', '--fork', '--kill-child', 'sh', '-ec', 'echo 2 >/proc/sys/vm/memfd_noexec; exec "$@"', 'sh'],
      ['sh', '-c', 'exec "$@" <&- >&- 2>&-', 'sh'],
    ]) {
      const { command, socket } = makePlace();
      const proxy = launch([...front, ...command]);
      t.after(() => proxy.kill());
      await untilMade(socket, proxy);
      const [child] = readFileSync(`/proc/${proxy.pid}/task/${proxy.pid}/children`, 'utf8').split(' ');
      const pid = Number(child) || proxy.pid;
      assert.deepEqual(addonOf({ pid }), MEMORY);
      const descriptors = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
      assert.deepEqual(
        descriptors.filter((path) => path.includes('memfd')),
        [],
      );
      process.kill(pid, 'SIGTERM'); // unshare ignores it while it waits
      assert.equal((await proxy.ended).status, 0);
    }
  });

  test('if no memory file can be created, the addon is mapped from the first directory that allows it', async (t) => {
    const { inside } = makePlace();
    const runtime = inside('runtime');
    const noexec = (path: string) => `mount -t tmpfs -o noexec none ${path}`;
    const readOnly = (path: string) => `mount -t tmpfs -o ro none ${path}`;
    const full = (path: string) => `mount -t tmpfs -o size=4k none ${path}`;
    for (const { from, mounts, list } of [
      { from: '/dev/shm/', mounts: [], list: undefined },
      { from: '/tmp/', mounts: [noexec('/dev/shm')], list: undefined },
      { from: '/tmp/', mounts: [readOnly('/dev/shm')], list: undefined },
      { from: '/tmp/', mounts: [full('/dev/shm')], list: undefined },
      { from: `${runtime}/`, mounts: [], list: runtime },
      { from: `${runtime}/`, mounts: [], list: `/nowhere:${runtime}` },
      { from: '/dev/shm/', mounts: [noexec(runtime)], list: runtime },
    ]) {
      const front = [...withMounts(...mounts), ...refusing(WITHOUT_MEMORY)];
      const proxy = await startProxy(t, front, list === undefined ? {} : { RUNTIME_DIRECTORY: list });
      const [addon = 'nothing unnamed', ...others] = addonOf(proxy);
      assert.match(addon, unnamed(from));
      assert.deepEqual(others, []);
      await stop(proxy);
    }
  });

  // O_TMPFILE is a bit of its own and O_DIRECTORY, which differs between machines.
  const O_TMPFILE = 0o20000000 | fs.O_DIRECTORY;
  for (const reason of ['EOPNOTSUPP', 'EISDIR', 'EINVAL', 'ENOSYS', 'EPERM']) {
    test(`if unnamed files fail with ${reason}, a file that loses its name is used`, async (t) => {
      const proxy = await startProxy(t, refusing(WITHOUT_MEMORY, `openat:2:${O_TMPFILE}=${reason}`));
      const [addon = 'nothing unnamed'] = addonOf(proxy);
      assert.match(addon, /^\/dev\/shm\/\.[0-9a-f-]{36} \(deleted\)$/);
      await stop(proxy);
    });
  }

  /** All that the init process of an enclave's image mounts is noexec; the executable is in the root. */
  const inEnclave = (...more: readonly string[]) => [
    `mount --bind ${WORK} /mnt`,
    ...['/run', '/tmp', '/dev/shm', ...more].map((path) => `mount -t tmpfs -o nodev,nosuid,noexec none ${path}`),
  ];
  const moved = (words: readonly string[]) => words.map((word) => word.replace(WORK, '/mnt'));

  for (const [from, ...more] of [['/var/tmp/'], ['/mnt/', '/var/tmp']] as const) {
    test(`in a Nitro Enclave without memfd_create, the addon is mapped from ${from}`, async (t) => {
      const { command, socket } = makePlace();
      const front = [...withMounts(...inEnclave(...more)), ...refusing(WITHOUT_MEMORY)];
      const proxy = launch([...front, ...moved(command)]);
      t.after(() => proxy.kill());
      await untilMade(socket, proxy);
      const [addon = 'nothing unnamed', ...others] = addonOf(proxy);
      assert.match(addon, unnamed(from));
      assert.deepEqual(others, []);
      assert.deepEqual(
        readdirSync(WORK).filter((name) => name.startsWith('.')),
        [],
      );
      await stop(proxy);
    });
  }

  /** As in a container with a read-only root: only the socket's directory can be written to, and nothing there executed. */
  const sealed = (run: string, ...rules: readonly string[]) => [
    ...withMounts(
      'mount -t tmpfs -o ro none /dev/shm',
      `mount --bind -o ro ${WORK} /mnt`,
      `mount -t tmpfs -o noexec none ${run.replace(WORK, '/mnt')}`,
      'mount -t tmpfs -o noexec none /tmp',
      'mount -t tmpfs -o ro none /var/tmp',
    ),
    ...refusing(...rules),
  ];
  const BESIDE = join(WORK, 'vsock.node');

  /** Until it listens, which its log alone tells: the socket is in a mount of its own. */
  const startSealed = async (t: TestContext, ...rules: readonly string[]) => {
    const { command, socket } = makePlace();
    const proxy = launch([...sealed(dirname(socket), ...rules), ...moved(command)], { RUST_LOG: 'info' });
    t.after(() => proxy.kill());
    await proxy.stderr.match(/Proxy is now in listening state/, 10_000);
    return proxy;
  };

  test('no directory is needed, neither a writable one nor one with executable files', async (t) => {
    assert.deepEqual(addonOf(await startSealed(t)), MEMORY);
  });

  test('if neither memory nor a directory allows it, the error names each with its reason', async () => {
    const { command, socket } = makePlace();
    const { status, stderr } = await run([...sealed(dirname(socket), WITHOUT_MEMORY), ...moved(command)], {
      RUNTIME_DIRECTORY: '/nowhere',
    });
    assert.equal(status, 1);
    assert.match(
      stderr,
      /Could not load the data plane \(memory: memfd_create was refused; \/nowhere: ENOENT.*\/dev\/shm: EROFS.*\/tmp: .*failed to map.*\/var\/tmp: EROFS.*\/mnt: EROFS.*\/mnt\/vsock.node: ENOENT.*Hint: .*docker --read-only: --tmpfs \/tmp:exec/,
    );
    assert.equal(stderr.trimEnd().split('\n').length, 1, stderr);
  });

  test('if neither allows it, the addon beside the executable is enough', async (t) => {
    copyFileSync(join(PROJECT, 'build/vsock.node'), BESIDE);
    t.after(() => rmSync(BESIDE));
    assert.deepEqual(addonOf(await startSealed(t, WITHOUT_MEMORY)), new Set(['/mnt/vsock.node']));
  });

  test('the addon of another version beside the executable is not loaded', async (t) => {
    writeFileSync(BESIDE, Buffer.concat([readFileSync(join(PROJECT, 'build/vsock.node')), Buffer.from('x')]));
    t.after(() => rmSync(BESIDE));
    const { command, socket } = makePlace();
    const { status, stderr } = await run([...sealed(dirname(socket), WITHOUT_MEMORY), ...moved(command)]);
    assert.equal(status, 1);
    assert.match(stderr, /\/mnt\/vsock\.node: it is of another version than the executable/);
  });
});

test('its process has its name and its command line', async (t) => {
  const { command, socket } = makePlace();
  const proxy = launch(command);
  t.after(() => proxy.kill());
  await untilMade(socket, proxy);
  assert.equal(readFileSync(`/proc/${proxy.pid}/comm`, 'utf8'), 'vsock-proxy\n');
  assert.deepEqual(readFileSync(`/proc/${proxy.pid}/cmdline`, 'utf8').split('\0'), [...command, '']);
  await stop(proxy);
});

suite('what it opens', () => {
  test('SIGUSR1 opens no inspector: Node.js does not catch it', async (t) => {
    const proxy = await startProxy(t);
    assert(!catches(proxy.pid, constants.signals.SIGUSR1));
    assert(catches(process.pid, constants.signals.SIGUSR1), 'Node by itself would');
    proxy.kill('SIGUSR1');
    await stop(proxy);
  });

  test('no memory is writable and executable', async (t) => {
    const proxy = await startProxy(t);
    assert.deepEqual(
      mappings(proxy.pid).filter((line) => /^\S+ .?wx/.test(line)),
      [],
    );
    await stop(proxy);
  });

  test('it runs under a kernel that refuses such memory, where Node itself fails', async (t) => {
    // What systemd's MemoryDenyWriteExecute= does; PR_SET_MDWE of prctl(2), Linux 6.3 and newer.
    const denied = [
      'python3',
      '-c',
      'import ctypes, os, sys; assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0; os.execvp(sys.argv[1], sys.argv[1:])',
    ];
    const { status } = await run([...denied, process.execPath, '--eval', '0']);
    assert(status !== 0, 'Node ended in order');
    await stop(await startProxy(t, denied));
  });
});

/** Processor time, which other work on the machine hardly changes, in front of twice the figures that `make bench` measures. */
suite('what it costs', () => {
  test('the version takes less than 100 ms', async (t) => {
    const { stderr } = await run(['bash', '--norc', '-c', 'TIMEFORMAT="%U %S"; time "$0" --version', EXECUTABLE]);
    const [user = Number.NaN, system = Number.NaN] = stderr.split(' ').map(Number);
    const ms = (user + system) * 1000;
    t.diagnostic(`${ms.toFixed(0)} ms`);
    assert(ms < 100, stderr);
  });

  test('listening takes less than 240 ms', async (t) => {
    const proxy = await startProxy(t);
    const threads = readdirSync(`/proc/${proxy.pid}/task`).map((id) => `/proc/${proxy.pid}/task/${id}/schedstat`);
    const ns = threads.map((path) => Number(readFileSync(path, 'utf8').split(' ')[0]));
    const ms = ns.reduce((sum, thread) => sum + thread, 0) / 1e6;
    t.diagnostic(`${ms.toFixed(0)} ms`);
    assert(ms < 240, `${ms} ms`);
    await stop(proxy);
  });

  test('idle, it holds at most 15 MiB of its own', async (t) => {
    const proxy = await startProxy(t);
    const status = readFileSync(`/proc/${proxy.pid}/status`, 'utf8');
    const anonymousKib = Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1]);
    t.diagnostic(`${(anonymousKib / 1024).toFixed(1)} MiB`);
    assert(anonymousKib <= 15 * 1024, `${anonymousKib} KiB`);
    await stop(proxy);
  });
});
