/** Both sides together: ingress, the workshop's forwarder, a parent that comes and goes. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer as createHttpsServer } from 'node:https';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { suite, test } from 'node:test';
import { Program } from '../program.ts';
import { makeCertificate } from './certificate.ts';
import { afterTest, CURL_CLOSED, onParent, PATIENCE_MS, pidOf, SERVER_IP, Stage } from './enclave-stage.ts';

const RANGES = 'ip-ranges.amazonaws.com';
const DATA = 'data.test';
const CLOSED = new RegExp(`^curl: \\((?:${CURL_CLOSED})\\) `);

onParent(import.meta.filename, `${SERVER_IP} ${RANGES} ${DATA}\n`, () => {
  suite('ingress', { concurrency: 1 }, ingress);
  suite('forward', { concurrency: 1 }, forward);
  suite('the examples', { concurrency: 1 }, examples);
  suite('logs', { concurrency: 1 }, logs);
  suite('sides that come and go', { concurrency: 1 }, restarts);
});

/** curl on the parent's side. */
async function curl(...args: readonly string[]): Promise<string> {
  const { stdout, stderr } = await new Program('curl', ['-sS', '--max-time', '20', ...args]).outcome(PATIENCE_MS);
  return stdout + stderr;
}

function ingress(): void {
  const WEB = `python3 -u -c "
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'from inside')
    def log_message(self, *arguments): pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', PORT), Handler)
print('ready', flush=True)
server.serve_forever()"`;
  const toEnclave = 'listeners: [{listen: "tcp:127.0.0.1:3000", connect: "unix:DIRECTORY/enclave-3000"}]\n';

  test('a client from outside is closed while the application does not listen yet, and served afterwards', async () => {
    const stage = new Stage();
    await stage.parent('serve', '--config', stage.file(`timeouts: {connect: 500ms}\n${toEnclave}`));
    const script = `echo waiting; read line; exec ${WEB.replace('PORT', '3000')}`;
    const enclave = stage.enclave({ config: 'ingress: [{listen_port: 3000}]', command: ['sh', '-c', script] });
    await enclave.stdout.match(/waiting/, PATIENCE_MS);
    assert.match(await curl('http://127.0.0.1:3000/'), CLOSED);
    enclave.stdin.end('\n');
    await enclave.stdout.match(/ready/, PATIENCE_MS);
    assert.equal(await curl('http://127.0.0.1:3000/'), 'from inside');
    assert.match(enclave.stderr.text, /WARN .*could not connect to tcp: 127\.0\.0\.1:3000.*ECONNREFUSED/);
  });

  test('leads to another port inside if transparent egress uses the port of outside', async () => {
    const stage = new Stage();
    await stage.parent('serve', '--config', stage.file(toEnclave.replaceAll('3000', '443')));
    const config = 'egress: {allow: [a.test]}\ningress: [{listen_port: 443, enclave_port: 8443}]';
    const enclave = stage.enclave({ config, command: ['sh', '-c', `exec ${WEB.replace('PORT', '8443')}`] });
    await enclave.stdout.match(/ready/, PATIENCE_MS);
    assert.equal(await curl('http://127.0.0.1:443/'), 'from inside');
  });

  test('to an enclave by name: while none runs, clients are refused, and the log has the reason', async () => {
    const stage = new Stage();
    const nitroCli = stage.file('#!/bin/sh\nprintf \'[{"EnclaveName":"other","EnclaveCID":16,"State":"RUNNING"}]\'\n');
    chmodSync(nitroCli, 0o755);
    const config = stage.file('ingress: [{listen_port: 3000}]\n');
    const parent = await stage.parent('serve', '--config', config, '--enclave-name', 'app', '--nitro-cli', nitroCli);
    assert.match(await curl('http://127.0.0.1:3000/'), CLOSED);
    await parent.stderr.match(/no enclave with the name "app" runs.*those that run are "other"/, PATIENCE_MS);
  });

  test('works again when the enclave is started again', async () => {
    const stage = new Stage();
    await stage.parent('serve', '--config', stage.file(toEnclave));
    const start = () =>
      stage.enclave({
        config: 'ingress: [{listen_port: 3000}]',
        command: ['sh', '-c', `exec ${WEB.replace('PORT', '3000')}`],
      });
    const first = start();
    await first.stdout.match(/ready/, PATIENCE_MS);
    assert.equal(await curl('http://127.0.0.1:3000/'), 'from inside');
    first.kill();
    await first.ended;
    rmSync(join(stage.sockets, 'enclave-3000'));
    await start().stdout.match(/ready/, PATIENCE_MS);
    assert.equal(await curl('http://127.0.0.1:3000/'), 'from inside');
  });
}

