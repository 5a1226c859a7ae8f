/** What an enclave shows of itself: metrics, health, the control socket, and records for a journal. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { type RequestOptions, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { Program } from '../program.ts';
import { afterTest, onParent, PATIENCE_MS, pidOf, Stage, TESTED } from './enclave-stage.ts';
import { EXECUTABLE } from './proxy.ts';

const FORWARD = 'forward: [{listen: "127.0.0.1:443", connect: "unix:DIRECTORY/parent-8001"}]\n';
const METRICS = 'metrics: {listen: "vsock:9465", enclaves: [{cid: 16, port: 9465}]}\n';
/** It ends with its standard input. */
const command = ['sh', '-c', 'echo started; exec cat'];
/** As many connections to metrics are open at most. */
const MOST_CONNECTIONS = 64;

onParent(import.meta.filename, '', () => {
  suite('an observed enclave', { concurrency: 1 }, observed);
  suite('the journal', { concurrency: 1 }, journal);
});

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

async function get(socketPath: string, path: string, options: RequestOptions = {}): Promise<Answer> {
  const asking = request({ ...options, socketPath, path, agent: false }).end();
  const [response] = await once(asking, 'response');
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString();
  return { status: response.statusCode, type: response.headers['content-type'] ?? '', body };
}

/** What the server says until it ends the connection. */
async function exchange(socket: Socket, text: string): Promise<string> {
  let received = '';
  socket.setEncoding('latin1').on('data', (data) => {
    received += data;
  });
  socket.end(text);
  await new Promise((resolve) => socket.on('close', resolve)); // a reset is an end, too
  return received;
}

