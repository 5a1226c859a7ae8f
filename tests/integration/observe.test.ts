/** The executable, looked at from outside while it runs: by its commands, and by clients that mean no good. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type RequestOptions, request } from 'node:http';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { run, withMounts } from './launch.ts';
import { EXECUTABLE } from './proxy.ts';
import { type RunningServe, startServe } from './serve.ts';

let directory: string;
let server: Server;
let port: number;
const at = (name: string) => join(directory, name);
const yaml = (metrics = at('metrics.sock')) => `
allowlist: [{address: 127.0.0.1, port: ${port}}]
listeners: [{listen: "unix:${at('proxy.sock')}", connect: "127.0.0.1:${port}"}]
metrics: {listen: "unix:${metrics}"}
`;

async function start(control = at('control.sock')): Promise<RunningServe> {
  const proxy = await startServe(yaml(), { log: 'debug', prefix: ['env', `VSOCK_PROXY_CONTROL=${control}`] });
  await proxy.logged(/Metrics are served on/);
  return proxy;
}

/** Runs a command that uses the control socket. */
function ask(...words: readonly string[]) {
  return run([EXECUTABLE, ...words, '--control', at('control.sock')]);
}

/** @returns the status, or 0 where the connection was closed */
function get(socketPath: string, path: string, options: RequestOptions = {}): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>();
  const asking = request({ ...options, socketPath, path, agent: false }, (response) => {
    response.resume();
    response.on('end', () => resolve(response.statusCode ?? 0));
    response.on('error', () => resolve(0));
  });
  asking.on('error', () => resolve(0));
  asking.end();
  return promise;
}

async function openClient(): Promise<Socket> {
  const client = connect(at('proxy.sock'));
  await echoes(client, 'hello');
  return client;
}

async function echoes(client: Socket, text: string): Promise<void> {
  client.write(text);
  const [bytes] = await once(client, 'data');
  assert.equal(String(bytes), text);
}

