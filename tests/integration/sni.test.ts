/** `route: sni` with the clients that people have: openssl, curl, Node.js; and with ClientHellos cut in all ways. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, connect as dial, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { makeCertificate } from './certificate.ts';
import { launch, run } from './launch.ts';
import { enterNamespace } from './namespace.ts';
import { type Origin, startOrigin } from './origin.ts';
import { ask } from './raw.ts';
import { type RunningServe, startServe } from './serve.ts';

const SERVER = '10.77.0.1';
const DENIED = '10.77.0.2';

const files = enterNamespace(import.meta.filename, {
  servers: {
    [SERVER]: ['web.example.com', 'kms.us-east-1.amazonaws.com'],
    [DENIED]: ['denied.example.com', 'example.org'],
  },
});

const HOST = '127.0.0.1';
const PORT = 443;
/** Leads to port 8443 of the servers. */
const OTHER_PORT = 444;
const CONFIG = `
allowlist:
- {address: "*.example.com", port: [443, 8443]}
- {address: kms.us-east-1.amazonaws.com, port: 443}
denylist:
- {address: denied.example.com}
listeners:
- {listen: "tcp:${HOST}:${PORT}", route: sni}
- {listen: "tcp:${HOST}:${OTHER_PORT}", route: sni, port: 8443}
`;
const CA = join(files, 'ca.pem');

let proxy: RunningServe;
let server: Origin;
let otherPort: Origin;
let denied: Origin;
let cert: string;
const download = randomBytes(64 << 20);

before(async () => {
  const certificate = makeCertificate('web.example.com', 'kms.us-east-1.amazonaws.com');
  cert = certificate.cert;
  writeFileSync(CA, cert);
  server = await startOrigin(443, [SERVER], { certificate, download });
  otherPort = await startOrigin(8443, [SERVER], { certificate });
  denied = await startOrigin(443, [DENIED], { certificate });
  proxy = await startServe(CONFIG);
});

after(async () => {
  assert.equal(denied?.connections, 0);
  for (const each of [proxy, server, otherPort, denied]) await each?.[Symbol.asyncDispose]();
});

/** What curl prints that takes the proxy for the server of every name, and in case it fails, why. */
async function curl(...args: readonly string[]): Promise<string> {
  const options = ['--silent', '--show-error', '--max-time', '25', '--cacert', CA];
  const to = args.includes('--connect-to') ? [] : ['--connect-to', `::${HOST}:${PORT}`];
  const { status, stdout, stderr } = await run(['curl', ...options, ...to, ...args]);
  return status === 0 ? stdout : `${stdout}${stderr}`;
}

/** What openssl says of a handshake. */
async function openssl(host: string, ...args: readonly string[]): Promise<string> {
  const client = launch([
    'openssl',
    's_client',
    '-connect',
    `${host}:${PORT}`,
    '-CAfile',
    CA,
    '-verify_return_error',
    ...args,
  ]);
  client.stdin.end('Q\n');
  const { stdout, stderr } = await client.outcome(25_000);
  return stdout + stderr;
}