/** The workshop's server: the prefixes of a region. */
async function serveRanges(): Promise<string> {
  const { key, cert } = makeCertificate(RANGES);
  const body = JSON.stringify({ prefixes: [{ ip_prefix: '192.0.2.0/24', region: 'us-east-1', service: 'S3' }] });
  const server = createHttpsServer({ key, cert }, (_, response) => response.end(body)).listen(443, SERVER_IP);
  await once(server, 'listening');
  afterTest(() => server.close() && server.closeAllConnections());
  return cert;
}

function forward(): void {
  const fetchRanges = (ca: string) => `
import json, ssl, urllib.request
context = ssl.create_default_context(cafile="${ca}")
ranges = json.load(urllib.request.urlopen("https://${RANGES}/ip-ranges.json", context=context, timeout=20))
print([each["ip_prefix"] for each in ranges["prefixes"]])
`;

  test('the workshop: a section of the file replaces the forwarder, the line in hosts and the link', async () => {
    const stage = new Stage();
    const python = stage.file(fetchRanges(stage.file(await serveRanges())));
    const allowlist = stage.file(`allowlist:\n- {address: ${RANGES}, port: 443}\n`);
    await stage.parent(`unix:${stage.sockets}/parent-8001`, RANGES, '443', '--config', allowlist);
    const config = `forward: [{listen: "127.0.0.1:443", connect: "unix:DIRECTORY/parent-8001", names: [${RANGES}]}]`;
    const { stdout, stderr } = await stage.enclave({ config, command: ['python3', python] }).outcome(PATIENCE_MS);
    assert.equal(stdout, "['192.0.2.0/24']\n", stderr);
  });

  test('the command alone, in both orders of its arguments', async () => {
    const stage = new Stage();
    const ca = stage.file(await serveRanges());
    await stage.parent('forward', '127.0.0.1:8443', `tcp:${SERVER_IP}:443`);
    await stage.parent('forward', '127.0.0.1:8444', '127.0.0.1:8443');
    const url = `https://${RANGES}:8444/`;
    assert.match(await curl('--cacert', ca, '--resolve', `${RANGES}:8444:127.0.0.1`, url), /192\.0\.2\.0/);
    for (const args of [
      ['127.0.0.1', '8445', '3', '8001'],
      ['127.0.0.1:8446', '3', '8001'],
    ]) {
      const program = await stage.parent('forward', ...args);
      assert.match(program.stderr.text, /Bound to tcp: 127\.0\.0\.1:844[56]/);
    }
  });
}

