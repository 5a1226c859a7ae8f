import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { describePorts } from '../../../src/access/ports.ts';
import type { FilePurpose } from '../../../src/config/checks/exclusive-keys.ts';
import { inspectText } from '../../../src/config/load.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';

const EMPTY = 'allowlist: []\n';

/** The first problem of a file for the drop-in form. */
function problem(text: string): string {
  const [first] = problems(text);
  return first ?? assert.fail(`this was taken: ${text}`);
}

function problems(text: string, purpose: FilePurpose = 'proxy'): readonly string[] {
  try {
    const loaded = inspectText(text, 'dir/f.yaml', purpose);
    return 'problems' in loaded ? loaded.problems.map(({ line }) => line) : [];
  } catch (error) {
    assert(error instanceof VsockProxyError, String(error));
    assert.equal(error.code, 'config');
    return [error.line];
  }
}

function settings(text: string) {
  const loaded = inspectText(text, 'f.yaml', 'any');
  assert('settings' in loaded, JSON.stringify(loaded));
  return loaded.settings;
}

function entries(text: string): string[] {
  return (settings(text).allowlist ?? []).map(
    ({ address, port }) => `${address.text} ${describePorts(port).replace(/^ports? /, '')}`,
  );
}

suite('configuration file, refused', () => {
  for (const [name, text, ...parts] of [
    ['nothing', '', 'No allowlist field: expected a map, found nothing (dir/f.yaml:1)', 'an entry looks like'],
    ['comments alone', '# allowlist\n\n', 'No allowlist field', 'found nothing'],
    ['a byte order mark alone', '\ufeff', 'No allowlist field', 'found nothing'],
    ['null', '~', 'No allowlist field: expected a map, found nothing'],
    ['a word', 'allowlist', 'No allowlist field: expected a map, found "allowlist"'],
    ['a list', '- {address: a, port: 1}', 'No allowlist field: expected a map, found a list'],
    ['another key only', 'limits: {}', 'No allowlist field: allowlist: missing (dir/f.yaml:1)'],
    [
      'an allowlist of null',
      '\nallowlist: null',
      'No allowlist field: allowlist: expected a list, found nothing (dir/f.yaml:2)',
    ],
    [
      'an allowlist with nothing below',
      'allowlist:\n',
      'No allowlist field: allowlist: expected a list, found nothing',
    ],
    ['an allowlist that is a map', 'allowlist: {address: a, port: 1}', 'expected a list, found a map'],
    ['an allowlist that is text', 'allowlist: "a:1"', 'expected a list, found "a:1"'],
    [
      'an entry that is text',
      'allowlist:\n- a\n',
      'No address field: allowlist[0]: expected a map, found "a" (dir/f.yaml:2)',
    ],
    [
      'an entry that is nothing',
      'allowlist:\n- {address: a, port: 1}\n-\n',
      'No address field: allowlist[1]: expected a map, found nothing (dir/f.yaml:',
    ],
    [
      'an entry without address',
      'allowlist:\n- port: 1\n',
      'No address field: allowlist[0].address: missing (dir/f.yaml:2)',
    ],
    [
      'an address that is a number',
      'allowlist:\n- address: 16\n  port: 1\n',
      'No address field: allowlist[0].address: expected a host name',
      'found 16 (dir/f.yaml:2)',
    ],
    ['an address that is a list', 'allowlist: [{address: [a], port: 1}]', 'No address field', 'found a list'],
    ['an empty address', 'allowlist: [{address: "", port: 1}]', 'allowlist[0].address: it is empty'],
    [
      'a URL as address',
      'allowlist: [{address: "https://a.example", port: 1}]',
      'is a URL',
      'write the host only: "a.example"',
    ],
    ['a numeric spelling as address', 'allowlist: [{address: "127.1", port: 1}]', 'another spelling of 127.0.0.1'],
    ['half a label as pattern', 'allowlist: [{address: "a*.example", port: 1}]', '"*" within the label "a*"'],
    ['a bad range as address', 'allowlist: [{address: 10.0.0.0/33, port: 1}]', 'is not a range of addresses'],
    [
      'an entry without port',
      'allowlist:\n- address: a\n',
      'No port field or invalid type: allowlist[0].port: missing (dir/f.yaml:2)',
    ],
    [
      'a port of nothing',
      'allowlist:\n- address: a\n  port:\n',
      'No port field or invalid type: allowlist[0].port: expected a port or a range of ports, found nothing (dir/f.yaml:3)',
    ],
    ['a port in words', 'allowlist: [{address: a, port: https}]', 'No port field or invalid type', 'found "https"'],
    [
      'a port range that ends before it begins',
      'allowlist: [{address: a, port: 2-1}]',
      'No port field or invalid type: allowlist[0].port: "2-1" ends before it begins',
      'write 1-2',
    ],
    ['a port range beyond the last one', 'allowlist: [{address: a, port: 1-65536}]', 'port 65536 is outside 1–65535'],
    ['an open port range', 'allowlist: [{address: a, port: 1-}]', 'No port field or invalid type', 'found "1-"'],
    ['half a port', 'allowlist: [{address: a, port: 443.5}]', 'No port field or invalid type', 'found 443.5'],
    [
      'half a port in quotes',
      'allowlist: [{address: a, port: "443.0"}]',
      'No port field or invalid type',
      'found "443.0"',
    ],
    ['a list of no ports', 'allowlist: [{address: a, port: []}]', 'the list of ports is empty'],
    [
      'a list of ports with a word in it',
      'allowlist: [{address: a, port: [443, https]}]',
      'No port field or invalid type',
      'found "https"',
    ],
    ['a list of lists of ports', 'allowlist: [{address: a, port: [[443]]}]', 'found a list'],
    [
      'a map as port that imitates an object',
      'allowlist: [{address: a, port: {toString: 1, valueOf: 2}}]',
      'found a map',
    ],
    ['port 0', 'allowlist: [{address: a, port: 0}]', 'port 0 is outside 1–65535'],
    ['a negative port', 'allowlist: [{address: a, port: -443}]', 'port -443 is outside 1–65535'],
    ['port 65536', 'allowlist: [{address: a, port: 65536}]', 'port 65536 is outside 1–65535'],
    ['port 65536 in quotes', 'allowlist: [{address: a, port: "65536"}]', 'port 65536 is outside 1–65535'],
    ['a port beyond 64 bits', `allowlist: [{address: a, port: ${2n ** 64n + 443n}}]`, 'is outside 1–65535'],
    ['a port that is infinite', 'allowlist: [{address: a, port: .inf}]', 'found Infinity'],
    [
      'an unknown key',
      `${EMPTY}rules: []`,
      'rules: unknown key (dir/f.yaml:2)',
      'the keys here are allowlist, denylist, match_names_by_ip, listeners, egress, ingress, forward, upstream_proxy, upstream_proxy_credentials, no_proxy, limits, timeouts',
    ],
    [
      'an unknown key with a known neighbour',
      `${EMPTY}\ntimeout:\n  idle: 1`,
      'timeout: unknown key (dir/f.yaml:3)',
      'did you mean timeouts?',
    ],
    [
      'an unknown key in an entry',
      'allowlist:\n- address: a\n  port: 1\n  proto: tcp',
      'allowlist[0].proto: unknown key (dir/f.yaml:4)',
      'the keys here are address, port, cids',
    ],
    [
      'an unknown key in a section',
      `${EMPTY}limits: {connection: 1}`,
      'limits.connection: unknown key',
      'did you mean connections?',
    ],
    ['a key that reaches the prototype', `${EMPTY}__proto__: {}`, '__proto__: unknown key (dir/f.yaml:2)'],
    ['a key that every object inherits', `${EMPTY}constructor: {}`, 'constructor: unknown key'],
    ['merged keys', `${EMPTY}limits: {<<: {connections: 1}}`, '"<<": unknown key'],
    [
      'a misspelt allowlist',
      'allow_list: []',
      'No allowlist field: allowlist: missing (dir/f.yaml:1)',
      'rename "allow_list" to allowlist',
    ],
    [
      'a misspelt address',
      'allowlist:\n- {adress: a, port: 1}',
      'No address field: allowlist[0].address: missing (dir/f.yaml:2)',
      'rename "adress" to address',
    ],
    ['no connections', `${EMPTY}limits: {connections: 0}`, 'limits.connections: 0 is outside 1–1000000 (dir/f.yaml:2)'],
    ['too many connections', `${EMPTY}limits: {connections: 1000001}`, '1000001 is outside 1–1000000'],
    ['half a connection', `${EMPTY}limits: {connections: 1.5}`, 'expected a whole number, found 1.5'],
    [
      'a section of nothing',
      `${EMPTY}limits:\n`,
      'limits: expected a map, found nothing (dir/f.yaml:2)',
      'leave it out',
    ],
    ['no time to connect', `${EMPTY}timeouts: {connect: 0}`, 'timeouts.connect: 0 is outside 1ms–168h'],
    ['no time to connect, with a unit', `${EMPTY}timeouts: {connect: 0ms}`, '"0ms" is outside'],
    [
      'negative time',
      `${EMPTY}timeouts: {idle: -1}`,
      'timeouts.idle: expected a duration, found -1',
      '500ms, 10s, 5m, 1h',
    ],
    ['half a second', `${EMPTY}timeouts: {idle: 1.5}`, 'expected a duration, found 1.5'],
    ['half a second with a unit', `${EMPTY}timeouts: {idle: 0.5s}`, 'expected a duration, found "0.5s"'],
    ['an unknown unit', `${EMPTY}timeouts: {drain: 1d}`, 'timeouts.drain: expected a duration, found "1d"'],
    ['two units', `${EMPTY}timeouts: {drain: 1m30s}`, 'expected a duration, found "1m30s"'],
    ['more than a week', `${EMPTY}timeouts: {idle: 169h}`, '"169h" is outside 0–168h'],
    ['more than any number', `${EMPTY}timeouts: {idle: "${'9'.repeat(400)}h"}`, 'is outside 0–168h'],
  ] as const) {
    test(`${name}: ${parts[0].slice(0, 60)}`, () => {
      const line = problem(text);
      for (const part of parts) assert(line.includes(part), line);
    });
  }

  test('the first problem in the file is the one that is told', () => {
    assert.match(problem('limits: {connections: 0}\nallowlist: [{}]\nfoo: 1\n'), /^limits\.connections: 0.*f\.yaml:1/);
    assert.match(problem('foo: 1\nlimits: {connections: 0}\nallowlist: [{}]\n'), /^foo: unknown key.*f\.yaml:1/);
  });

  test('the line is that of the value, also in a long file with Windows line ends', () => {
    const good = Array.from({ length: 20 }, (_, i) => `  - address: h${i}.example\r\n    port: 443\r\n`).join('');
    assert.match(problem(`allowlist:\r\n${good}  - address: bad.example\r\n    port: 65979\r\n`), /f\.yaml:43\)/);
  });

  test('the line is that of the anchor where a value stands by an alias', () => {
    const text = 'allowlist:\n- &a\n  address: a\n  port: 0\n- *a\n';
    assert.match(problem(text), /allowlist\[0\]\.port: port 0 .*f\.yaml:4/);
  });
});

