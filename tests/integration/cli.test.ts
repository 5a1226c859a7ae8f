/** The built executable as its user meets it: arguments, exit status, every message, log lines, signals. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, connect as dial, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Outcome, Program } from '../program.ts';

const EXECUTABLE = process.env.VSOCK_PROXY ?? fileURLToPath(new URL('../../build/vsock-proxy', import.meta.url));
if (!existsSync(EXECUTABLE)) throw new Error(`${EXECUTABLE} is missing. Build it: make vsock-proxy`);

const PATIENCE_MS = 20_000;
const LOOPBACK = '127.0.0.1';

const directory = mkdtempSync(join(tmpdir(), 'vsock-proxy-cli-'));
after(() => rmSync(directory, { recursive: true }));
const at = (name: string) => join(directory, name);

const ALLOWLIST = at('allow.yaml');
writeFileSync(ALLOWLIST, 'allowlist:\n- {address: localhost, port: 443}\n');
/** A route that this allowlist allows and that never resolves anything outside of the machine. */
const ROUTE = ['localhost', '443', '--config', ALLOWLIST];

/** @param wrapper what starts it, in place of nothing */
function start(
  argv: readonly string[],
  env: Readonly<Record<string, string>> = {},
  wrapper: readonly string[] = [],
): Program {
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  return new Program('env', ['-i', `PATH=${process.env.PATH}`, ...variables, ...wrapper, EXECUTABLE, ...argv]);
}

function run(argv: readonly string[], env?: Readonly<Record<string, string>>): Promise<Outcome> {
  return start(argv, env).outcome(PATIENCE_MS);
}

/** One line on standard error, nothing on standard output, and never a stack trace. */
async function refused(argv: readonly string[], status: number, says: RegExp): Promise<void> {
  const outcome = await run(argv);
  assert.match(outcome.stderr, says);
  assert.equal(outcome.status, status, outcome.stderr);
  assert.equal(outcome.stdout, '');
  const lines = outcome.stderr.trimEnd().split('\n');
  assert.equal(lines.length, status === 2 ? 2 : 1, outcome.stderr);
  for (const line of lines) assert.doesNotMatch(line, /\p{Cc}|^\s+at /u);
  if (status === 1) assert.match(outcome.stderr, /^Error: ".*\. Hint: .*"\n$/);
}

describe('a command line that cannot be understood: status 2, the reason, the usage', () => {
  const usage =
    '\\nUsage: vsock-proxy \\[OPTIONS\\] <local_port> <remote_addr> <remote_port> \\(more: vsock-proxy --help\\)\\n$';
  const cases: readonly (readonly [argv: readonly string[], says: string])[] = [
    [[], "^error: missing required argument 'local_port'"],
    [['8000', 'localhost'], "^error: missing required argument 'remote_port'"],
    [['8000', 'localhost', '443', '444'], '^error: too many arguments'],
    [['8000', 'localhost', '443', '--nope'], "^error: unknown option '--nope'"],
    [['8000', 'localhost', '443', '-4', '-6'], "^error: option '-4, --ipv4' cannot be used with option '-6, --ipv6'"],
    [['8000', 'localhost', '443', '--cid', 'x'], "^error: option '--cid' wants any, local or a number"],
    [['unix:/x', 'localhost', '443', '--cid', '3'], "^error: option '--cid' is for vsock"],
    [['8000', 'localhost', '443', '--\x1b[31m\n'], "^error: unknown option '--\\\\u\\{1b\\}\\[31m\\\\n'"],
  ];
  for (const [argv, says] of cases) {
    it(JSON.stringify(argv), () => refused(argv, 2, new RegExp(`${says}.*${usage}`)));
  }
});

