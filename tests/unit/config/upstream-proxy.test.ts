import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, suite, test } from 'node:test';
import { isReachedDirectly } from '../../../src/access/upstream-proxy.ts';
import { inspectText } from '../../../src/config/load.ts';
import { complete, partialListeners } from '../../../src/config/partial-plan.ts';
import { upstreamProxyOf } from '../../../src/config/upstream-proxy.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';
import { target } from '../access/fixture.ts';

const directory = mkdtempSync(join(tmpdir(), 'vsock-proxy-upstream-'));
after(() => rmSync(directory, { recursive: true }));

const REST = `
allowlist:
- {address: a.example, port: 443}
`;

function load(text: string) {
  const loaded = inspectText(`${text}${REST}`, 'f.yaml', 'any');
  assert(!('problems' in loaded), 'problems' in loaded ? loaded.problems[0]?.line : '');
  return loaded;
}

function problem(text: string): string {
  const loaded = inspectText(`${text}${REST}`, 'f.yaml', 'any');
  assert('problems' in loaded, text);
  assert.equal(loaded.problems.length, 1, loaded.problems.map(({ line }) => line).join('\n'));
  return loaded.problems[0]?.line ?? '';
}

suite('an upstream proxy', () => {
  for (const [text, expected] of [
    ['upstream_proxy: 5', 'upstream_proxy: expected the URL of an HTTP proxy, found 5'],
    [
      'upstream_proxy: proxy.corp:3128',
      '"proxy.corp:3128" is not the URL of an HTTP proxy (f.yaml:1). Hint: write http://',
    ],
    ['upstream_proxy: https://proxy.corp:3128', 'is not the URL of an HTTP proxy'],
    ['upstream_proxy: socks5://proxy.corp:1080', 'is not the URL of an HTTP proxy'],
    ['upstream_proxy: http://proxy.corp', 'has no valid port'],
    ['upstream_proxy: http://proxy.corp:0', 'has no valid port'],
    ['upstream_proxy: http://proxy.corp:65536', 'has no valid port'],
    ['upstream_proxy: http://::1:3128', 'has no valid port'],
    ['upstream_proxy: http://proxy.corp:3128/path', 'is not the URL of an HTTP proxy'],
    ['upstream_proxy: http://127.1:3128', '127.1'],
    [
      'upstream_proxy: http://user:hunter2@proxy.corp:3128',
      'user and password do not stand in the URL (f.yaml:1). Hint: put',
    ],
    ['no_proxy: [a.example]', 'no_proxy: there is no upstream_proxy (f.yaml:1). Hint: add upstream_proxy'],
    ['upstream_proxy_credentials: /etc/x', 'upstream_proxy_credentials: there is no upstream_proxy'],
    ['upstream_proxy: http://p.corp:1\nupstream_proxy_credentials: x', '"x" is not an absolute path'],
    ['upstream_proxy: http://p.corp:1\nno_proxy: a.example', 'no_proxy: expected a list, found "a.example"'],
    ['upstream_proxy: http://p.corp:1\nno_proxy: ["a.example,b.example"]', 'no_proxy[0]'],
    ['upstream_proxy: http://p.corp:1\nno_proxy: ["a.example:443"]', 'no_proxy[0]'],
  ] as const) {
    test(`written ${JSON.stringify(text)} is refused`, () => {
      const told = problem(text);
      assert.ok(told.includes(expected), told);
      assert.doesNotMatch(told, /hunter2/);
    });
  }

  test('is a name or an address with its port', () => {
    for (const [url, host, port] of [
      ['http://Proxy.Corp:3128', 'proxy.corp', 3128],
      ['HTTP://127.0.0.1:80/', '127.0.0.1', 80],
      ['http://[::1]:8080', '::1', 8080],
    ] as const) {
      const proxy = upstreamProxyOf(load(`upstream_proxy: ${url}`));
      assert(proxy !== undefined);
      assert.deepEqual([proxy.host.kind === 'ip' ? proxy.host.ip.text : proxy.host.name, proxy.port], [host, port]);
      assert.equal(proxy.authorization, undefined);
    }
  });

  test('is passed by for what no_proxy lists in the forms that its variable has, and for this machine', () => {
    const list = '[.below.example, exact.example, "*.one.example", 10.0.0.0/8, "2001:db8::1"]';
    const proxy = upstreamProxyOf(load(`upstream_proxy: http://p.corp:1\nno_proxy: ${list}`));
    assert(proxy !== undefined);
    for (const [host, isDirect] of [
      ['a.below.example', true],
      ['a.b.below.example', true],
      ['below.example', false],
      ['exact.example', true],
      ['a.exact.example', false],
      ['a.one.example', true],
      ['10.1.2.3', true],
      ['11.1.2.3', false],
      ['2001:db8::1', true],
      ['localhost', true],
      ['127.0.0.9', true],
      ['::1', true],
      ['::ffff:127.0.0.1', true],
      ['169.254.169.254', true],
      ['fd00:ec2::254', true],
    ] as const) {
      assert.equal(isReachedDirectly(proxy, target(`${host} 443`)), isDirect, host);
    }
  });

  test('is for every listener that leads to TCP servers, and no other', () => {
    const file = load(`
upstream_proxy: http://p.corp:1
listeners:
- {listen: "vsock:1000", connect: "a.example:443"}
- {listen: "vsock:1001", connect: "a.\${domain}:443"}
- {listen: "vsock:1002", route: http}
- {listen: "vsock:1003", route: sni}
- {listen: "tcp:127.0.0.1:1004", connect: "vsock:16:443"}
- {listen: "vsock:1005", route: log}
egress: {allow: [a.example]}
ingress: [{listen_port: 3000}]`);
    const kinds = partialListeners(file).map(
      ({ route, upstreamProxy }) => `${route.kind} ${upstreamProxy !== undefined}`,
    );
    assert.deepEqual(kinds, [
      ...['target true', 'template true', 'http true', 'sni true', 'address false', 'log false'],
      ...['http true', 'ingress false'],
    ]);
  });

  test('lets no PROXY header through', () => {
    const file = load(`
upstream_proxy: http://p.corp:1
listeners:
- {listen: "vsock:1000", connect: "a.example:443", proxy_protocol: v2}`);
    const [partial] = partialListeners(file);
    assert(partial !== undefined);
    const completion = complete(partial, {});
    assert(completion.kind === 'problem');
    assert.match(
      completion.problem.line,
      /proxy_protocol does not pass through upstream_proxy .*list the server in no_proxy/,
    );
  });
});