describe('a refused client is logged with the reason', () => {
  for (const [what, connect, why] of [
    [
      'a name that is denied',
      (host: string) => curl('--connect-to', `::${host}:${PORT}`, 'https://denied.example.com/hello'),
      /denied\.example\.com.*\(.*config\.yaml:6\)/,
    ],
    [
      'a name that is not listed',
      (host: string) => openssl(host, '-servername', 'example.org'),
      /no entry of the allowlist matches example\.org on port 443/,
    ],
    [
      'a name that is allowed on another port',
      (host: string) =>
        openssl(host, '-servername', 'kms.us-east-1.amazonaws.com', '-connect', `${host}:${OTHER_PORT}`),
      /kms\.us-east-1\.amazonaws\.com.* 8443/,
    ],
    [
      'a name with a label too many',
      (host: string) => openssl(host, '-servername', 'a.web.example.com'),
      /a\.web\.example\.com/,
    ],
    [
      'no name',
      (host: string) => openssl(host, '-noservername'),
      /names no server \(no SNI\)\. Hint: connect to the server by its name/,
    ],
    [
      'an IP address in place of a name',
      (host: string) => openssl(host, '-servername', SERVER),
      /the server name is the IP address "10\.77\.0\.1"/,
    ],
    [
      'HTTP in clear',
      (host: string) => ask({ host, port: PORT }, 'GET / HTTP/1.1\r\nHost: web.example.com\r\n\r\n'),
      /sent no usable ClientHello: that is HTTP or another protocol in clear/,
    ],
    ['SSH', (host: string) => ask({ host, port: PORT }, 'SSH-2.0-OpenSSH_9.2\r\n'), /in clear, not TLS/],
    ['SSL 2', (host: string) => ask({ host, port: PORT }, '\x80\x2e\x01\x03\x01'), /that is SSL 2\.0/],
    [
      'a ClientHello that is cut off',
      (host: string) => ask({ host, port: PORT }, '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', true),
      /ended before its ClientHello was whole/,
    ],
    [
      'a ClientHello of more than 16 KiB',
      (host: string) => handshake({ ALPNProtocols: protocols(16_000) }, dial({ host, port: PORT })).catch(String),
      /larger than 16384 bytes/,
    ],
    [
      'a name that does not resolve',
      (host: string) => openssl(host, '-servername', 'nowhere.example.com'),
      /nowhere\.example\.com/,
    ],
  ] as const) {
    test(what, async () => {
      // Each case has a proxy of its own, because repeated refusals share one line.
      const host = '127.0.0.2';
      await using own = await startServe(CONFIG.replaceAll(HOST, host));
      const told = await connect(host);
      assert.doesNotMatch(told, /hello from|BEGIN CERTIFICATE|HTTP/);
      await own.logged(why);
    });
  }
});

describe('a refused client gets an alert', () => {
  const python = (name: string) => {
    const program =
      'import socket, ssl, sys; c = ssl.create_default_context(cafile=sys.argv[1]); ' +
      `c.wrap_socket(socket.create_connection(("${HOST}", ${PORT})), server_hostname=sys.argv[2])`;
    return run(['python3', '-c', program, CA, name]).then(({ stderr }) => stderr);
  };
  const clients: readonly (readonly [string, (name: string) => Promise<string>])[] = [
    ['openssl', (name) => openssl(HOST, '-servername', name)],
    ['openssl, TLS 1.2', (name) => openssl(HOST, '-tls1_2', '-servername', name)],
    ['curl', (name) => curl(`https://${name}/hello`)],
    ['Python', python],
    ['Node.js', (name) => handshake({ servername: name }).catch(String)],
  ];
  for (const [client, connect] of clients) {
    test(client, async () => {
      assert.match(await connect('denied.example.com'), /access[ _]denied/i);
      assert.match(await connect('nowhere.example.com'), /unrecognized[ _]name/i);
    });
  }

  test('a dot at the end of a name is ignored', async () => {
    assert.match(await openssl(HOST, '-servername', 'web.example.com.'), /Verify return code: 0 \(ok\)/);
    assert.match(await openssl(HOST, '-servername', 'denied.example.com.'), /access denied/);
  });
});

describe('curl', () => {
  test('reaches each name through the same listener, with the certificate of the server', async () => {
    for (const name of ['web.example.com', 'kms.us-east-1.amazonaws.com', 'WEB.example.COM']) {
      assert.equal(await curl(`https://${name}/hello`), `hello from ${name}\n`);
    }
    const resolved = ['--resolve', `web.example.com:443:${HOST}`, '--connect-to', '::'];
    assert.equal(await curl(...resolved, 'https://web.example.com/hello'), 'hello from web.example.com\n');
  });

  test('TLS 1.2 and 1.3, HTTP/1.1 and HTTP/2', async () => {
    for (const tls of ['1.2', '1.3']) {
      for (const [http, version] of [
        ['--http1.1', '1.1'],
        ['--http2', '2'],
      ] as const) {
        const told = await curl(
          '--tls-max',
          tls,
          `--tlsv${tls}`,
          http,
          '--write-out',
          '%{http_version}',
          'https://web.example.com/hello',
        );
        assert.equal(told, `hello from web.example.com\n${version}`);
      }
    }
  });

  test('64 MiB up and down: every byte is the same', async () => {
    const path = join(files, 'transfer');
    writeFileSync(path, download);
    const digest = createHash('sha256').update(download).digest('hex');
    assert.equal(await curl('--http1.1', '--upload-file', path, 'https://web.example.com/digest'), digest);
    await curl('--http1.1', '--output', path, 'https://web.example.com/download');
    assert.ok(readFileSync(path).equals(download));
  });

  test('reaches another port of the server through another listener', async () => {
    const told = await curl('--connect-to', `::${HOST}:${OTHER_PORT}`, 'https://web.example.com/hello');
    assert.equal(told, 'hello from web.example.com\n');
    assert.equal(otherPort.requests.length, 1);
  });
});