test('known fault 1: an allowlist port of 65979 is an error with its line and does not become 443', () => {
  assert.equal(
    problem('allowlist:\n- {address: kms.us-east-1.amazonaws.com, port: 65979}\n'),
    'No port field or invalid type: allowlist[0].port: port 65979 is outside 1–65535 (dir/f.yaml:2). ' +
      'Hint: TCP ports are 16-bit: write a whole number from 1 to 65535, a range such as 1024-2048, or a list of both',
  );
});

suite('known fault 12', () => {
  test('empty YAML is an error with its line', () => {
    assert.match(problem(''), /^No allowlist field: .*\(dir\/f\.yaml:1\)\. Hint: /);
  });

  test('a quoted whole number is a port', () => {
    assert.deepEqual(entries('allowlist:\n- {address: a, port: "443"}\n'), ['a 443']);
    assert.deepEqual(entries("allowlist:\n- {address: a, port: '0443'}\n"), ['a 443']);
  });
});

suite('bad YAML', () => {
  for (const [name, text, ...parts] of [
    ['an open bracket', 'allowlist: [', 'f.yaml:1'],
    [
      'a tab in the indentation',
      'allowlist:\n\t- {address: a, port: 1}',
      'a tab in the indentation (dir/f.yaml:2)',
      'indent with spaces',
    ],
    ['a second document', 'allowlist: []\n---\nallowlist: []', 'a second document begins (dir/f.yaml:2)'],
    [
      'a key twice',
      'allowlist: []\nallowlist: [{address: a, port: 1}]',
      'the key "allowlist" stands twice in one map (dir/f.yaml:2)',
    ],
    [
      'a key twice in an entry',
      'allowlist:\n- address: a\n  port: 1\n  address: b',
      'the key "address" stands twice in one map (dir/f.yaml:4)',
    ],
    ['a number and its text as keys', '1: a\n"1": b', 'the key "1" stands twice'],
    ['a list as key', '? [a]\n: 1', 'a key is not plain text'],
    ['an alias as key', 'a: &a b\n*a : 1', 'a key is not plain text'],
    ['an unknown tag', 'allowlist: !include other.yaml', '!include', 'f.yaml:1'],
    ['a known tag', 'allowlist: !!set {a}', 'set'],
    ['an alias without anchor', 'allowlist: *a', '*a without quotes, and no anchor &a before it'],
    ['an alias before its anchor', 'x: *a\ny: &a 1', '*a without quotes, and no anchor'],
    ['a pattern without quotes', 'allowlist:\n- {address: *.a.example, port: 443}', '*.a.example without quotes'],
    ['a star without quotes', 'allowlist:\n- address: *', 'a * without quotes'],
    [
      'aliases that multiply',
      `a: &a [${'1,'.repeat(99)}]\nb: &b [${'*a,'.repeat(99)}]\nc: &c [${'*b,'.repeat(99)}]\nd: [${'*c,'.repeat(99)}]`,
      'aliases multiply to more than 200000 values',
    ],
    ['many aliases of much', `a: &a [${'1,'.repeat(2000)}]\nb: [${'*a,'.repeat(200)}]`, 'aliases multiply'],
    ['an alias within what it stands for', 'a: &a [*a]', 'aliases multiply'],
    [
      'more entries than anybody meant',
      `allowlist: [${'1,'.repeat(200_000)}1]`,
      'its lists have more than 200000 entries',
    ],
    ['deep nesting', '['.repeat(5000), 'nested too deeply', 'f.yaml:1'],
    ['deep nesting that ends', `${'['.repeat(5000)}${']'.repeat(5000)}`, 'nested too deeply'],
    ['a NUL', 'allowlist: []\n# \0', 'it contains "\\0" (dir/f.yaml:2)', 'is it really a text file?'],
    ['an escape sequence', '\u001b[31mallowlist: []', 'it contains "\\u{1b}" (dir/f.yaml:1)'],
    ['a byte order mark within', 'allowlist: []\na\ufffe: 1', 'it contains'],
  ] as const) {
    test(name, () => {
      const line = problem(text);
      assert(line.startsWith('Bad yaml format: '), line);
      for (const part of parts) assert(line.includes(part), line);
      assert.match(line, /\. Hint: /);
    });
  }

  test('YAML 1.1 has no say, even where the file asks for it', () => {
    assert.match(
      problem('%YAML 1.1\n---\nallowlist: []\nlimits: {connections: 0o17, <<: {}}'),
      /^limits\."<<": unknown key/,
    );
    assert.deepEqual(entries('%YAML 1.1\n---\nallowlist: [{address: yes, port: 0443}]'), ['yes 443']);
  });

  test('30,000 keys are no reason to think for minutes', () => {
    const started = performance.now();
    assert.equal(problems(Array.from({ length: 30_000 }, (_, index) => `k${index}: 1`).join('\n')).length, 100);
    assert(performance.now() - started < 10_000);
  });
});