suite('the credentials of an upstream proxy', () => {
  const path = join(directory, 'credentials');
  const read = () => upstreamProxyOf(load(`upstream_proxy: http://p.corp:1\nupstream_proxy_credentials: ${path}`));
  const write = (text: string, mode: number) => {
    rmSync(path, { force: true, recursive: true });
    writeFileSync(path, text);
    chmodSync(path, mode);
  };

  for (const [text, credentials] of [
    ['user:pass', 'user:pass'],
    ['user:pass word:#\n', 'user:pass word:#'],
    ['user:\r\n', 'user:'],
    ['jürgen:ä\n', 'jürgen:ä'],
  ] as const) {
    test(`are the one line ${JSON.stringify(text)}`, () => {
      write(text, 0o400);
      assert.equal(read()?.authorization, `Basic ${Buffer.from(credentials).toString('base64')}`);
    });
  }

  for (const text of [
    '',
    '\n',
    'user',
    ':pass',
    'a:b\nc:d\n',
    'user:pa\0ss',
    'user:pa\x1bss',
    `u:${'x'.repeat(5000)}`,
  ]) {
    test(`are not ${JSON.stringify(text.slice(0, 20))}, and are not shown`, () => {
      write(text, 0o400);
      assert.throws(read, (error) => {
        assert(error instanceof VsockProxyError);
        assert.match(
          error.line,
          /^upstream_proxy_credentials: .*credentials: is (?:not one line|larger than).* \(f\.yaml:2\)/,
        );
        return !error.line.includes('hunter2');
      });
    });
  }

  for (const [mode, isRight] of [
    [0o400, true],
    [0o600, true],
    [0o440, true],
    [0o640, true],
    [0o644, false],
    [0o604, false],
    [0o660, false],
    [0o602, false],
  ] as const) {
    test(`with mode ${mode.toString(8)} are ${isRight ? 'taken' : 'refused'}`, () => {
      write('user:pass', mode);
      if (isRight) assert.ok(read()?.authorization);
      else
        assert.throws(read, { message: new RegExp(`its mode is 0${mode.toString(8)}: too many may read or write it`) });
    });
  }

  test('that are not there, or no file', () => {
    rmSync(path, { force: true });
    assert.throws(read, {
      message: /credentials: could not be read: ENOENT$/,
      hint: /^create it with one line/,
    });
    assert.throws(
      () => upstreamProxyOf(load(`upstream_proxy: http://p.corp:1\nupstream_proxy_credentials: ${directory}`)),
      { message: /is not a regular file$/ },
    );
  });
});