describe('arguments that make no sense: status 1, the phrase of the AWS proxy, the reason, a hint', () => {
  const cases: readonly (readonly [argv: readonly string[], says: RegExp])[] = [
    [['x', ...ROUTE], /^Error: "Local port is not valid: \\"x\\" is not a whole number/],
    [['4294967296', ...ROUTE], /^Error: "Local port is not valid: /],
    [['4294967295', ...ROUTE], /^Error: "Local port is not valid: 4294967295 means any port/],
    [['3', ...ROUTE], /^Error: "Local port is not valid: 3 is outside/],
    [['8000', 'localhost', '65979'], /^Error: "Remote port is not valid: \\"65979\\"/],
    [['8000', 'localhost', ''], /^Error: "Remote port is not valid: /],
    [['8000', ...ROUTE, '-w', 'x'], /^Error: "Number of workers is not valid: \\"x\\"/],
    [['8000', ...ROUTE, '-w', '0'], /^Error: "Number of workers must not be 0\./],
    [['8000', '16', '443'], /^Error: "Remote address is not valid: .*CID/],
    [['8000', '2130706433', '443'], /^Error: "Remote address is not valid: /],
    [['8000', '10.0.0.1', '443', '-6'], /^Error: "Remote address is not valid: 10\.0\.0\.1 is an IPv4 address/],
    [['8000', '\x1b]0;title\x07', '443'], /^Error: "Remote address is not valid: /],
  ];
  for (const [argv, says] of cases) it(JSON.stringify(argv.slice(0, 3)), () => refused(argv, 1, says));
});

describe('the checks come in the order of the AWS proxy', () => {
  const wrong = ['x', '16', 'y', '-w', 'z', '--config', at('missing.yaml')];
  const steps: readonly (readonly [argv: readonly string[], status: number, says: RegExp])[] = [
    [[...wrong, '--nope'], 2, /unknown option/],
    [wrong, 1, /Local port/],
    [['8000', ...wrong.slice(1)], 1, /Remote port/],
    [['8000', '16', '443', ...wrong.slice(3)], 1, /Number of workers is not valid/],
    [['8000', '16', '443', '-w', '0', ...wrong.slice(5)], 1, /Number of workers must not be 0/],
    [['8000', '16', '443', ...wrong.slice(5)], 1, /Remote address/],
    [[`unix:${at('no/x')}`, 'evil.example', '443', ...wrong.slice(5)], 1, /Could not open the file/],
    [[`unix:${at('no/x')}`, 'evil.example', '443', '--config', ALLOWLIST], 1, /not allowed/],
    [[`unix:${at('no/x')}`, ...ROUTE], 1, /Could not listen for connections/],
  ];
  for (const [argv, status, says] of steps) it(String(says), () => refused(argv, status, says));
});

describe('the allowlist: status 1 behind "Error at checking the allowlist: "', () => {
  const file = (name: string, content: string | Uint8Array) => {
    writeFileSync(at(name), content);
    return at(name);
  };
  mkdirSync(at('directory'));
  const cases: readonly (readonly [config: string, says: string])[] = [
    [at('missing.yaml'), 'Could not open the file: .*missing\\.yaml'],
    [at('directory'), 'Could not read the file'],
    [file('syntax.yaml', 'allowlist: [}\n'), 'Bad yaml format: .*syntax\\.yaml:1'],
    [
      file(
        'binary.yaml',
        Uint8Array.from({ length: 300 }, (_, i) => 255 - (i % 256)),
      ),
      '',
    ],
    [file('empty.yaml', ''), 'No allowlist field'],
    [file('scalar.yaml', '42\n'), ''],
    [file('null.yaml', 'allowlist:\n'), 'No allowlist field'],
    [file('typo.yaml', 'allowlsit: []\n'), ''],
    [file('noport.yaml', 'allowlist:\n- {address: localhost}\n'), 'No port field or invalid type.*noport\\.yaml:2'],
    [file('noaddress.yaml', 'allowlist:\n- {port: 443}\n'), 'No address field.*noaddress\\.yaml:2'],
    [
      file('range.yaml', 'allowlist:\n- {address: localhost, port: 65979}\n'),
      'No port field or invalid type: .*65979 is outside 1–65535 .*range\\.yaml:2',
    ],
    [file('escape.yaml', 'allowlist:\n- {address: "\\e[31m\\n", port: 443}\n'), ''],
    [
      file('other.yaml', 'allowlist:\n- {address: other.example, port: 443}\n'),
      'The given address and port are not allowed',
    ],
    [file('none.yaml', 'allowlist: []\n'), 'The given address and port are not allowed'],
  ];
  for (const [config, says] of cases) {
    it(config.slice(directory.length + 1), () =>
      refused(
        ['8000', 'localhost', '443', '--config', config],
        1,
        new RegExp(`^Error: "Error at checking the allowlist: ${says}`),
      ),
    );
  }
  it('a CIDR rule does not allow a name with another address', () =>
    refused(
      ['8000', 'localhost', '443', '--config', file('cidr.yaml', 'allowlist:\n- {address: 10.0.0.0/8, port: 443}\n')],
      1,
      /^Error: "Error at checking the allowlist: The given address and port are not allowed: .*127\.0\.0\.1/,
    ));
});

describe('an address that cannot be listened on: status 1, the errno, and a hint', () => {
  const head = '^Error: "Could not listen for connections: Could not bind to ';
  it('a vsock address that is not of this machine, or a machine without vsock', () =>
    refused(['8000', ...ROUTE, '--cid', '77'], 1, new RegExp(`${head}cid: 77 port: 8000: E[A-Z]+: `)));
  it('a directory that does not exist', () =>
    refused([`unix:${at('no/x')}`, ...ROUTE], 1, new RegExp(`${head}unix: .*no/x: ENOENT: `)));
  it('a unix socket in use; but not one whose process was killed', async () => {
    const first = start([`unix:${at('killed.sock')}`, ...ROUTE], { RUST_LOG: 'info' });
    await first.stderr.match(/Proxy is now in listening state/, PATIENCE_MS);
    await refused([`unix:${at('killed.sock')}`, ...ROUTE], 1, new RegExp(`${head}unix: .*killed\\.sock: EADDRINUSE: `));
    first.kill();
    await first.ended;
    const second = start([`unix:${at('killed.sock')}`, ...ROUTE], { RUST_LOG: 'info' });
    await second.stderr.match(/Proxy is now in listening state/, PATIENCE_MS);
    second.kill();
    await second.ended;
  });
  it('a file that exists, and is not to be removed', () =>
    refused(
      [`unix:${ALLOWLIST}`, ...ROUTE],
      1,
      new RegExp(`${head}unix: .*allow\\.yaml: EADDRINUSE: .*is not a socket`),
    ));
  it('an IP address of another machine', () =>
    refused(['tcp:192.0.2.1:8000', ...ROUTE], 1, new RegExp(`${head}tcp: 192\\.0\\.2\\.1:8000: EADDRNOTAVAIL: `)));
  it('a port in use', async () => {
    const server = createServer().listen(0, LOOPBACK);
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    await refused(
      [`tcp:${LOOPBACK}:${port}`, ...ROUTE],
      1,
      new RegExp(`${head}tcp: 127\\.0\\.0\\.1:${port}: EADDRINUSE: `),
    );
    server.close();
  });
});

describe('help and version: status 0, standard output only', () => {
  for (const option of ['--help', '-h']) {
    it(option, async () => {
      const { status, stdout, stderr } = await run([option]);
      assert.deepEqual({ status, stderr }, { status: 0, stderr: '' });
      assert.match(stdout, /^Usage: vsock-proxy \[OPTIONS\] <local_port> <remote_addr> <remote_port>\n/);
      for (const line of stdout.split('\n')) assert.ok(line.length <= 80, line);
    });
  }
  for (const option of ['--version', '-V']) {
    it(option, async () => {
      const { status, stdout, stderr } = await run([option]);
      assert.deepEqual({ status, stderr }, { status: 0, stderr: '' });
      assert.match(stdout, /^vsock-proxy \d+\.\d+\.\d+\nVsock-TCP proxy 1\.0\.2 \(compatible: [^\n]*\)\n$/);
    });
  }
  it('a standard output that cannot be written gives status 1 and no crash', async () => {
    const program = new Program('sh', ['-c', '"$0" --help > /dev/full', EXECUTABLE]);
    assert.deepEqual(await program.outcome(PATIENCE_MS), { status: 1, stdout: '', stderr: '' });
  });
});

describe('RUST_LOG', () => {
  /** What the AWS proxy says of whatever it does not allow. */
  const UNABLE = / WARN {2}vsock_proxy::proxy\] Unable to resolve allow listed host: "evil\.example"\.$/;
  const denied = ['8000', 'evil.example', '443', '--config', ALLOWLIST];
  const cases: readonly (readonly [spec: string, lines: readonly RegExp[]])[] = [
    ['', []],
    ['error', []],
    ['warn', [UNABLE]],
    ['off', []],
    ['vsock_proxy::proxy=info', [UNABLE]],
    ['info', [/^\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO {2}vsock_proxy\] Checking allowlist configuration$/, UNABLE]],
    ['vsock_proxy=info', [/Checking/, UNABLE]],
    ['info/Checking', [/Checking/]],
    ['info/listening', []],
    ['vsock_proxy=loud', [/^warning: invalid logging spec 'loud', ignoring it$/]],
    ['info/(?i)checking', [/Checking/]],
    ['info/\\d', []],
    ['info,a=\n', [/Checking/, UNABLE]],
    ['info/[', [/^warning: invalid regex filter - "\[": unclosed character class, ignoring it$/, /Checking/, UNABLE]],
  ];
  for (const [spec, expected] of cases) {
    it(JSON.stringify(spec), async () => {
      const { stderr } = await run(denied, { RUST_LOG: spec });
      const lines = stderr.trimEnd().split('\n');
      assert.match(lines.pop() ?? '', /^Error: /);
      assert.equal(lines.length, expected.length, stderr);
      for (const [index, line] of lines.entries()) assert.match(line, expected[index] ?? /never/);
    });
  }
});

it('without RUST_LOG the log of serve has failures and nothing else', async () => {
  const config = at('quiet.yaml');
  writeFileSync(config, `allowlist: []\nlisteners: [{listen: "unix:${at('quiet.sock')}", route: http}]\n`);
  const withSocket = 'export LISTEN_FDS=1 LISTEN_PID=$$; exec "$0" "$@" 3</dev/null';
  const program = start(['serve', '--config', config], {}, ['sh', '-c', withSocket]);
  await program.stderr.match(
    /^\[\S+ WARN {2}\S+\] systemd has passed a socket with the name "unknown", which no/,
    PATIENCE_MS,
  );
  program.kill('SIGTERM');
  const { status, stderr } = await program.outcome(PATIENCE_MS);
  assert.equal(status, 0);
  assert.equal(stderr.split('\n').length, 2, stderr);
});

/** An upstream and a running proxy to it. */
interface Running {
  readonly program: Program;
  readonly path: string;
  readonly port: number;
  /** The next connection at the upstream. */
  accept(): Promise<Socket>;
  connect(): Promise<Socket>;
}

const INFO = { RUST_LOG: 'info' };
let runs = 0;

interface RunOptions {
  /** More YAML, behind the allowlist. */
  readonly settings?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** What starts it, in place of nothing. */
  readonly wrapper?: readonly string[];
  /** Where its log comes out then. */
  readonly log?: 'stderr' | 'stdout';
}

/** Waits until it listens. */
async function startRunning({
  settings = '',
  env = INFO,
  wrapper = [],
  log = 'stderr',
}: RunOptions = {}): Promise<Running> {
  runs += 1;
  const server = createServer({ allowHalfOpen: true }).listen(0, LOOPBACK);
  after(() => server.close());
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const config = at(`run${runs}.yaml`);
  writeFileSync(config, `allowlist:\n- {address: localhost, port: ${port}}\n${settings}`);
  const path = at(`run${runs}.sock`);
  const program = start([`unix:${path}`, 'localhost', String(port), '--ipv4', '--config', config], env, wrapper);
  after(() => program.kill());
  await program[log].match(/Proxy is now in listening state\n/, PATIENCE_MS);
  return {
    program,
    path,
    port,
    async accept() {
      const [socket] = await once(server, 'connection');
      after(() => socket.destroy());
      return socket;
    },
    async connect() {
      const socket = dial({ path, allowHalfOpen: true });
      after(() => socket.destroy());
      await once(socket, 'connect');
      return socket;
    },
  };
}

describe('a running proxy', () => {
  it('logs its start and a connection in the words of the AWS proxy', async () => {
    const { program, path, port, accept, connect } = await startRunning();
    const accepting = accept();
    const client = await connect();
    const accepted = await accepting;
    client.end('question');
    assert.equal(await text(accepted), 'question');
    accepted.end('answer');
    assert.equal(await text(client), 'answer');
    await program.stderr.match(/disconnected\n/, PATIENCE_MS);
    program.kill('SIGTERM');
    const { status, stdout, stderr } = await program.outcome(PATIENCE_MS);
    assert.deepEqual({ status, stdout }, { status: 0, stdout: '' });
    const lines = stderr.trimEnd().split('\n');
    for (const line of lines) assert.match(line, /^\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO {2}vsock_proxy(::proxy)?\] /);
    assert.deepEqual(
      lines.map((line) => line.slice(line.indexOf('vsock_proxy'))),
      [
        'vsock_proxy] Checking allowlist configuration',
        `vsock_proxy::proxy] Matched with host name "localhost" and port "${port}"`,
        `vsock_proxy::proxy] Bound to unix: ${path}`,
        'vsock_proxy] Proxy is now in listening state',
        `vsock_proxy::proxy] Accepted connection on unix: ${path}`,
        'vsock_proxy::proxy] Resolving hostname: localhost.',
        'vsock_proxy::proxy] Using IP "127.0.0.1" for the given server "localhost". (TTL: 86400 secs)',
        `vsock_proxy::proxy] Connected client from unix: ${path} to 127.0.0.1:${port}`,
        `vsock_proxy::proxy] Client on unix: ${path} disconnected`,
        'vsock_proxy] SIGTERM received: stopping. A second one ends the process at once',
        'vsock_proxy::proxy] No new clients are accepted; 0 open connections may take 10.0 s to end',
        'vsock_proxy::proxy] All connections have ended',
      ],
    );
  });

  it('logs nothing by default', async () => {
    const { program, accept, connect } = await startRunning({ env: { RUST_LOG: 'info/listening state' } });
    const accepting = accept();
    const client = await connect();
    (await accepting).destroy();
    await once(client.resume(), 'end');
    program.kill('SIGTERM');
    const { status, stderr } = await program.outcome(PATIENCE_MS);
    assert.equal(status, 0);
    assert.match(stderr, /^\[.*\] Proxy is now in listening state\n$/);
  });

  it('serves on when the reader of its log is gone', async () => {
    const reader = ['bash', '-c', 'exec "$0" "$@" 2> >(exec head --lines=1)'];
    const env = { RUST_LOG: 'debug/listening state|disconnected' };
    const { program, accept, connect } = await startRunning({ env, wrapper: reader, log: 'stdout' });
    for (let round = 0; round < 3; round += 1) {
      const accepting = accept();
      const client = await connect();
      const accepted = await accepting;
      client.end('question');
      assert.equal(await text(accepted), 'question');
      accepted.end();
    }
    program.kill('SIGTERM');
    const { status, stdout } = await program.outcome(PATIENCE_MS);
    assert.equal(status, 0);
    assert.match(stdout, /^.* Proxy is now in listening state\n$/);
  });
});

/** Waits until the relay threads have closed the socket. Until then the kernel may take a client that nobody serves. */
async function refusesSoon(connect: () => Promise<Socket>): Promise<void> {
  const slipsIn = () => connect().catch(() => undefined);
  for (let socket = await slipsIn(); socket !== undefined; socket = await slipsIn()) socket.destroy();
}

describe('a signal to stop', () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(`${signal} takes no more clients, waits for those that are connected, and ends with status 0`, async () => {
      const { program, path, accept, connect } = await startRunning();
      const accepting = accept();
      const client = await connect();
      const accepted = await accepting;
      program.kill(signal);
      await program.stderr.match(
        /No new clients are accepted; 1 open connection may take 10\.0 s to end\n/,
        PATIENCE_MS,
      );
      await refusesSoon(connect);
      assert.ok(!existsSync(path), 'the socket file is gone');
      client.end('last words');
      assert.equal(await text(accepted), 'last words');
      accepted.end();
      const { status, stderr } = await program.outcome(PATIENCE_MS);
      assert.equal(status, 0);
      assert.match(stderr, new RegExp(`${signal} received: stopping`));
      assert.match(stderr, /All connections have ended\n$/);
    });
  }

  it('resets open connections at the deadline of the drain, and logs it', async () => {
    const { program, accept, connect } = await startRunning({ settings: 'timeouts: {drain: 100ms}\n' });
    const accepting = accept();
    await connect();
    const accepted = await accepting;
    const reset = once(accepted, 'error');
    program.kill('SIGTERM');
    const { status, stderr } = await program.outcome(PATIENCE_MS);
    assert.equal(status, 0);
    assert.match(stderr, /WARN .*\] 1 connection still open after 0\.1 s \(timeouts\.drain\): reset\n$/);
    const [error] = await reset;
    assert.equal(error.code, 'ECONNRESET');
  });

  for (const [second, status] of [
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const) {
    it(`a second one, ${second}, ends the process at once with status ${status}`, async () => {
      const { program, accept, connect } = await startRunning();
      const accepting = accept();
      await connect();
      await accepting;
      program.kill('SIGTERM');
      await program.stderr.match(/No new clients are accepted/, PATIENCE_MS);
      program.kill(second);
      assert.equal((await program.outcome(PATIENCE_MS)).status, status);
    });
  }
});
