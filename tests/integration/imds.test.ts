/**
 * `vsock-proxy kms-endpoint` and the instance metadata service: the built executable in a network namespace that has
 * the service's own addresses, where a stand-in for it listens, or nobody does.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { requestPlacement } from '../../src/aws/metadata-service.ts';
import { VsockProxyError } from '../../src/platform/errors.ts';
import { type Outcome, Program } from '../program.ts';
import { launch } from './launch.ts';
import { EXECUTABLE } from './proxy.ts';

const IPV4 = '169.254.169.254';
const IPV6 = 'fd00:ec2::254';
const PATIENCE_MS = 30_000;
const STAND_IN = fileURLToPath(new URL('../e2e/guest/imds.py', import.meta.url));
const INSIDE = 'VSOCK_PROXY_TEST_NAMESPACE';

if (process.env[INSIDE] === undefined) {
  test('in a namespace of its own', { timeout: 300_000 }, () => {
    const files = mkdtempSync(join(tmpdir(), 'vsock-proxy-imds-'));
    const enter = [
      'ip link set lo up',
      `exec "${process.execPath}" --test --test-reporter=spec ${import.meta.filename}`,
    ];
    const inside = spawnSync('unshare', ['--net', 'bash', '-ec', enter.join('\n')], {
      env: { ...process.env, [INSIDE]: files, NODE_TEST_CONTEXT: undefined },
      encoding: 'utf8',
    });
    rmSync(files, { recursive: true });
    console.log(inside.stdout, inside.stderr);
    assert.equal(inside.status, 0, 'see above; it needs root, unshare(1), ip(8) and python3');
  });
} else {
  insideNamespace(process.env[INSIDE]);
}

function insideNamespace(files: string): void {
  let cleanUps: (() => unknown)[] = [];
  afterEach(async () => {
    for (const cleanUp of cleanUps.reverse()) await cleanUp();
    cleanUps = [];
  });

  /** The address exists: a host without a listener refuses connections. */
  const addAddress = (address: string): void => {
    const change = (action: string) => {
      const suffix = address.includes(':') ? ['nodad'] : [];
      const { status, stderr } = spawnSync('ip', ['address', action, address, 'dev', 'lo', ...suffix], {
        encoding: 'utf8',
      });
      assert.equal(status, 0, stderr);
    };
    change('add');
    cleanUps.push(() => change('del'));
  };
  const serveAt = async (address: string, ...options: readonly string[]): Promise<Program> => {
    addAddress(address);
    const service = new Program('python3', [STAND_IN, '--address', address, ...options]);
    cleanUps.push(async () => {
      service.kill();
      await service.ended;
    });
    await service.stdout.match(/^listening$/m, PATIENCE_MS);
    return service;
  };
  const start = (argv: readonly string[], env: Readonly<Record<string, string>> = {}): Program => {
    const program = launch([EXECUTABLE, 'kms-endpoint', ...argv], env);
    cleanUps.push(() => program.kill());
    return program;
  };
  const run = (argv: readonly string[] = [], env?: Readonly<Record<string, string>>): Promise<Outcome> => {
    return start(argv, env).outcome(PATIENCE_MS);
  };
  /** It gives up after a second, with one line that says why. */
  const refused = async (says: RegExp, argv: readonly string[] = []): Promise<void> => {
    const { status, stdout, stderr } = await run([...argv, '--timeout', '1'], { RUST_LOG: 'error' });
    assert.equal(status, 1);
    assert.equal(stdout, '');
    assert.match(
      stderr,
      /^Error: "The metadata service did not tell the region within 1 s \(\d+ attempts?\): .*\. Hint: .*"\n$/,
    );
    assert.match(stderr, says);
  };
  const printed = (endpoint: string): Outcome => ({ status: 0, stdout: `${endpoint}\n`, stderr: '' });
  const asked = (service: Program): readonly string[] => service.stdout.text.split('\n').slice(1, -1);

  test('no such address: the line names both addresses with their errors', async () => {
    await refused(/169\.254\.169\.254: ENETUNREACH, .*; \[fd00:ec2::254\]: ENETUNREACH, .*VSOCK_PROXY_KMS_ENDPOINT/);
  });

  test('no one listens there', async () => {
    addAddress(IPV4);
    await refused(/169\.254\.169\.254: ECONNREFUSED, /);
  });

  const faults: readonly (readonly [options: readonly string[], says: RegExp])[] = [
    [['--disabled'], /169\.254\.169\.254: the metadata service is disabled .*403.* Hint: enable it/],
    [['--version-1'], /no tokens are given out \(status 405\)\. Hint: .*--imdsv1/],
    [['--status', '401'], /it refuses its own tokens/],
    [['--status', '404'], /placement\/region is answered with status 404/],
    [['--status', '301'], /placement\/region is answered with status 301/],
    [['--status', '503'], /placement\/region is answered with status 503/],
    [['--huge'], /longer than 1024 bytes/],
    [['--cut'], /169\.254\.169\.254: aborted/],
    [['--garbage'], /the answer is not HTTP/],
    [['--region', 'us-east-1\nKMS_ENDPOINT=evil.example'], /placement\/region is "us-east-1\\nKMS_ENDPOINT=evil/],
    [['--region', ''], /placement\/region is "", which cannot be/],
    [['--domain', 'amazonaws.com --config /tmp/x'], /services\/domain is .*, which cannot be/],
    [['--domain', 'AMAZONAWS.COM'], /which cannot be/],
  ];
  for (const [options, says] of faults) {
    test(`a service with ${options.join(' ')}`, async () => {
      await serveAt(IPV4, ...options);
      const asking = requestPlacement({ ip: IPV4, port: 80 }, { version: 2, signal: AbortSignal.timeout(PATIENCE_MS) });
      await assert.rejects(asking, (error) => {
        assert(error instanceof VsockProxyError && error.code === 'metadata');
        assert.match(error.line, says);
        return true;
      });
    });
  }

  test('a service that accepts requests and never answers', async () => {
    await serveAt(IPV4, '--silent');
    await refused(/169\.254\.169\.254: no answer in time/);
  });

  test('a request without a token to a service that requires one: the error says so', async () => {
    const service = await serveAt(IPV4);
    await refused(/it wants a token \(status 401\)\. Hint: leave --imdsv1 out/, ['--imdsv1']);
    assert(asked(service).every((line) => line.includes('without token')));
  });

  test('it requests region and domain with a token, and prints the name', async () => {
    const service = await serveAt(IPV4);
    assert.deepEqual(await run(), printed('kms.eu-west-1.amazonaws.com'));
    assert.deepEqual(asked(service), [
      'PUT /latest/api/token without token: 200',
      'GET /latest/meta-data/placement/region with token: 200',
      'GET /latest/meta-data/services/domain with token: 200',
    ]);
  });

  test('an expired token is renewed, once', async () => {
    const service = await serveAt(IPV4, '--forgetful');
    assert.deepEqual(await run(), printed('kms.eu-west-1.amazonaws.com'));
    assert.equal(asked(service).filter((line) => line.startsWith('PUT')).length, 2);
  });

  test('requests without a token are sent only with --imdsv1', async () => {
    const service = await serveAt(IPV4, '--version-1');
    assert.deepEqual(await run([], { VSOCK_PROXY_IMDSV1: 'yes' }), printed('kms.eu-west-1.amazonaws.com'));
    assert(asked(service).every((line) => line.startsWith('GET')));
  });

  test('it waits for a slow service', async () => {
    await serveAt(IPV4, '--delay', '0.3');
    assert.deepEqual(await run(), printed('kms.eu-west-1.amazonaws.com'));
  });

  test('an instance without IPv4 is served by the IPv6 address', async () => {
    await serveAt(IPV6);
    assert.deepEqual(await run(), printed('kms.eu-west-1.amazonaws.com'));
  });

  test('one address is silent, and the other one answers', async () => {
    await serveAt(IPV4, '--silent');
    await serveAt(IPV6);
    assert.deepEqual(await run(), printed('kms.eu-west-1.amazonaws.com'));
  });

  test('each partition has its names', async () => {
    await serveAt(IPV4, '--region', 'cn-north-1', '--domain', 'amazonaws.com.cn');
    assert.deepEqual(await run(), printed('kms.cn-north-1.amazonaws.com.cn'));
    assert.deepEqual(
      await run([], { VSOCK_PROXY_DUAL_STACK: 'yes' }),
      printed('kms.cn-north-1.api.amazonwebservices.com.cn'),
    );
    const { status, stderr } = await run(['--fips']);
    assert.equal(status, 1);
    assert.match(stderr, /^Error: "KMS has no FIPS endpoint in the partition aws-cn\. Hint: .*"\n$/);
  });

  test('the network comes up late: it waits, logs it once, and goes on', async () => {
    const waiting = start(['--timeout', '0'], { RUST_LOG: 'info' });
    await waiting.stderr.match(/WARN .*Waiting for the metadata service: .*ENETUNREACH/, PATIENCE_MS);
    await serveAt(IPV4);
    const { status, stdout, stderr } = await waiting.outcome(PATIENCE_MS);
    assert.deepEqual({ status, stdout }, { status: 0, stdout: 'kms.eu-west-1.amazonaws.com\n' });
    assert.equal(stderr.match(/Waiting/g)?.length, 1);
    assert.match(stderr, /INFO .*The metadata service answered after \d+ s/);
  });

  test('no proxy is used, whatever the environment has', async () => {
    await serveAt(IPV4);
    const proxy = 'http://127.0.0.1:9';
    const env = { HTTP_PROXY: proxy, http_proxy: proxy, ALL_PROXY: proxy, NODE_USE_ENV_PROXY: '1' };
    assert.deepEqual(await run([], env), printed('kms.eu-west-1.amazonaws.com'));
  });

  test('a given endpoint is used, without a request', async () => {
    const service = await serveAt(IPV4);
    const env = { VSOCK_PROXY_KMS_ENDPOINT: 'KMS.example.com.' };
    assert.deepEqual(await run([], env), printed('kms.example.com'));
    assert.deepEqual(
      await run(['--region', 'us-gov-west-1', '--fips']),
      printed('kms-fips.us-gov-west-1.amazonaws.com'),
    );
    assert.deepEqual(asked(service), []);
  });

  test('serve fills in region and domain with one request, and reloads without another one', async () => {
    const config = join(files, 'serve.yaml');
    const yaml = (path: string) =>
      'allowlist: [{address: kms.*.amazonaws.com, port: 443}]\n' +
      `listeners: [{listen: "unix:${join(files, path)}", connect: "kms.\${region}.\${domain}:443"}]\n`;
    const serve = () => {
      const program = launch([EXECUTABLE, 'serve', '--config', config], { RUST_LOG: 'info' });
      cleanUps.push(() => program.kill());
      return program;
    };
    writeFileSync(config, yaml('one.sock'));
    const waiting = serve();
    await waiting.stderr.match(
      /WARN .*Waiting for the metadata service, 60 s at most: .* elsewhere, write the names out/,
      PATIENCE_MS,
    );
    const service = await serveAt(IPV4);
    await waiting.stderr.match(/Matched with host name "kms\.eu-west-1\.amazonaws\.com" and port "443"/, PATIENCE_MS);
    await waiting.stderr.match(/Proxy is now in listening state/, PATIENCE_MS);
    assert.equal(asked(service).length, 3, 'a token, the region, the domain');
    service.kill();
    await service.ended;
    writeFileSync(config, yaml('two.sock'));
    waiting.kill('SIGHUP');
    await waiting.stderr.match(/Reloaded: added unix: .*two\.sock; removed unix: .*one\.sock/, PATIENCE_MS);
  });

  test('serve in a region that its file does not allow fails with the line of the route', async () => {
    await serveAt(IPV4, '--region', 'cn-north-1', '--domain', 'amazonaws.com.cn');
    const config = join(files, 'china.yaml');
    writeFileSync(
      config,
      'allowlist: [{address: kms.*.amazonaws.com, port: 443}]\nlisteners:\n- {listen: "vsock:8000", connect: "kms.${region}.${domain}:443"}\n',
    );
    const { status, stderr } = await launch([EXECUTABLE, 'serve', '--config', config], {}).outcome(PATIENCE_MS);
    assert.equal(status, 1);
    assert.match(
      stderr,
      /^Error: "listeners\[0\]\.connect: The given address and port are not allowed: no entry of the allowlist matches kms\.cn-north-1\.amazonaws\.com\.cn on port 443 \(.*china\.yaml:3\)\. Hint: .*"\n$/,
    );
  });

  test('the file for systemd is complete, readable by its owner only, and replaces a link', async () => {
    await serveAt(IPV4);
    const directory = mkdtempSync(join(files, 'run-'));
    const elsewhere = join(directory, 'elsewhere');
    const file = join(directory, 'endpoint.env');
    writeFileSync(elsewhere, 'untouched');
    symlinkSync(elsewhere, file);
    assert.deepEqual(await run(['--output', file]), { status: 0, stdout: '', stderr: '' });
    assert.equal(readFileSync(file, 'utf8'), 'KMS_ENDPOINT=kms.eu-west-1.amazonaws.com\n');
    assert.equal(lstatSync(file).isFile(), true);
    assert.equal(statSync(file).mode & 0o7777, 0o600);
    assert.equal(readFileSync(elsewhere, 'utf8'), 'untouched');
    assert.deepEqual(readdirSync(directory).sort(), ['elsewhere', 'endpoint.env']);
  });

  test('without an answer the old file stays as it is', async () => {
    const file = join(files, 'before.env');
    writeFileSync(file, 'KMS_ENDPOINT=before\n');
    await refused(/ENETUNREACH/, ['--output', file]);
    assert.equal(readFileSync(file, 'utf8'), 'KMS_ENDPOINT=before\n');
  });

  test('a file that cannot be written: the reason and a hint', async () => {
    await serveAt(IPV4);
    const { status, stderr } = await run(['--output', join(files, 'missing/endpoint.env')]);
    assert.equal(status, 1);
    assert.match(stderr, /^Error: "Environment file could not be written: ENOENT, .*endpoint\.env\)\. Hint: .*"\n$/);
  });
}
