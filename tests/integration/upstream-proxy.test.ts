/** `upstream_proxy`: every way to a TCP server leads through another HTTP proxy, here tinyproxy, with the policy in front of it. */
import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Program } from '../program.ts';
import { makeCertificate } from './certificate.ts';
import { run } from './launch.ts';
import { enterNamespace } from './namespace.ts';
import { type Origin, startOrigin } from './origin.ts';
import { ask, Client } from './raw.ts';
import { type RunningServe, startServe } from './serve.ts';

const SERVER = '10.77.0.1';
const NAME = 'web.example.com';
const INTERNAL = 'db.internal.example';

const files = enterNamespace(import.meta.filename, {
  servers: { [SERVER]: [NAME, INTERNAL, 'denied.example.com'] },
});

const HTTP = { host: '127.0.0.1', port: 3128 };
const CA = join(files, 'ca.pem');
const CREDENTIALS = join(files, 'credentials');
const CONFIG = `
upstream_proxy: http://localhost:8888
upstream_proxy_credentials: ${CREDENTIALS}
no_proxy: [.internal.example]
listeners:
- {listen: "tcp:127.0.0.1:3128", route: http}
- {listen: "tcp:127.0.0.1:8443", route: sni}
- {listen: "tcp:127.0.0.1:8000", connect: "${NAME}:443"}
- {listen: "tcp:127.0.0.1:8001", connect: "${INTERNAL}:80"}
allowlist:
- {address: "*.example.com", port: [80, 81, 443]}
- {address: "${INTERNAL}", port: 80}
- {address: localhost, port: 80}
denylist:
- {address: denied.example.com}
`;

/** The other proxy allows CONNECT to port 443 alone. */
const TINYPROXY = `
Port 8888
Listen 127.0.0.1
LogLevel Info
BasicAuth user secret
ConnectPort 443
`;

let tinyproxy: Program;
let proxy: RunningServe;
const origins: Origin[] = [];

before(async () => {
  const certificate = makeCertificate(NAME);
  writeFileSync(CA, certificate.cert);
  writeCredentials('user:secret');
  writeFileSync(join(files, 'tinyproxy.conf'), TINYPROXY);
  tinyproxy = new Program('tinyproxy', ['-d', '-c', join(files, 'tinyproxy.conf')]);
  await tinyproxy.stdout.match(/Starting main loop/, 30_000);
  origins.push(await startOrigin(443, [SERVER], { certificate }), await startOrigin(80, [SERVER, '127.0.0.1']));
  proxy = await startServe(CONFIG);
});

after(async () => {
  await proxy?.[Symbol.asyncDispose]();
  for (const origin of origins) await origin[Symbol.asyncDispose]();
  tinyproxy.kill();
  await tinyproxy.ended;
});

function writeCredentials(line: string): void {
  writeFileSync(CREDENTIALS, `${line}\n`);
  chmodSync(CREDENTIALS, 0o400);
}

async function curl(...args: readonly string[]): Promise<string> {
  const { stdout, stderr } = await run([
    'curl',
    '--silent',
    '--show-error',
    '--cacert',
    CA,
    '--max-time',
    '25',
    ...args,
  ]);
  return `${stdout}${stderr}`;
}

/** Returns the requests to the other proxy during the action. */
async function asked(action: () => Promise<unknown>): Promise<readonly string[]> {
  const from = tinyproxy.stdout.text.length;
  await action();
  return [...tinyproxy.stdout.text.slice(from).matchAll(/Request \(file descriptor \d+\): (.*?) HTTP/g)].map(
    ([, line = '']) => line,
  );
}

describe('behind an upstream proxy', () => {
  test('a denied target is refused here, and that proxy gets no request', async () => {
    const lines = await asked(async () => {
      const told = await ask(HTTP, 'CONNECT denied.example.com:443 HTTP/1.1\r\n\r\n');
      assert.match(told, /^HTTP\/1\.1 403 Forbidden: denied\.example\.com:443 is not allowed by the policy/);
    });
    assert.deepEqual(lines, []);
  });

  test('every kind of listener goes through it, with names for it to resolve', async () => {
    const url = `https://${NAME}/hello`;
    for (const [args, request] of [
      [['--proxy', 'http://127.0.0.1:3128', url], `CONNECT ${NAME}:443`],
      [['--proxy', 'http://127.0.0.1:3128', `http://${NAME}/hello`], `GET http://${NAME}/hello`],
      [['--connect-to', '::127.0.0.1:8443', url], `CONNECT ${NAME}:443`],
      [['--connect-to', '::127.0.0.1:8000', url], `CONNECT ${NAME}:443`],
    ] as const) {
      const lines = await asked(async () => assert.equal(await curl(...args), `hello from ${NAME}\n`));
      assert.deepEqual(lines, [request]);
    }
  });

  test('targets in no_proxy, and this machine itself, are reached without it', async () => {
    const lines = await asked(async () => {
      for (const host of [INTERNAL, 'localhost']) {
        assert.equal(await curl('--proxy', 'http://127.0.0.1:3128', `http://${host}/hello`), `hello from ${host}\n`);
      }
      assert.match(await curl('http://127.0.0.1:8001/hello'), /^hello from/);
    });
    assert.deepEqual(lines, []);
  });

  test('its refusal reaches the client with its status, and the log has its message', async () => {
    const from = proxy.log.length;
    const told = await ask(HTTP, `CONNECT ${NAME}:81 HTTP/1.1\r\n\r\n`);
    assert.match(told, /^HTTP\/1\.1 403 Forbidden: the upstream proxy answered 403 for web\.example\.com:81\r\n/);
    assert.doesNotMatch(told, /tinyproxy/i);
    await proxy.logged(/the upstream proxy answered 403 for web\.example\.com:81: Access violation/, from);
  });

  test('wrong credentials do not make a demand for those of the client, and the log says whose are wrong', async () => {
    writeCredentials('user:wrong');
    assert.match(await proxy.reload(CONFIG), /^Reloaded: /);
    const from = proxy.log.length;
    const told = await ask(HTTP, `CONNECT ${NAME}:443 HTTP/1.1\r\n\r\n`);
    assert.match(told, /^HTTP\/1\.1 502 Bad Gateway: the upstream proxy answered 4\d\d for web\.example\.com:443\r\n/);
    assert.doesNotMatch(told, /Proxy-Authenticate/i);
    await proxy.logged(/the upstream proxy answered 4\d\d for web\.example\.com:443: .*/, from);
    assert.doesNotMatch(proxy.log, /secret|wrong|dXNlcjp/);
    using client = await Client.open({ host: '127.0.0.1', port: 8000 });
    await client.ended();
    assert.equal(client.received, '');
  });

  test('credentials that others can read are refused, and nothing changes', async () => {
    writeCredentials('user:secret');
    chmodSync(CREDENTIALS, 0o644);
    assert.match(
      await proxy.reload(CONFIG),
      /^Reload failed.* upstream_proxy_credentials: .*its mode is 0644: too many may read or write it .*chmod 0400/,
    );
  });
});
