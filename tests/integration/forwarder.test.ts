/**
 * `vsock-forwarder`, and `vsock-proxy forward`, which runs it in its own place: relays like the proxy, patient with a
 * parent that restarts, small and static.
 */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  copyFileSync,
  createReadStream,
  constants as fileConstants,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
} from 'node:fs';
import type { Socket } from 'node:net';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { freePort } from '../free-port.ts';
import { Output, type Program } from '../program.ts';
import { launch, run, untilMade, withMounts } from './launch.ts';
import { afterTest, buffer, connect, ending, LOOPBACK, listen, text } from './loopback.ts';
import { ENCLAVE, EXECUTABLE, FORWARDER, type ForwarderOptions, type RunningProxy, startForwarder } from './proxy.ts';
import { testRelay } from './relay.ts';

if (process.getuid?.() !== 0) throw new Error('These tests change the root directory. Hint: run them as root');

const { version: VERSION } = JSON.parse(readFileSync('package.json', 'utf8'));
const PATIENCE_MS = 30_000;
const MIB = 1024 * 1024;

/** The ways to call it. */
const PROGRAMS = [
  { name: 'vsock-forwarder', program: [FORWARDER] },
  { name: 'vsock-proxy forward', program: [EXECUTABLE, 'forward'] },
  { name: 'vsock-enclave forward', program: [ENCLAVE, 'forward'] },
] as const;

/** In front of a program: files in memory must not be executed. The sysctl is of the PID namespace. */
const NO_MEMORY_FILES = [
  ...['unshare', '--pid', '--fork', '--mount-proc', 'sh', '-ec'],
  ...['echo 2 >/proc/sys/vm/memfd_noexec; exec "$@"', 'sh'],
];

/** A new directory, for sockets. */
function makePlace(): string {
  const directory = mkdtempSync(join(tmpdir(), 'vsock-forwarder-test-'));
  afterTest(() => rmSync(directory, { recursive: true }));
  return directory;
}

