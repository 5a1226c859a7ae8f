/** `starttls: postgres` with psql, and with bytes that it would not send. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { connect as dial } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { makeCertificate } from './certificate.ts';
import { run } from './launch.ts';
import { enterNamespace } from './namespace.ts';
import { type Postgres, startPostgres } from './postgres.ts';
import { ask } from './raw.ts';
import { type RunningServe, startServe } from './serve.ts';

const SERVER = '10.77.0.1';
const WITHOUT_TLS = '10.77.0.2';
const HOST = '127.0.0.1';
const PORT = 5432;
/** The setting of a listener that expects TLS at once. */
const TLS_PORT = 443;

const files = enterNamespace(import.meta.filename, {
  servers: { [SERVER]: ['db.example.com'], [WITHOUT_TLS]: ['plain.example.com', 'denied.example.org'] },
});
const CA = join(files, 'ca.pem');
const CONFIG = `
allowlist:
- {address: "*.example.com", port: 5432}
listeners:
- {listen: "tcp:${HOST}:${PORT}", route: sni, starttls: postgres}
- {listen: "tcp:${HOST}:${TLS_PORT}", route: sni, timeouts: {head: 1s}}
`;
const SSL_REQUEST = '\0\0\0\x08\x04\xd2\x16\x2f';
const GSS_REQUEST = '\0\0\0\x08\x04\xd2\x16\x30';

let proxy: RunningServe;
let server: Postgres;
let plain: Postgres;

before(async () => {
  const certificate = makeCertificate('db.example.com');
  writeFileSync(CA, certificate.cert);
  server = await startPostgres(SERVER, PORT, { certificate });
  plain = await startPostgres(WITHOUT_TLS, PORT, { certificate, answer: 'N' });
  proxy = await startServe(CONFIG);
});

after(async () => {
  for (const each of [server, plain]) each?.[Symbol.dispose]();
  await proxy?.[Symbol.asyncDispose]();
});

/** What psql prints of one query; the server says which name it was called by. */
async function psql(name: string, port = PORT, more = ''): Promise<string> {
  const settings = `host=${name} hostaddr=${HOST} port=${port} sslmode=verify-full sslrootcert=${CA} user=u dbname=d ${more}`;
  const { stdout, stderr } = await run(['psql', '--no-psqlrc', '-Atc', 'SELECT 1', settings]);
  return stdout + stderr;
}

test('psql reaches the server that it names, whose certificate it verifies', async () => {
  assert.equal(await psql('db.example.com'), 'db.example.com\n');
  assert.deepEqual(server.began, [Buffer.from(SSL_REQUEST, 'latin1').toString('hex')]);
  await proxy.logged(/Connected client .* to 10\.77\.0\.1:5432 \(db\.example\.com:5432\)/);
});

test('psql gets an alert for a denied name', async () => {
  assert.match(await psql('denied.example.org'), /tlsv1 alert access denied/);
  assert.match(await psql('nowhere.example.com'), /unrecognized name/);
});

test('a server that does not begin TLS is named in the log', async () => {
  assert.match(await psql('plain.example.com'), /psql: error/);
  await proxy.logged(/plain\.example\.com:5432 does not begin TLS as PostgreSQL does: to SSLRequest it said byte 78/);
});

test('TLS without SSLRequest, as with sslnegotiation=direct, is passed on', async () => {
  const known = server.began.length;
  const words = ['-connect', `${HOST}:${PORT}`, '-servername', 'db.example.com', '-alpn', 'postgresql', '-CAfile', CA];
  const { stdout } = await run(['sh', '-c', 'exec openssl s_client "$@" </dev/null', 'sh', ...words]);
  assert.match(stdout, /ALPN protocol: postgresql/);
  assert.deepEqual(server.began.slice(known), ['TLS']);
});

test('openssl begins with SSLRequest, too', async () => {
  const words = [
    '-starttls',
    'postgres',
    '-connect',
    `${HOST}:${PORT}`,
    '-servername',
    'db.example.com.',
    '-CAfile',
    CA,
  ];
  const { stdout } = await run(['sh', '-c', 'exec openssl s_client "$@" </dev/null', 'sh', ...words]);
  assert.match(stdout, /Verify return code: 0 \(ok\)/);
});

for (const [what, sent, reply, log] of [
  ['encryption by GSSAPI is declined, and TLS then accepted', [GSS_REQUEST, SSL_REQUEST], 'NS', undefined],
  [
    'PostgreSQL in clear',
    ['\0\0\0\x08\0\x03\0\0'],
    '',
    /PostgreSQL without TLS, and names no server\. Hint: set sslmode/,
  ],
  ['a request to cancel', ['\0\0\0\x10\x04\xd2\x16\x2e12345678'], '', /to cancel a query names no server/],
  ['clear text behind the request', [`${SSL_REQUEST}SELECT 1`], '', /asked for TLS, and then began something else/],
  ['a third request', [GSS_REQUEST, GSS_REQUEST], 'N', /asked for GSSAPI encryption twice/],
  ['HTTP', ['GET / HTTP/1.1\r\n\r\n'], '', /neither TLS nor PostgreSQL/],
] as const) {
  test(`${what}: answered ${reply === '' ? 'by a reset' : `"${reply}"`}`, async () => {
    const from = proxy.log.length;
    assert.equal(await inTurns(sent), reply);
    if (log !== undefined) await proxy.logged(log, from);
  });
}

/** Sends each part once the one before has been answered by a byte; what was answered. */
async function inTurns(parts: readonly string[]): Promise<string> {
  const socket = dial({ host: HOST, port: PORT }).setEncoding('latin1');
  let received = '';
  const ended = new Promise<void>((resolve) => socket.on('close', () => resolve()).on('error', () => undefined));
  for (const part of parts) {
    socket.write(part, 'latin1');
    const answered = new Promise<void>((resolve) =>
      socket.once('data', (byte: string) => {
        received += byte;
        resolve();
      }),
    );
    await Promise.race([answered, ended]);
  }
  socket.destroy();
  return received;
}

test('without the key starttls the log names the key', async () => {
  assert.match(await psql('db.example.com', TLS_PORT), /psql: error/);
  await proxy.logged(/began with a request of PostgreSQL .* Hint: set starttls: postgres for this listener/);
});

test('a client that waits for the server to speak first is named in the log', async () => {
  assert.equal(await ask({ host: HOST, port: TLS_PORT }, ''), '');
  await proxy.logged(/no whole request head .* Hint: its protocol may be one in which the server speaks first \(MySQL/);
});
