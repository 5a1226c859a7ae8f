/** `route: http` as the programs use it that people have: curl, Python's urllib and requests, boto3. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Program } from '../program.ts';
import { makeCertificate } from './certificate.ts';
import { run } from './launch.ts';
import { enterNamespace } from './namespace.ts';
import { type Answer, type Origin, startOrigin } from './origin.ts';
import { type RunningServe, startServe } from './serve.ts';

const AWS = ['kms.us-east-1.amazonaws.com', 's3.us-east-1.amazonaws.com', 'bucket.s3.amazonaws.com'];
const IPV4 = '10.77.0.1';
const IPV6 = 'fd77::6';
const DENIED = '10.77.0.2';

const files = enterNamespace(import.meta.filename, {
  servers: {
    [IPV4]: ['web.example.com', ...AWS],
    [IPV6]: ['six.example.com'],
    [DENIED]: ['denied.example.com', 'other.example.org', 'kms.eu-west-1.amazonaws.com'],
  },
});

const PROXY = 'http://127.0.0.1:3128';
const SOCKET = join(files, 'proxy.sock');
const CONFIG = `
allowlist:
- {address: "*.example.com", port: [80, 443]}
- {address: "kms.us-east-1.amazonaws.com", port: 443}
- {address: "*.us-east-1.amazonaws.com", port: [80, 443]}
- {address: "*.s3.amazonaws.com", port: 443}
- {address: "${IPV6}", port: [80, 443]}
denylist:
- {address: denied.example.com}
listeners:
- {listen: "tcp:127.0.0.1:3128", route: http}
- {listen: "unix:${SOCKET}", route: http}
`;

/** So much goes up and down in one piece. */
const BYTES = 256 << 20;
const CA = join(files, 'ca.pem');
const NETWORK = { http_proxy: PROXY, https_proxy: PROXY, no_proxy: '' };

let proxy: RunningServe;
let plain: Origin;
let secure: Origin;
let denied: Origin;
const download = randomBytes(BYTES);

const OBJECT: Answer = (request, response) => {
  if (request.method === 'GET') response.writeHead(200, { 'content-length': 6 }).end('stored');
  else request.resume().on('end', () => response.writeHead(200, { etag: '"1"' }).end());
};
const AWS_PATHS = {
  '/a%20key': OBJECT,
  '/bucket/a%20key': OBJECT,
  '/': (request, response) => {
    assert.equal(request.headers['x-amz-target'], 'TrentService.GenerateRandom');
    response.end(JSON.stringify({ Plaintext: 'AAECAw==' }));
  },
} as const satisfies Record<string, Answer>;

before(async () => {
  const certificate = makeCertificate('web.example.com', 'six.example.com', IPV6, ...AWS);
  writeFileSync(CA, certificate.cert);
  const options = { download, paths: AWS_PATHS };
  plain = await startOrigin(80, [IPV4, IPV6], options);
  secure = await startOrigin(443, [IPV4, IPV6], { ...options, certificate });
  denied = await startOrigin(443, [DENIED], { certificate });
  proxy = await startServe(CONFIG);
});

after(async () => {
  await proxy?.[Symbol.asyncDispose]();
  for (const origin of [plain, secure, denied]) await origin?.[Symbol.asyncDispose]();
});

/** What curl prints, and in case it fails, why. */
async function curl(...args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await run([
    ...['curl', '--silent', '--show-error', '--max-time', '25', '--cacert', CA, '--proxy', PROXY],
    ...args,
  ]);
  return status === 0 ? stdout : `${stdout}${stderr}`;
}