for (const { name, program } of PROGRAMS) {
  suite(name, () => {
    async function forwardTo(
      to: string,
      options: Omit<ForwarderOptions, 'program' | 'to'> = {},
    ): Promise<RunningProxy> {
      const forwarder = await startForwarder({ ...options, program, to });
      afterTest(() => forwarder.kill());
      return forwarder;
    }

    testRelay(({ port, connections, connectTimeout, ...options }) =>
      startForwarder({
        ...options,
        program,
        to: `tcp:${LOOPBACK}:${port}`,
        args: [
          ...(connections === undefined ? [] : ['--connections', `${connections}`]),
          ...(connectTimeout === undefined ? [] : [`--connect-timeout=${connectTimeout}`]),
        ],
      }),
    );

    test('an absent server: earlier clients are served when it is there', async () => {
      const path = join(makePlace(), 'server.sock');
      const forwarder = await forwardTo(`unix:${path}`, { on: 'tcp' });
      const clients = await Promise.all(Array.from({ length: 20 }, () => connect(forwarder)));
      for (const client of clients) client.write('early');
      // Told after the first attempt has failed.
      await forwarder.logged(/(?:Accepted connection[\s\S]*){20}/);
      await listen((socket) => socket.pipe(socket), path);
      for (const client of clients) {
        const [echo] = client.readableLength > 0 ? [client.read()] : await once(client, 'data');
        assert.equal(String(echo), 'early');
      }
      assert.doesNotMatch(forwarder.log, /WARN/);
    });

    test('an absent server: the connect deadline ends the connection, one line has the reason, and the listener goes on', async () => {
      const path = join(makePlace(), 'server.sock');
      const forwarder = await forwardTo(`unix:${path}`, { on: 'tcp', args: ['--connect-timeout', '300ms'] });
      const endings = Array.from({ length: 3 }, async () => ending(await connect(forwarder)));
      assert.deepEqual(await Promise.all(endings), ['ECONNRESET', 'ECONNRESET', 'ECONNRESET']);
      const [line] = await forwarder.logged(/^.* WARN .*\n/m);
      assert.match(
        line,
        new RegExp(
          `^\\[[-0-9T:]+Z WARN  vsock_proxy::proxy\\] Client on tcp: 127\\.0\\.0\\.1:\\d+: could not connect to unix: ${path}: ` +
            'ENOENT: no such file or directory \\(after \\d+ ms\\)\\. Hint: .*\\n$',
        ),
      );
      assert.equal(forwarder.log.split('WARN').length, 2, forwarder.log);
      // At level info, each of the others has its line, too.
      await forwarder.logged(/(?: INFO .*: could not connect to unix: .* \(after \d+ ms\)\n[\s\S]*){2}/);
      await listen((socket) => socket.end('here'), path);
      assert.equal(await text(await connect(forwarder)), 'here');
    });

    test('SIGTERM: no new clients, open connections may end, status 0, and the socket file is gone', async () => {
      const path = join(makePlace(), 'server.sock');
      await listen(async (socket) => socket.end(`got ${await text(socket)}`), path);
      const forwarder = await forwardTo(`unix:${path}`);
      const client = await connect(forwarder);
      await forwarder.logged(/Connected client/);
      forwarder.program.kill('SIGTERM');
      await forwarder.logged(/SIGTERM received: stopping/);
      await forwarder.logged(/No new clients are accepted; 1 open connection may take 10\.0 s to end/);
      client.end('the last words');
      assert.equal(await text(client), 'got the last words');
      const { status, stderr } = await forwarder.program.outcome(PATIENCE_MS);
      assert.equal(status, 0, stderr);
      assert.match(stderr, /INFO .*All connections have ended\n$/);
      assert.ok('path' in forwarder.dial);
      assert.equal(statSync(forwarder.dial.path, { throwIfNoEntry: false }), undefined);
    });

    test('a second signal ends it at once, with the status of the signal', async () => {
      const path = join(makePlace(), 'server.sock');
      await listen((socket) => socket.resume(), path);
      const forwarder = await forwardTo(`unix:${path}`);
      await connect(forwarder);
      await forwarder.logged(/Connected client/);
      forwarder.program.kill('SIGINT');
      await forwarder.logged(/SIGINT received/);
      forwarder.program.kill('SIGTERM');
      assert.equal((await forwarder.program.outcome(PATIENCE_MS)).status, 128 + 15);
    });

    test('other processes that fill the same pipe as standard error do not stop it', async () => {
      const path = join(makePlace(), 'server.sock');
      const piped = ['bash', '-c', 'exec "$@" 2> >(cat >&2)', 'bash', ...program];
      const forwarder = await startForwarder({ program: piped, to: `unix:${path}` });
      afterTest(() => forwarder.kill());
      const proc = `/proc/${forwarder.program.pid}`;
      const pipe = readlinkSync(`${proc}/fd/2`);
      const all = readdirSync(`${proc}/fd`).filter((fd) => readlinkSync(`${proc}/fd/${fd}`) === pipe);
      // O_NONBLOCK for this process alone.
      const blocks = (fd: string) =>
        (Number.parseInt(/^flags:\s+(\d+)$/m.exec(readFileSync(`${proc}/fdinfo/${fd}`, 'utf8'))?.[1] ?? '', 8) &
          fileConstants.O_NONBLOCK) ===
        0;
      assert.ok(blocks('2'));
      assert.equal(all.filter((fd) => !blocks(fd)).length, 1);
    });

    test('help and version are on standard output', async () => {
      assert.deepEqual(await run([...program, '--version']), {
        status: 0,
        stdout: `${name} ${VERSION}\n`,
        stderr: '',
      });
      const { status, stdout, stderr } = await run([...program, '--help']);
      assert.deepEqual([status, stderr], [0, '']);
      assert(stdout.startsWith(`Usage: ${name} [OPTIONS] <local> <cid> <port>\n`), stdout);
    });

    test('a wrong command line gives status 2, with the usage', async () => {
      assert.deepEqual(await run([...program, 'localhost:443', '3', '8001']), {
        status: 2,
        stdout: '',
        stderr:
          'error: Local address is not valid: "localhost" is no IP address. Hint: names are not looked up: write 127.0.0.1:443\n' +
          `Usage: ${name} [OPTIONS] <local> <cid> <port> (more: ${name} --help)\n`,
      });
    });

    test('an address that cannot be bound gives status 1, with the reason and a hint in one line', async () => {
      const port = await listen(() => undefined);
      const { status, stdout, stderr } = await run([...program, `${LOOPBACK}:${port}`, '3', '8001']);
      assert.deepEqual([status, stdout], [1, '']);
      assert.equal(
        stderr,
        `Error: "Could not listen for connections: Could not bind to tcp: 127.0.0.1:${port}: EADDRINUSE: ` +
          'address already in use. Hint: another process listens on this port"\n',
      );
    });

    test('a wrong RUST_LOG gives a warning, and the program goes on', async () => {
      const { status, stderr } = await run([...program, '1.2.3.4:5', '3', '8001'], { RUST_LOG: 'vsock_proxy=\x1b[1m' });
      assert.equal(status, 1);
      assert.match(stderr, /^warning: invalid logging spec '\\u\{1b\}\[1m', ignoring it\nError: "Could not listen/);
    });

    test('messages about limits and deadlines name the options', async () => {
      const path = join(makePlace(), 'server.sock');
      await listen((socket) => socket.resume(), path);
      const forwarder = await forwardTo(`unix:${path}`, { args: ['--connections=1', '--idle-timeout=3s'] });
      await connect(forwarder);
      await connect(forwarder);
      await forwarder.logged(/WARN .*Limit of 1 simultaneous connections reached: .*Hint: raise --connections\n/);
      await forwarder.logged(/INFO .* disconnected: nothing was sent for 3000 ms \(--idle-timeout\)\n/);
    });

    test('it is one process with its name and command line, and has less than 1 MiB of private memory', async () => {
      const path = join(makePlace(), 'listener');
      const words = [...program, `unix:${path}`, `unix:${path}`];
      const forwarder = launch(words);
      afterTest(() => forwarder.kill());
      await untilMade(path, forwarder);
      assert.equal(readFileSync(`/proc/${forwarder.pid}/comm`, 'utf8'), `${name.split(' ')[0]}\n`);
      assert.deepEqual(readFileSync(`/proc/${forwarder.pid}/cmdline`, 'utf8').split('\0'), [...words, '']);
      const own = memoryOf(forwarder, 'RssAnon');
      assert.ok(own < 1024, `${own} KiB`);
      // Signals are as a new process finds them, whatever ran here before.
      const signals = /^SigBlk:\s+(\w+)\nSigIgn:\s+(\w+)$/m.exec(readFileSync(`/proc/${forwarder.pid}/status`, 'utf8'));
      assert.deepEqual(signals?.slice(1).map(signalsOf), [
        ['SIGINT', 'SIGTERM'],
        ['SIGHUP', 'SIGPIPE'],
      ]);
      forwarder.kill('SIGHUP');
      forwarder.kill('SIGTERM');
      assert.equal((await forwarder.outcome(PATIENCE_MS)).status, 0);
    });
  });
}

test('vsock-proxy forward runs from memory; where that is forbidden, from a directory that allows it', async () => {
  const place = makePlace();
  for (const [front, expected] of [
    [[], /^\/memfd:vsock-forwarder \(deleted\)$/],
    [NO_MEMORY_FILES, /^\/dev\/shm\/#\d+ \(deleted\)$/],
    [[...withMounts('mount -t tmpfs -o noexec none /dev/shm'), ...NO_MEMORY_FILES], /^\/tmp\/#\d+ \(deleted\)$/],
  ] as const) {
    const path = join(place, 'listener');
    const command = [EXECUTABLE, 'forward', `unix:${path}`, `unix:${path}`];
    const shell = [
      'sh',
      '-c',
      '"$@" & until [ -S "$0" ]; do sleep 0.02; done; readlink /proc/$!/exe; kill $!; wait $!',
      path,
    ];
    const { status, stdout, stderr } = await run([...front, ...shell, ...command]);
    assert.deepEqual([status, stderr], [0, '']);
    assert.match(stdout.trimEnd(), expected);
  }
});

suite('its process', () => {
  test('it logs nothing by default, and an empty root directory is enough', async () => {
    const root = makePlace();
    copyFileSync(FORWARDER, join(root, 'vsock-forwarder'));
    const program = launch(['chroot', root, '/vsock-forwarder', 'unix:/listener', '127.0.0.1:9']);
    afterTest(() => program.kill());
    await untilMade(join(root, 'listener'), program);
    program.kill('SIGTERM');
    assert.deepEqual(await program.outcome(PATIENCE_MS), { status: 0, stdout: '', stderr: '' });
  });

  test('the order of words of the workshop works; names for vsock addresses are in the log', async () => {
    // Nobody connects: vsock connections are for the virtual machines.
    const port = await freePort();
    const program = launch([FORWARDER, LOOPBACK, `${port}`, '3', '8001'], { RUST_LOG: 'info' });
    afterTest(() => program.kill());
    await program.stderr.match(new RegExp(`Bound to tcp: 127\\.0\\.0\\.1:${port}\n`), PATIENCE_MS);
    await program.stderr.match(/INFO {2}vsock_proxy\] Proxy is now in listening state\n/, PATIENCE_MS);
    program.kill('SIGTERM');
    assert.equal((await program.outcome(PATIENCE_MS)).status, 0);
  });

  test('a log that no one reads: lines are lost, connections are not', async () => {
    const place = makePlace();
    const server = join(place, 'server.sock');
    await listen((socket) => socket.pipe(socket), server);
    const listener = join(place, 'listener');
    const pipe = join(place, 'log');
    await run(['mkfifo', pipe]);
    const command = ['sh', '-c', 'exec 2<>"$0"; exec "$@"', pipe, FORWARDER, `unix:${listener}`, `unix:${server}`];
    const program = launch(command, { RUST_LOG: 'debug' });
    afterTest(() => program.kill());
    const log = createReadStream(pipe, 'utf8');
    afterTest(() => log.destroy());
    const read = new Output(log);
    await read.match(/listening state/, PATIENCE_MS);
    log.pause();
    const forwarder = { dial: { path: listener } as const };
    for (let i = 0; i < 300; i += 1) {
      const client = await connect(forwarder);
      client.end(`${i}`);
      assert.equal(await text(client), `${i}`);
    }
    log.resume();
    // The next line that finds room says so.
    const client = await connect(forwarder);
    client.end();
    await read.match(/WARN .*\] \d+ log lines were lost: standard error did not take them\n/, PATIENCE_MS);
    program.kill('SIGTERM');
    assert.equal((await program.outcome(PATIENCE_MS)).status, 0);
  });
});

/** In KiB: proc_pid_status(5). */
function memoryOf(program: Program, field: 'VmHWM' | 'VmRSS' | 'RssAnon'): number {
  const status = readFileSync(`/proc/${program.pid}/status`, 'utf8');
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]);
}