suite('configuration file, taken', () => {
  test('defaults stand in for what is not written', () => {
    assert.deepEqual(settings(EMPTY), {
      allowlist: [],
      match_names_by_ip: false,
      limits: { connections_per_client: 0, rate_per_client: 0, vsock_buffer_kib: 1024 },
      timeouts: { connect: 10_000, idle: 3_600_000, head: 10_000, reuse: 15_000, drain: 10_000 },
    });
    assert.deepEqual(settings(`${EMPTY}limits: {}\ntimeouts: {}`), settings(EMPTY));
  });

  test('durations are whole seconds or carry a unit, and 0 is allowed where it means never', () => {
    const { timeouts } = settings(`${EMPTY}timeouts: {connect: 500ms, idle: 0, head: 1, drain: "0"}`);
    assert.deepEqual(timeouts, { connect: 500, idle: 0, head: 1000, reuse: 15_000, drain: 0 });
    assert.deepEqual(settings(`${EMPTY}timeouts: {connect: 5, idle: 168h, head: 10s, drain: 5m}`).timeouts, {
      connect: 5000,
      idle: 604_800_000,
      head: 10_000,
      reuse: 15_000,
      drain: 300_000,
    });
  });

  test('the limits of limits', () => {
    assert.equal(settings(`${EMPTY}limits: {connections: 1}`).limits.connections, 1);
    assert.equal(settings(`${EMPTY}limits: {connections: 1000000}`).limits.connections, 1_000_000);
  });

  test('the forms that the AWS proxy takes: flow, block, JSON, quotes, comments, anchors, BOM, CRLF, document marks', () => {
    const expected = ['a.example 443'];
    for (const text of [
      'allowlist:\n- {address: a.example, port: 443}\n',
      'allowlist:\n  - address: a.example\n    port: 443',
      '{"allowlist": [{"address": "a.example", "port": 443}]}',
      "allowlist:\n- {address: 'a.example', port: 443} # why\n",
      'allowlist:\n- {address: a.example, port: &p 443}\n',
      '\ufeffallowlist:\r\n- {address: a.example, port: 443}\r\n',
      '%YAML 1.2\n---\nallowlist: [{address: a.example, port: 443}]\n...\n',
    ]) {
      assert.deepEqual(entries(text), expected, text);
    }
    assert.deepEqual(entries('allowlist:\n- &a {address: a, port: &p 1}\n- {address: b, port: *p}\n- *a'), [
      'a 1',
      'b 1',
      'a 1',
    ]);
  });

  test('addresses keep their text and become names, IP addresses and ranges', () => {
    const text =
      'allowlist:\n- {address: A.Example., port: 1}\n- {address: "::FFFF:10.0.0.1", port: 1}\n- {address: 10.0.0.0/8, port: 1}';
    assert.deepEqual(
      settings(text).allowlist?.map(({ address }) => [address.text, address.means.kind]),
      [
        ['A.Example.', 'name'],
        ['::FFFF:10.0.0.1', 'ip'],
        ['10.0.0.0/8', 'cidr'],
      ],
    );
  });
});