describe('curl', () => {
  test('a tunnel to a denied target gets 403, and the server gets no connection', async () => {
    for (const url of ['https://denied.example.com/hello', 'https://other.example.org/hello', `https://${DENIED}/`]) {
      assert.match(await curl(url), /^curl: \(56\) CONNECT tunnel failed, response 403\n$/);
    }
    assert.match(await curl('https://web.example.com:444/'), /response 403/);
    assert.equal(denied.connections, 0);
  });

  test('a request for a denied target gets 403, with the reason in one line', async () => {
    const told = await curl('--include', 'http://denied.example.com/hello');
    assert.match(
      told,
      /^HTTP\/1\.1 403 Forbidden: denied\.example\.com:80 is not allowed by the policy of this proxy\r\n/,
    );
    assert.match(told, /\r\nProxy-Status: vsock-proxy; error=http_request_denied; details="[^"]+"\r\n/);
    assert.match(told, /\r\n\r\ndenied\.example\.com:80 is not allowed by the policy of this proxy\n$/);
    await proxy.logged(/WARN .*tcp: 127\.0\.0\.1:\d+: .*denied\.example\.com.*config\.yaml:9/);
  });

  test('https:// in absolute form, which would be sent in clear, is refused with a hint', async () => {
    const told = await curl('--request-target', 'https://web.example.com/hello', 'http://web.example.com/');
    assert.match(told, /"https:\/\/web\.example\.com\/hello" would go on unencrypted\. Hint: .*CONNECT host:443/);
  });

  test('HTTPS through a tunnel, in HTTP/1.1 and in HTTP/2', async () => {
    for (const [option, version] of [
      ['--http1.1', '1.1'],
      ['--http2', '2'],
    ] as const) {
      const told = await curl(
        option,
        '--write-out',
        '%{http_connect} %{http_version}',
        'https://web.example.com/hello',
      );
      assert.equal(told, `hello from web.example.com\n200 ${version}`);
    }
  });

  test('several requests over one tunnel, and many at once in HTTP/2', async () => {
    const urls = Array.from({ length: 20 }, () => 'https://web.example.com/hello');
    const connections = secure.connections;
    const told = await curl('--http2', '--parallel', '--write-out', '', ...urls);
    assert.equal(told, 'hello from web.example.com\n'.repeat(20));
    assert.ok(secure.connections - connections < 20);
    assert.match(await curl('--write-out', '%{num_connects}', ...urls.slice(18)), /\n1hello.*\n0$/);
  });

  test('through a unix socket', async () => {
    const response = await curl('--proxy', `socks5h://localhost${SOCKET}`, 'https://web.example.com/');
    assert.match(response, /curl: \(97\)/); // curl speaks only SOCKS there, and is refused; hence a relay below
    const relay = new Program('socat', ['TCP-LISTEN:3129,bind=127.0.0.1,reuseaddr', `UNIX-CONNECT:${SOCKET}`]);
    const retry = ['--retry', '50', '--retry-connrefused', '--retry-delay', '1'];
    const told = await curl(...retry, '--proxy', 'http://127.0.0.1:3129', 'https://web.example.com/hello');
    assert.equal(told, 'hello from web.example.com\n');
    await relay.outcome(10_000);
  });

  test('IPv6: an address in brackets, and a name', async () => {
    for (const host of [`[${IPV6}]`, 'six.example.com']) {
      for (const scheme of ['https', 'http'])
        assert.equal(await curl(`${scheme}://${host}/hello`), `hello from ${host}\n`);
    }
  });

  test('256 MiB up and down through a tunnel and as plain HTTP: every byte is the same', async () => {
    const up = join(files, 'up');
    const down = join(files, 'down');
    writeFileSync(up, download);
    for (const scheme of ['https', 'http']) {
      const url = `${scheme}://web.example.com`;
      assert.equal(await curl('--http1.1', '--upload-file', up, `${url}/digest`), digest(download));
      await curl('--http1.1', '--output', down, `${url}/download`);
      assert.ok(readFileSync(down).equals(download), scheme);
    }
  });
});