/** The names of a mask of signals: proc_pid_status(5). */
function signalsOf(mask: string): readonly string[] {
  const bits = BigInt(`0x${mask}`);
  const names = Object.entries(constants.signals).filter(([, number]) => (bits >> BigInt(number - 1)) & 1n);
  return names.map(([name]) => name);
}

suite('what it costs', () => {
  test('100 connections whose server does not read at first: less than 4 MiB, the program itself included', async (t) => {
    const path = join(makePlace(), 'server.sock');
    const served: Socket[] = [];
    const all = Promise.withResolvers<void>();
    await listen((socket) => {
      // Nothing is read until every client has sent what it has.
      if (served.push(socket) === 100) all.resolve();
    }, path);
    const forwarder = await startForwarder({ program: [FORWARDER], on: 'tcp', to: `unix:${path}` });
    afterTest(() => forwarder.kill());
    const tell = (when: string, field: 'VmHWM' | 'VmRSS'): void => {
      const [all, own] = [memoryOf(forwarder.program, field), memoryOf(forwarder.program, 'RssAnon')];
      t.diagnostic(`${when}: ${all} KiB, of that ${own} KiB of its own`);
    };
    tell('listening', 'VmRSS');

    const clients = await Promise.all(Array.from({ length: 100 }, () => connect(forwarder)));
    await all.promise;
    tell('100 open', 'VmRSS');

    const sent = randomBytes(MIB);
    const received = clients.map(async (client) => sha256(await buffer(client)));
    for (const client of clients) client.end(sent);
    for (const socket of served) socket.pipe(socket);
    assert.deepEqual(new Set(await Promise.all(received)), new Set([sha256(sent)]));

    tell('at most', 'VmHWM');
    const peak = memoryOf(forwarder.program, 'VmHWM');
    assert.ok(peak < 4 * 1024, `${peak} KiB`);
  });

  for (const executable of [FORWARDER, 'build/aarch64/vsock-forwarder']) {
    test(`${executable}: one static file of less than 1.5 MiB`, async (t) => {
      const { size } = statSync(executable);
      t.diagnostic(`${(size / MIB).toFixed(2)} MiB`);
      assert.ok(size < 1.5 * MIB, `${size} bytes`);
      const { stdout } = await run(['readelf', '--program-headers', '--dynamic', '--wide', executable]);
      assert.match(stdout, /\bLOAD\b/);
      assert.doesNotMatch(stdout, /\bINTERP\b|\bNEEDED\b/);
      assert.match(stdout, /\bGNU_STACK .* RW +0x/);
    });
  }
});

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

test('aarch64: it forwards, under emulation', async () => {
  const place = makePlace();
  const server = join(place, 'server.sock');
  await listen(async (socket) => socket.end(`got ${await text(socket)}`), server);
  const listener = join(place, 'listener');
  const executable = 'build/aarch64/vsock-forwarder';
  const program = launch(['qemu-aarch64', executable, `unix:${listener}`, `unix:${server}`], { RUST_LOG: 'info' });
  afterTest(() => program.kill());
  await program.stderr.match(/listening state/, PATIENCE_MS);
  const client = await connect({ dial: { path: listener } });
  client.end('a question');
  assert.equal(await text(client), 'got a question');
  program.kill('SIGTERM');
  assert.equal((await program.outcome(PATIENCE_MS)).status, 0);
});