describe('an observed proxy', () => {
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'vsock-proxy-observe-'));
    server = createServer((socket) => {
      socket.on('error', () => socket.destroy());
      socket.pipe(socket);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    port = typeof address === 'object' && address !== null ? address.port : 0;
  });

  after(() => {
    server?.close();
    rmSync(directory, { recursive: true });
  });

  test('status, connections and metrics show a client; the sockets are for the group', async () => {
    await using proxy = await start();
    const client = await openClient();
    const status = await ask('status');
    assert.match(status.stdout, new RegExp(`^vsock-proxy \\S+, process ${proxy.pid}, for `));
    assert.match(
      status.stdout,
      new RegExp(`^unix:${at('proxy.sock')} +127\\.0\\.0\\.1:${port} +1 +\\d+ +1 +0 +0 `, 'm'),
    );
    const [connection, ...more] = JSON.parse((await ask('connections', '--json')).stdout);
    assert.deepEqual(more, []);
    assert.partialDeepStrictEqual(connection, { target: `127.0.0.1:${port}`, bytesUp: 5, bytesDown: 5 });
    const metrics = (await ask('metrics')).stdout;
    assert.match(metrics, /^vsock_proxy_connections_open\{listener="unix:[^"]+"\} 1$/m);
    const [, path = '', digest] = /config_info\{path="([^"]+)",sha256="(\w+)"\} 1$/m.exec(metrics) ?? [];
    assert.equal(digest, createHash('sha256').update(readFileSync(path)).digest('hex'));
    const maps = readFileSync(`/proc/${proxy.pid}/maps`, 'utf8');
    assert.equal(maps.match(/ r-xp .*\(deleted\)$/gm)?.length, 1, `the addon is loaded once\n${maps}`);
    assert.equal(await get(at('metrics.sock'), '/healthz'), 200);
    assert.equal(await get(at('metrics.sock'), '/readyz'), 200);
    assert.equal(await get(at('metrics.sock'), '/status'), 404);
    for (const name of ['control.sock', 'metrics.sock']) {
      assert.equal(await get(at(name), '/metrics', { method: 'DELETE' }), 405);
      assert.equal(await get(at(name), '/metrics', { headers: { 'transfer-encoding': 'chunked' } }), 413);
    }
    for (const name of ['control.sock', 'metrics.sock']) assert.equal(statSync(at(name)).mode & 0o777, 0o660);
    client.destroy();
  });

  test('metrics write replaces the file atomically, and leaves it unchanged if the disk is full', async () => {
    await using _proxy = await start();
    const file = at('vsock_proxy.prom');
    assert.equal((await ask('metrics', 'write', file)).status, 0);
    assert.match(readFileSync(file, 'utf8'), /^# HELP vsock_proxy_build_info /);
    assert.equal(statSync(file).mode & 0o777, 0o644);

    const disk = at('disk');
    const full = withMounts(`mkdir ${disk}`, `mount -t tmpfs -o size=4k none ${disk}`, `echo before >${disk}/x.prom`);
    const write = `"$@"; status=$?; cat ${disk}/*; ls ${disk}; exit $status`;
    const command = [EXECUTABLE, 'metrics', 'write', `${disk}/x.prom`, '--control', at('control.sock')];
    const { status, stdout, stderr } = await run([...full, 'sh', '-c', write, 'sh', ...command]);
    assert.equal(status, 1);
    assert.match(stderr, /x\.prom could not be written: ENOSPC: .*Hint: it is as it was before/);
    assert.equal(stdout, 'before\nx.prom\n');
  });

  test('1,000 scrapes at once are limited with a warning; the client and the next scrape are served', async () => {
    await using proxy = await start();
    const client = await openClient();
    const before = proxy.rssAnon();
    const scrapes = Promise.all(Array.from({ length: 1000 }, () => get(at('metrics.sock'), '/metrics')));
    for (let round = 0; round < 20; round += 1) await echoes(client, `round ${round}`);
    const answered = (await scrapes).filter((status) => status === 200).length;
    assert.ok(answered >= 64, `${answered} of them were answered`);
    const grown = proxy.rssAnon() - before;
    assert.ok(grown < 64 * 1024, `${grown} KiB more`);
    assert.equal(await get(at('metrics.sock'), '/metrics'), 200);
    if (answered < 1000) await proxy.logged(/WARN .*metrics\.sock has 64 connections open, and closes all others/);
    client.destroy();
  });

  test('a peer that is silent, sends rubbish or does not read is closed; others are answered meanwhile', async () => {
    await using proxy = await start();
    const silent = [at('control.sock'), at('metrics.sock')].map((path) => connect(path));
    const deaf = connect(at('control.sock'));
    // The peer reads none of 1,000 answers on one connection.
    deaf.write('GET /metrics HTTP/1.1\r\n\r\n'.repeat(1000));
    const rubbish = connect(at('metrics.sock'));
    rubbish.resume();
    rubbish.write('\0\xff\r\n\r\n');
    await once(rubbish, 'close');
    assert.equal(await get(at('metrics.sock'), '//'), 400);
    assert.equal((await ask('status')).status, 0);
    const gone = Promise.all(
      [...silent, deaf].map((socket) =>
        once(
          socket.on('error', () => socket.destroy()),
          'close',
        ),
      ),
    );
    for (const socket of silent) socket.resume();
    await proxy.logged(/DEBUG .*Closed a connection to unix:\S+control\.sock: its answer was not taken within 10 s/);
    deaf.resume();
    await gone;
    assert.equal((await ask('status')).status, 0);
  });

  test('a command reports a hanging process', async () => {
    await using proxy = await start();
    process.kill(proxy.pid, 'SIGSTOP');
    const { status, stderr } = await ask('status');
    process.kill(proxy.pid, 'SIGCONT');
    assert.equal(status, 1);
    assert.match(stderr, /control\.sock: no answer within 5 s\. Hint: the process hangs/);
  });

  test('a path in use gives a warning and is left alone, and everything else works', async () => {
    writeFileSync(at('taken'), 'mine');
    await using proxy = await start(at('taken'));
    assert.match(proxy.log, /WARN .*There is no control socket: Could not listen on unix:\S+taken: EADDRINUSE/);
    const client = await openClient();
    assert.match(await proxy.reload(yaml(at('taken'))), /^Reloaded: /);
    await proxy.logged(
      /ERROR .*metrics\.listen: Could not listen on unix:\S+taken: EADDRINUSE.* \(\S+config\.yaml:4\)/,
    );
    await echoes(client, 'still here');
    assert.equal(await get(at('metrics.sock'), '/metrics'), 200, 'the address before goes on');
    assert.match(await proxy.reload(yaml(at('moved.sock'))), /^Reloaded: /);
    await proxy.logged(/Metrics are served on unix:\S+moved\.sock/);
    assert.equal(await get(at('moved.sock'), '/metrics'), 200);
    assert.equal(readFileSync(at('taken'), 'utf8'), 'mine');
    client.destroy();
    assert.equal((await proxy.stop()).status, 0);
    assert.deepEqual(
      readdirSync(directory).filter((name) => name.startsWith('moved')),
      [],
    );
  });
});