test('openssl: TLS 1.2 and 1.3, and a session that is resumed', async () => {
  for (const version of ['tls1_2', 'tls1_3']) {
    const told = await openssl(HOST, `-${version}`, '-servername', 'web.example.com');
    assert.match(told, /Verify return code: 0 \(ok\)/);
    assert.match(told, /Protocol {2}: TLSv1\.2|New, TLSv1\.3/);
  }
  const session = join(files, 'session');
  await openssl(HOST, '-tls1_2', '-servername', 'web.example.com', '-sess_out', session);
  assert.match(
    await openssl(HOST, '-tls1_2', '-servername', 'web.example.com', '-sess_in', session),
    /^Reused, TLSv1\.2/m,
  );
});

/** A whole handshake by Node.js, over this connection; the answer to a request. */
async function handshake(options: ConnectionOptions, socket = dial({ host: HOST, port: PORT })): Promise<string> {
  const tls = connectTls({ socket, servername: 'web.example.com', ca: cert, ...options });
  await once(tls, 'secureConnect');
  assert.equal(tls.authorized, true);
  tls.write('GET /hello HTTP/1.1\r\nHost: web.example.com\r\nConnection: close\r\n\r\n');
  let received = '';
  for await (const chunk of tls.setEncoding('latin1')) received += chunk;
  return received.split('\r\n\r\n')[1] ?? received;
}

/** So many bytes of names of protocols, the first one of a real one. */
function protocols(bytes: number): string[] {
  return ['http/1.1', ...Array.from({ length: Math.floor(bytes / 201) }, (_, index) => `${index}`.padStart(200, 'x'))];
}

/** A connection to the proxy through something that changes how the first bytes go there. */
async function through(forward: (first: Buffer, to: Socket) => void): Promise<Socket> {
  const relay = createServer((client) => {
    const upstream = dial({ host: HOST, port: PORT }).setNoDelay(true);
    upstream.pipe(client);
    client.once('data', (first: Buffer) => {
      forward(first, upstream);
      client.pipe(upstream);
    });
    for (const each of [client, upstream]) each.on('error', () => undefined);
  }).listen(0, HOST);
  await once(relay, 'listening');
  const address = relay.address();
  assert(address !== null && typeof address === 'object');
  const socket = dial({ host: HOST, port: address.port });
  await once(socket, 'connect');
  relay.close();
  return socket;
}

describe('a ClientHello', () => {
  test('in single bytes, each in its own segment', async () => {
    const socket = await through((first, to) => {
      for (const byte of first) to.write(Buffer.from([byte]));
    });
    assert.equal(await handshake({}, socket), 'hello from web.example.com\n');
  });

  test('in two segments, cut at every tenth byte', async () => {
    for (let at = 1; at < 300; at += 10) {
      const socket = await through((first, to) => {
        to.write(first.subarray(0, at));
        setImmediate(() => to.write(first.subarray(at)));
      });
      assert.equal(await handshake({}, socket), 'hello from web.example.com\n', `cut at ${at}`);
    }
  });

  test('in many TLS records', async () => {
    const socket = await through((first, to) => {
      const message = first.subarray(5);
      const size = Math.ceil(message.length / 50);
      for (let at = 0; at < message.length; at += size) {
        const fragment = message.subarray(at, at + size);
        to.write(Buffer.concat([Buffer.from([22, 3, 1, fragment.length >> 8, fragment.length & 255]), fragment]));
      }
    });
    assert.equal(await handshake({}, socket), 'hello from web.example.com\n');
  });

  test('with post-quantum keys, larger than a segment', async () => {
    let bytes = 0;
    const socket = await through((first, to) => {
      bytes = first.length;
      to.write(first);
    });
    assert.equal(await handshake({ ecdhCurve: 'X25519MLKEM768' }, socket), 'hello from web.example.com\n');
    assert.ok(bytes > 1200, `${bytes} bytes`);
  });

  test('of 12 KiB', async () => {
    assert.equal(await handshake({ ALPNProtocols: protocols(12_000) }), 'hello from web.example.com\n');
  });
});