describe('curl, plain HTTP', () => {
  test('two requests go over one connection to the proxy', async () => {
    const told = await curl(
      '--write-out',
      '%{num_connects}\n',
      'http://web.example.com/hello',
      'http://web.example.com/stream',
    );
    assert.equal(told, 'hello from web.example.com\n1\none,two,three\n0\n');
  });

  test('one to an allowed and one to a denied server, over the same connection', async () => {
    const told = await curl(
      '--write-out',
      '%{http_code} %{num_connects}\n',
      'http://web.example.com/hello',
      'http://denied.example.com/',
    );
    assert.match(told, /^hello from web\.example\.com\n200 1\ndenied\.example\.com:80 is not allowed .*\n403 0\n$/);
  });

  test('chunks up and down', async () => {
    const body = randomBytes(3_000_000);
    const path = join(files, 'chunks');
    writeFileSync(path, body);
    const chunked = ['--header', 'Transfer-Encoding: chunked', '--upload-file', path];
    assert.equal(await curl(...chunked, 'http://web.example.com/digest'), digest(body));
    const down = await curl('--raw', '--include', 'http://web.example.com/stream');
    assert.match(down, /\r\nTransfer-Encoding: chunked\r\n.*\r\n\r\n4\r\none,\r\n/s);
    assert.match(down, /\r\n0\r\n\r\n$/);
  });

  test('the body waits for 100 Continue, which comes from the server', async () => {
    const body = randomBytes(1_500_000);
    const path = join(files, 'waiting');
    writeFileSync(path, body);
    const url = 'http://web.example.com/digest';
    const told = await curl(
      '--verbose',
      '--expect100-timeout',
      '60',
      '--header',
      'Expect: 100-continue',
      '--data-binary',
      `@${path}`,
      url,
    );
    assert.equal(told, digest(body));
    const { stderr } = await run([
      'curl',
      '--verbose',
      '--proxy',
      PROXY,
      '--expect100-timeout',
      '60',
      '--max-time',
      '25',
      '--header',
      'Expect: 100-continue',
      '--data-binary',
      `@${path}`,
      url,
    ]);
    assert.match(stderr, /< HTTP\/1\.1 100 Continue\r\n[\s\S]*< HTTP\/1\.1 200 OK/);
  });

  test('HEAD, 204 and 304 have no body, and the next request follows on the same connection', async () => {
    for (const [args, status] of [
      [['--head', 'http://web.example.com/download'], 200],
      [['http://web.example.com/empty'], 204],
      [['http://web.example.com/not-modified'], 304],
    ] as const) {
      const next = [
        '--next',
        '--silent',
        '--proxy',
        PROXY,
        '--write-out',
        '%{num_connects}',
        'http://web.example.com/hello',
      ];
      const told = await curl(
        '--output',
        '/dev/null',
        '--write-out',
        '%{http_code} %{size_download}\n',
        ...args,
        ...next,
      );
      assert.equal(told, `${status} 0\nhello from web.example.com\n0`, args.join(' '));
    }
  });

  test('HTTP/1.0: without chunks, and the connection ends with the response', async () => {
    const told = await curl('--http1.0', '--include', 'http://web.example.com/stream');
    assert.match(told, /\r\nConnection: close\r\n/);
    assert.match(told, /\r\n\r\none,two,three\n$/);
    assert.doesNotMatch(told, /transfer-encoding/i);
  });

  test('the server gets the fields for it, and none of those for the proxy', async () => {
    const { headers } = JSON.parse(
      await curl(
        ...['--proxy-user', 'user:secret', '--header', 'Proxy-Connection: keep-alive', '--header', 'X-Own: 1'],
        ...['--header', 'Connection: X-Hop', '--header', 'X-Hop: 1', '--header', 'TE: trailers'],
        'http://web.example.com/received',
      ),
    );
    const { 'user-agent': agent, ...others } = headers;
    assert.match(agent, /^curl\//);
    assert.deepEqual(others, {
      host: 'web.example.com',
      accept: '*/*',
      'x-own': '1',
      via: '1.1 vsock-proxy',
    });
  });
});

/** What a program of clients.py says. */
async function python(...args: readonly string[]): Promise<string> {
  const credentials = {
    AWS_ACCESS_KEY_ID: 'x',
    AWS_SECRET_ACCESS_KEY: 'x',
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_MAX_ATTEMPTS: '1',
  };
  const trust = { SSL_CERT_FILE: CA, REQUESTS_CA_BUNDLE: CA, AWS_CA_BUNDLE: CA };
  const { stdout, stderr } = await run(['/usr/bin/python3', join(import.meta.dirname, 'clients.py'), ...args], {
    ...NETWORK,
    ...credentials,
    ...trust,
    HOME: files,
  });
  assert.equal(stderr, '');
  return stdout;
}

describe('Python', () => {
  test('urllib and requests get 403 for what is not allowed', async () => {
    assert.match(
      await python('urllib_get', 'http://denied.example.com/hello'),
      /^\(403, b'\{"message":"denied\.example\.com:80 is not allowed/,
    );
    assert.match(
      await python('urllib_get', 'https://denied.example.com/hello'),
      /^URLError: .*Tunnel connection failed: 403 Forbidden: denied\.example\.com:443 is not allowed by the policy/,
    );
    assert.match(
      await python('requests_get', 'http://denied.example.com/hello'),
      /^\[\(403, b'denied\.example\.com:80 is not/,
    );
    assert.match(
      await python('requests_get', 'https://denied.example.com/hello'),
      /^ProxyError: .*Tunnel connection failed: 403/,
    );
    assert.equal(denied.connections, 0);
  });

  test('urllib and requests use the proxy variables', async () => {
    for (const scheme of ['http', 'https']) {
      const url = `${scheme}://web.example.com/hello`;
      assert.equal(await python('urllib_get', url), `(200, b'hello from web.example.com\\n')\n`);
      const one = `(200, b'hello from web.example.com\\n')`;
      assert.equal(await python('requests_get', url), `[${one}, ${one}]\n`);
    }
  });
});

describe('boto3', () => {
  test('a service of another region is not reached', async () => {
    assert.match(await python('boto3_kms', 'eu-west-1'), /^ProxyConnectionError: Failed to connect to proxy URL/);
    assert.equal(denied.connections, 0);
  });

  test('KMS, and S3 by the name of a bucket', async () => {
    assert.equal(await python('boto3_kms', 'us-east-1'), `b'\\x00\\x01\\x02\\x03'\n`);
    assert.equal(await python('boto3_s3', 'bucket'), `b'stored'\n`);
    assert.ok(secure.requests.includes('PUT /a%20key'));
  });

  test('S3 in clear: the request expects 100 Continue, over one connection', async () => {
    assert.equal(await python('boto3_s3', 'bucket', 'http://s3.us-east-1.amazonaws.com'), `b'stored'\n`);
    assert.ok(plain.requests.includes('PUT /bucket/a%20key'));
  });
});

function digest(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