function examples(): void {
  const EXAMPLES = join(import.meta.dirname, '../../examples');
  const REGION = '["192.0.2.0/24"]';

  /** As its Dockerfile does: a static program, which resolves names by code of its own. */
  const buildGo = async (): Promise<readonly string[]> => {
    const program = resolve('build/example-go');
    const variables = [
      'CGO_ENABLED=0',
      'GOPROXY=off',
      'GOFLAGS=-buildvcs=false',
      `GOCACHE=${resolve('build/go-cache')}`,
    ];
    const go = new Program('env', [`--chdir=${EXAMPLES}/go`, ...variables, 'go', 'build', '-o', program, '.']);
    const { status, stderr } = await go.outcome(120_000);
    assert.equal(status, 0, stderr);
    return [program];
  };

  for (const [language, build, ca] of [
    ['Python', () => ['python3', `${EXAMPLES}/python/app.py`], 'SSL_CERT_FILE'],
    ['Node.js', () => [process.execPath, `${EXAMPLES}/node/app.mjs`], 'NODE_EXTRA_CA_CERTS'],
    ['Go', buildGo, 'SSL_CERT_FILE'],
  ] as const) {
    test(`${language}: the application serves clients from outside and reaches servers, without any setting`, async () => {
      const command = await build();
      const stage = new Stage();
      const certificate = stage.file(await serveRanges());
      await stage.egress([RANGES]);
      const toEnclave = 'listeners: [{listen: "tcp:127.0.0.1:3000", connect: "unix:DIRECTORY/enclave-3000"}]\n';
      await stage.parent('serve', '--config', stage.file(toEnclave));
      const config = readFileSync(join(EXAMPLES, 'vsock-proxy.yaml'), 'utf8');
      // It ends when its standard input does, so that nothing is left behind it.
      const script = `${ca}=${certificate} ${command.join(' ')} & until curl -s -o /dev/null http://127.0.0.1:3000/; do :; done; echo ready; read end; kill $!`;
      const enclave = stage.enclave({ config, command: ['sh', '-c', script] });
      await enclave.stdout.match(/ready/, PATIENCE_MS);
      const answer = await curl('http://127.0.0.1:3000/us-east-1');
      assert.equal(answer.replace(/\s/g, ''), REGION, enclave.stderr.text);
    });
  }
}