function observed(): void {
  const start = async (stage: Stage, config = FORWARD + METRICS, environment: readonly string[] = []) => {
    const enclave = stage.enclave({ config, command, environment });
    await enclave.stderr.match(/Metrics are served on|There are no metrics|The control socket is/, PATIENCE_MS);
    await enclave.stdout.match(/started/, PATIENCE_MS);
    return enclave;
  };
  const metricsOf = (stage: Stage) => join(stage.sockets, 'enclave-9465');

  test('tells its metrics and its health on vsock, and nothing of the enclaves of its parent', async () => {
    const stage = new Stage();
    const enclave = await start(stage);
    const { status, type, body } = await get(metricsOf(stage), '/metrics');
    assert.deepEqual([status, type], [200, 'text/plain; version=0.0.4; charset=utf-8']);
    const engine = TESTED === EXECUTABLE ? 'node' : 'quickjs';
    assert.match(
      body,
      new RegExp(`^vsock_proxy_build_info\\{version="[0-9.]+",${engine}="[^"]+",arch="(?:x|arm)64"\\} 1$`, 'm'),
    );
    assert.match(body, /^vsock_proxy_connections_accepted_total\{listener="tcp:127\.0\.0\.1:443"\} 0$/m);
    assert.match(body, /^vsock_proxy_connect_seconds_bucket\{listener="tcp:127\.0\.0\.1:443",le="\+Inf"\} 0$/m);
    assert.doesNotMatch(body, /enclave_up/);
    const value = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(body)?.[1]);
    assert.ok(value('process_cpu_seconds_total') > 0);
    assert.ok(value('process_resident_memory_bytes') > 1e6 && value('process_resident_memory_bytes') < 200e6);
    assert.ok(value('process_open_fds') > 3 && value('process_open_fds') < value('process_max_fds'));
    const other = await get(metricsOf(stage), '/metrics', { headers: { accept: 'application/openmetrics-text' } });
    assert.match(other.body, /\n# EOF\n$/);
    for (const path of ['/healthz', '/readyz']) assert.equal((await get(metricsOf(stage), path)).status, 200, path);
    assert.equal((await get(metricsOf(stage), '/status')).status, 404);
    enclave.stdin.end();
    assert.equal((await enclave.outcome(PATIENCE_MS)).status, 0);
  });

  test('clients that send too much, too little or many at a time keep nobody from the metrics', async () => {
    const stage = new Stage();
    const enclave = await start(stage);
    const open = () => {
      const socket = connect({ path: metricsOf(stage), allowHalfOpen: true });
      socket.on('error', () => undefined);
      afterTest(() => socket.destroy());
      return socket;
    };
    const twice = 'GET /healthz HTTP/1.1\r\n\r\n'.repeat(2);
    assert.equal((await exchange(open(), twice)).match(/^HTTP\/1\.1 200 OK\r$/gm)?.length, 2);
    assert.match(await exchange(open(), 'POST / HTTP/1.1\r\n\r\n'), /^HTTP\/1\.1 405 /);
    assert.match(await exchange(open(), `GET / HTTP/1.1\r\nX: ${'x'.repeat(9000)}`), /^HTTP\/1\.1 431 /);
    const silent = Array.from({ length: MOST_CONNECTIONS }, open);
    await Promise.all(silent.map((socket) => once(socket, 'connect')));
    assert.equal(await exchange(open(), twice), '');
    await enclave.stderr.match(/WARN .* has 64 connections open, and closes all others at once/, PATIENCE_MS);
    // The enclave ends these by itself.
    await Promise.all(silent.map((socket) => once(socket.resume(), 'end')));
    assert.equal((await get(metricsOf(stage), '/healthz')).status, 200);
  });

  test('a lack of descriptors neither ends the process nor keeps it busy', async () => {
    const stage = new Stage();
    const pid = pidOf(await start(stage));
    const limit = (count: number | string) => execFileSync('prlimit', ['--pid', `${pid}`, `--nofile=${count}:`]);
    const seconds = () => Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ', 1)[0]) / 1e9;
    const taken = readdirSync(`/proc/${pid}/fd`).map(Number);
    limit(taken.findIndex((_, number) => !taken.includes(number + 1)) + 1); // the first number that is not taken
    // The first ones get descriptors that have become free since; the last one gets none.
    const waiting = Array.from({ length: 10 }, () => connect(metricsOf(stage)).on('error', () => undefined));
    for (const client of waiting) afterTest(() => client.destroy());
    await Promise.all(waiting.map((client) => once(client, 'connect')));
    let answered = false;
    const last = connect(metricsOf(stage)).on('error', () => undefined);
    last.once('data', () => {
      answered = true;
    });
    afterTest(() => last.destroy());
    last.write('GET /healthz HTTP/1.1\r\n\r\n');
    const before = seconds();
    await pause(1_000);
    const used = seconds() - before;
    assert.ok(!answered, 'there is no lack of descriptors');
    limit(1_000);
    assert.ok(used < 0.3, `${used} s of processor time in one second`);
    assert.equal((await get(metricsOf(stage), '/healthz')).status, 200);
  });

  test('status and connections are told on the control socket, to its group', async () => {
    const stage = new Stage();
    const control = join(stage.sockets, 'control.sock');
    const enclave = await start(stage, FORWARD, [`VSOCK_PROXY_CONTROL=${control}`]);
    assert.equal(statSync(control).mode & 0o777, 0o660);
    const ask = (word: string) => new Program(EXECUTABLE, [word, '--control', control]).outcome(PATIENCE_MS);
    const status = await ask('status');
    assert.match(status.stdout, /^tcp:127\.0\.0\.1:443 +unix: \S+\/parent-8001 /m, status.stderr);
    assert.equal((await ask('connections')).status, 0);
    enclave.stdin.end();
    assert.equal((await enclave.outcome(PATIENCE_MS)).status, 0);
  });

  test('an address of metrics that is in use is an error of the file, and one of the environment a warning', async () => {
    const taken = (stage: Stage) => `unix:${stage.file('no socket')}`;
    const stage = new Stage();
    const config = `${FORWARD}metrics: {listen: "${taken(stage)}"}\n`;
    const { status, stderr } = await stage.enclave({ config, command }).outcome(PATIENCE_MS);
    assert.equal(status, 1);
    assert.match(stderr, /metrics\.listen: Could not listen on unix:\S+: EADDRINUSE: address already in use/);
    const enclave = await start(stage, FORWARD, [`VSOCK_PROXY_METRICS=${taken(stage)}`]);
    await enclave.stderr.match(/WARN .*There are no metrics: .*EADDRINUSE/, PATIENCE_MS);
  });
}

function journal(): void {
  /** It has bound the socket when its first process ends. */
  const RECEIVER = `python3 -uc '
import os, socket
journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journal.bind("/run/systemd/journal/socket")
if os.fork(): os._exit(0)
while True: print(journal.recv(65536).decode())'`;

  test('gets records with their fields, and standard error none, if that leads to the journal', async () => {
    const enclave = new Stage().enclave({
      config: `${FORWARD}log: {format: journald}\n`,
      command,
      environment: ['JOURNAL_STREAM="$(stat -Lc %d:%i /proc/self/fd/2)"'],
      prepare: ['mount -t tmpfs tmpfs /run', 'mkdir -p /run/systemd/journal', RECEIVER],
    });
    await enclave.stdout.match(
      /^MESSAGE=Proxy is now in listening state\nPRIORITY=6\nSYSLOG_IDENTIFIER=vsock-proxy\n/m,
      PATIENCE_MS,
    );
    assert.doesNotMatch(enclave.stderr.text, /listening state/);
  });

  test('is standard error itself, if that leads elsewhere', async () => {
    const enclave = new Stage().enclave({ config: `${FORWARD}log: {format: journald}\n`, command });
    await enclave.stderr.match(/INFO .*Proxy is now in listening state/, PATIENCE_MS);
  });
}
