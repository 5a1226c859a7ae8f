/** Sockets that systemd listens on: from the first client on, and while the process behind them is another one. */
import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { Program } from '../program.ts';
import { enterNamespace } from './namespace.ts';
import { EXECUTABLE } from './proxy.ts';
import { Client, type RawServer, startRawServer } from './raw.ts';

const SERVER = '10.77.0.1';

const files = enterNamespace(import.meta.filename, { servers: { [SERVER]: ['web.example.com'] } });

const PATIENCE_MS = 30_000;
const TCP = { host: '127.0.0.1', port: 3128 };
const UNIX = { path: join(files, 'proxy.sock') };
const CONFIG = join(files, 'config.yaml');
const YAML = `
allowlist:
- {address: web.example.com, port: 80}
listeners:
- {listen: "systemd:web", route: http}
- {listen: "systemd:fixed", connect: "web.example.com:80"}
`;

let server: RawServer;
before(async () => {
  server = await startRawServer(SERVER, 80, (socket, all) => {
    if (all.endsWith('\r\n\r\n')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  });
});
after(() => server?.[Symbol.asyncDispose]());

let programs: Program[] = [];
afterEach(async () => {
  for (const program of programs) program.kill();
  await Promise.all(programs.map((program) => program.ended));
  programs = [];
});

/** The program behind these sockets, which begins as soon as a client comes. */
async function activate(names: string, yaml: string, command: readonly string[]): Promise<Program> {
  writeFileSync(CONFIG, yaml);
  const sockets = [`--listen=${UNIX.path}`, `--listen=${TCP.host}:${TCP.port}`, `--fdname=${names}`];
  const program = new Program('systemd-socket-activate', [...sockets, '-E', 'RUST_LOG=info', ...command]);
  programs.push(program);
  await program.stderr.match(/Listening on [\s\S]*Listening on /, PATIENCE_MS);
  return program;
}

const SERVE = [EXECUTABLE, 'serve', '--config', CONFIG];
const REQUEST = 'GET http://web.example.com/ HTTP/1.1\r\nHost: web.example.com\r\nConnection: close\r\n\r\n';
const PLAIN = 'GET / HTTP/1.1\r\nHost: web.example.com\r\n\r\n';

async function get(to: typeof TCP | typeof UNIX, request: string): Promise<void> {
  using client = await Client.open(to);
  client.send(request);
  await client.receives(/ 200 OK\r\n[\s\S]*ok$/);
}

test('a name that systemd has not passed: the start fails, and the error lists the passed names', async () => {
  const program = await activate('web:other', YAML, SERVE);
  const client = Client.open(TCP); // starts it
  const { status, stderr } = await program.outcome(PATIENCE_MS);
  assert.equal(status, 1);
  assert.match(
    stderr,
    /Error: ".*systemd has passed no socket with the name \\"fixed\\" \(.*config\.yaml:6\)\. Hint: it has passed \\"web\\", \\"other\\": /,
  );
  (await client)[Symbol.dispose]();
});

test('each socket serves the listener of its name; the client that started the service is the first one', async () => {
  const program = await activate('web:fixed', YAML, SERVE);
  await get(UNIX, REQUEST);
  await get(TCP, PLAIN);
  assert.match(program.stderr.text, /Bound to unix: .*proxy\.sock\n/);
  assert.match(program.stderr.text, /Bound to tcp: 127\.0\.0\.1:3128\n/);
});

test('several sockets of one name serve the same listener', async () => {
  await activate('fixed:fixed', YAML.replace(/^.*systemd:web.*\n/m, ''), SERVE);
  await get(TCP, PLAIN);
  await get(UNIX, PLAIN);
});

test('a socket that no listener uses gives a warning with its name', async () => {
  const program = await activate('web:other', YAML.replace(/^.*systemd:fixed.*\n/m, ''), SERVE);
  await get(UNIX, REQUEST);
  await program.stderr.match(/WARN .*name "other", which no listener uses/, PATIENCE_MS);
});

test('a reload keeps the sockets, and an unused one stays with systemd', async () => {
  const program = await activate('web:fixed', YAML, SERVE);
  await get(UNIX, REQUEST);
  writeFileSync(CONFIG, YAML.replace(/^.*systemd:fixed.*\n/m, ''));
  program.kill('SIGHUP');
  await program.stderr.match(
    /Reloaded: removed systemd: fixed; 1 listener unchanged\n.*name "fixed", which no/,
    PATIENCE_MS,
  );
  await get(UNIX, REQUEST);
  const waiting = await Client.open(TCP);
  waiting.send(PLAIN);
  writeFileSync(CONFIG, YAML);
  program.kill('SIGHUP');
  await program.stderr.match(/Reloaded: added systemd: fixed; 1 listener unchanged/, PATIENCE_MS);
  await waiting.receives(/ 200 OK\r\n/);
  waiting[Symbol.dispose]();
});

for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
  test(`${signal} and a new process: no waiting client is lost, and the file of the socket stays`, async () => {
    // Keeps the sockets, as systemd does.
    const supervisor = `
      while (export LISTEN_PID=$BASHPID; echo "started $BASHPID"; exec setpriv --pdeathsig KILL -- "$@" </dev/null); echo ended; read -r _; do :; done`;
    const program = await activate('web:fixed', YAML, ['bash', '-c', supervisor, 'bash', ...SERVE]);
    await get(UNIX, REQUEST);
    for (let round = 0; round < 3; round += 1) {
      const from = program.stderr.text.length;
      const [, pid] = await program.stdout.match(/started (\d+)\n$/, PATIENCE_MS);
      process.kill(Number(pid), signal);
      // What it has accepted dies with it; after SIGTERM it would be served.
      if (signal === 'SIGKILL') await program.stdout.match(/ended\n$/, PATIENCE_MS);
      const waiting = await Promise.all(
        Array.from({ length: 40 }, (_, index) => Client.open(index % 2 === 0 ? TCP : UNIX)),
      );
      for (const [index, client] of waiting.entries()) client.send(index % 2 === 0 ? PLAIN : REQUEST);
      program.stdin.write('next\n');
      // At once, for the old process gives those that it has accepted time to end.
      await Promise.all(
        waiting.map(async (client) => {
          await client.receives(/ 200 OK\r\n[\s\S]*ok$/);
          client[Symbol.dispose]();
        }),
      );
      await program.stderr.match(/Proxy is now in listening state/, PATIENCE_MS, from);
      assert.ok(existsSync(UNIX.path));
    }
  });
}