function logs(): void {
  const UNTIL_443 = 'until curl -s -o /dev/null http://127.0.0.1:443/; do :; done';
  const LISTENER = 'listeners: [{listen: "unix:DIRECTORY/parent-9514", route: log}]\n';

  test('the output of the command and the lines about it appear at the parent, and on no console', async () => {
    const stage = new Stage();
    const parent = await stage.parent('serve', '--config', stage.file(LISTENER));
    const script = 'echo "out\\033[2J"; echo err >&2; getent hosts evil.test; printf last; exit 5';
    const { status, stdout, stderr } = await stage
      .enclave({
        config: 'egress: {allow: [a.test]}',
        command: ['sh', '-c', script],
        options: ['--log', `unix:${stage.sockets}/parent-9514`],
      })
      .outcome(PATIENCE_MS);
    assert.deepEqual([status, stdout], [5, '']);
    assert.doesNotMatch(stderr, /^(out|err|last)/m);
    await parent.stderr.match(/^the unix socket: last$/m, PATIENCE_MS);
    assert.match(parent.stderr.text, /^the unix socket: out\\u\{1b\}\[2J$/m);
    assert.match(parent.stderr.text, /^the unix socket: err$/m);
    assert.match(parent.stderr.text, /^the unix socket: \[.* WARN {2}vsock_proxy\] evil\.test was looked up/m);
  });

  test('the parent logs why an enclave could not be set up: a wrong file, addresses in use, a read-only file', async () => {
    const stage = new Stage();
    const parent = await stage.parent('serve', '--config', stage.file(LISTENER));
    const options = ['--log', `unix:${stage.sockets}/parent-9514`];
    const command = ['echo', 'started'];
    const egress = 'egress: {allow: [a.test]}';
    for (const [config, prepare, expected] of [
      [
        'egress: {allow: [a.test], alow: [b.test]}',
        [],
        /^the unix socket: Error: "egress\.alow: unknown key .*Hint: /m,
      ],
      [
        egress,
        ['ip link set lo up', 'python3 -m http.server 443 --bind 127.0.0.1 >/dev/null 2>&1 &', UNTIL_443],
        /^the unix socket: Error: "Could not listen for connections: Could not bind to tcp: 0\.0\.0\.0:443: EADDRINUSE/m,
      ],
      [
        `${egress}\nmetrics: {listen: "unix:${stage.file('no socket')}"}`,
        [],
        /^the unix socket: Error: "Could not listen for connections: metrics\.listen: Could not listen on unix:\S+: EADDRINUSE/m,
      ],
      [
        egress,
        ['mount --bind -o ro /etc/resolv.conf /etc/resolv.conf'],
        /^the unix socket: Error: "\/etc\/resolv\.conf could not be written: /m,
      ],
    ] as const) {
      const enclave = stage.enclave({ config, command, options, prepare, isFirst: true });
      const { status, stdout } = await enclave.outcome(PATIENCE_MS);
      assert.deepEqual([status, stdout], [1, '']);
      await parent.stderr.match(expected, PATIENCE_MS);
    }
  });

  test('lines come without colours, also where standard error is a terminal, as the console of an enclave is', async () => {
    const stage = new Stage();
    const parent = await stage.parent('serve', '--config', stage.file(LISTENER));
    const terminal = stage.file('import pty, sys\npty.spawn(sys.argv[1:])\n');
    const program = stage.enclave({
      config: 'egress: {allow: [a.test]}',
      command: ['getent', 'hosts', 'evil.test'],
      options: ['--log', `unix:${stage.sockets}/parent-9514`],
      prepare: [`set -- python3 ${terminal} "$@"`],
    });
    await program.outcome(PATIENCE_MS);
    await parent.stderr.match(/^the unix socket: \[.* WARN {2}vsock_proxy\] evil\.test was looked up/m, PATIENCE_MS);
  });

  test('outputs can be opened by name, as programs do that log to /dev/stdout', async () => {
    const stage = new Stage();
    const parent = await stage.parent('serve', '--config', stage.file(LISTENER));
    const { status } = await stage
      .enclave({
        config: 'ingress: [{listen_port: 3000}]',
        command: ['sh', '-c', 'echo out >/dev/stdout && echo err >/proc/self/fd/2 && exit 5'],
        options: ['--log', `unix:${stage.sockets}/parent-9514`],
      })
      .outcome(PATIENCE_MS);
    assert.equal(status, 5);
    await parent.stderr.match(/^the unix socket: out$/m, PATIENCE_MS);
    await parent.stderr.match(/^the unix socket: err$/m, PATIENCE_MS);
  });

  test('output from before the parent is there arrives later, and again after a restart of the parent', async () => {
    const stage = new Stage();
    const options = ['--log', `unix:${stage.sockets}/parent-9514`];
    const script = 'echo early; while read line; do echo "got $line"; done';
    const enclave = stage.enclave({ config: 'ingress: [{listen_port: 3000}]', command: ['sh', '-c', script], options });
    await enclave.stderr.match(/Proxy is now in listening state/, PATIENCE_MS);
    const config = stage.file(LISTENER);
    const first = await stage.parent('serve', '--config', config);
    await first.stderr.match(/^the unix socket: early$/m, PATIENCE_MS);
    first.kill();
    await first.ended;
    rmSync(join(stage.sockets, 'parent-9514'));
    const second = await stage.parent('serve', '--config', config);
    const nudge = setInterval(() => enclave.stdin.write('again\n'), 100);
    await second.stderr.match(/^the unix socket: got again$/m, PATIENCE_MS).finally(() => clearInterval(nudge));
    enclave.stdin.end();
    assert.equal((await enclave.outcome(PATIENCE_MS)).status, 0);
  });
}

function restarts(): void {
  /** A few, and the same ones every time; minutes of random ones are `make soak`. */
  const ROUNDS = 5;

  /** Sends as many bytes as the first line says, then their hash. */
  const serveData = async (): Promise<void> => {
    const server = createServer((socket) => {
      socket.on('error', () => socket.destroy());
      socket.once('data', (line) => {
        const bytes = randomBytes(Number(String(line)));
        socket.end(Buffer.concat([createHash('sha256').update(bytes).digest(), bytes]));
      });
    }).listen(443, SERVER_IP);
    await once(server, 'listening');
    afterTest(() => server.close());
  };

  /** Workers that transfer all the time; every outcome is one line: `whole` with its number, `failed`, or `WRONG`. */
  const LOAD = `
import hashlib, itertools, socket, sys, threading
numbers = itertools.count(1)
ended = threading.Event()
def transfer():
    received = b""
    try:
        with socket.create_connection(("${DATA}", 443), timeout=20) as connection:
            connection.sendall(b"200000\\n")
            while True:
                chunk = connection.recv(65536)
                if not chunk: break
                received += chunk
    except OSError:
        return "failed"
    if len(received) != 200032: return "failed"
    return f"whole {next(numbers)}" if hashlib.sha256(received[32:]).digest() == received[:32] else "WRONG"
def work():
    while not ended.is_set():
        print(transfer(), flush=True)
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
sys.stdin.readline()
ended.set()
for thread in threads: thread.join()
print("end", flush=True)
`;

  /** So many more transfers end whole. */
  const untilWhole = async (load: Program, count: number): Promise<void> => {
    const { text } = load.stdout;
    const last = /^whole (\d+)/.exec(text.slice(Math.max(text.lastIndexOf('whole '), 0)))?.[1] ?? 0;
    await load.stdout.match(new RegExp(`^whole ${Number(last) + count}$`, 'm'), PATIENCE_MS);
  };

  /** What a process holds. */
  const footprintOf = (pid: number) => ({
    files: readdirSync(`/proc/${pid}/fd`).length,
    kib: Number(/^Anonymous: +(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]),
  });
  const assertFlat = (pid: number, before: ReturnType<typeof footprintOf>): void => {
    const { files, kib } = footprintOf(pid);
    // Beside what the transfers of this moment need.
    assert(files <= before.files + 16, `${before.files} descriptors, then ${files}`);
    assert(kib <= before.kib + 6 * 1024, `${before.kib} KiB, then ${kib}`);
  };

  test('the parent is killed repeatedly: transfers are complete or fail visibly, and work again', async () => {
    const stage = new Stage();
    await serveData();
    let parent = await stage.egress([DATA]);
    const enclave = stage.enclave({ config: `egress: {allow: [${DATA}]}`, command: ['python3', stage.file(LOAD)] });
    await untilWhole(enclave, 100);
    const before = footprintOf(pidOf(enclave));
    for (let round = 0; round < ROUNDS; round += 1) {
      parent.kill();
      await parent.ended;
      rmSync(join(stage.sockets, 'parent-10000'));
      parent = await stage.egress([DATA]);
      await untilWhole(enclave, 20);
    }
    assertFlat(pidOf(enclave), before);
    enclave.stdin.end('\n');
    const { stdout } = await enclave.outcome(PATIENCE_MS);
    assert.doesNotMatch(stdout, /WRONG/);
    assert.match(stdout, /end\n$/);
  });

  test('the enclave is killed repeatedly: the parent serves the next one, and keeps nothing of the previous one', async () => {
    const stage = new Stage();
    await serveData();
    const parent = await stage.egress([DATA]);
    const command = ['python3', stage.file(LOAD)];
    const liveOnce = async (): Promise<void> => {
      const enclave = stage.enclave({ config: `egress: {allow: [${DATA}]}`, command });
      await untilWhole(enclave, 20);
      enclave.kill();
      assert.doesNotMatch((await enclave.ended).stdout, /WRONG/);
    };
    await liveOnce();
    await liveOnce();
    const before = footprintOf(parent.pid);
    for (let round = 0; round < ROUNDS; round += 1) await liveOnce();
    assertFlat(parent.pid, before);
  });
}
