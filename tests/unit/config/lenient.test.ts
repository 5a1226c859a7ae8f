/** The mistakes that the drop-in form ignores, and those that it does not. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type Ignored, inspectLeniently, type LenientFile } from '../../../src/config/lenient.ts';
import { inspectText } from '../../../src/config/load.ts';
import { globalPolicy } from '../../../src/config/partial-plan.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';

const GOOD = '- {address: a.example, port: 443}\n';

function read(text: string): LenientFile | readonly VsockProxyError[] {
  try {
    const file = inspectLeniently(text, 'f.yaml');
    return 'problems' in file ? file.problems : file;
  } catch (error) {
    assert(error instanceof VsockProxyError && error.code === 'config', String(error));
    return [error];
  }
}

function lenient(text: string): LenientFile {
  const file = read(text);
  assert('settings' in file, JSON.stringify(file));
  return file;
}

function isRefusedStrictly(text: string): boolean {
  try {
    return 'problems' in inspectText(text, 'f.yaml', 'proxy');
  } catch {
    return true;
  }
}

suite('refused all the same: nothing may be opened by a mistake', () => {
  for (const [name, text, says] of [
    ['a misspelt denylist', 'denylst:\n- address: b.example\n', /^denylst: unknown key .*did you mean denylist/],
    ['two letters off', 'denilyst: []\n', /^denilyst: unknown key/],
    ['other letters, other case', 'DenyList: []\n', /^DenyList: unknown key/],
    ['a key of the file with a hyphen', 'deny-list: []\n', /^deny-list: unknown key/],
    ['misspelt limits', 'limit: {connections: 4}\n', /^limit: unknown key/],
    ['a key of ours at another place', 'connections_per_client: 4\n', /^connections_per_client: unknown key/],
    ['deny, which belongs below egress', 'deny: [b.example]\n', /^deny: unknown key/],
    ['a wrong entry of the denylist', 'denylist:\n- {address: "b example"}\n', /^denylist\[0\]\.address: /],
    ['an unknown key there', 'denylist:\n- {address: b.example, note: x}\n', /^denylist\[0\]\.note: unknown key/],
    ['an empty entry there', 'denylist:\n-\n', /denylist\[0\]: expected a map/],
    ['a limit out of range', 'limits: {connections: 0}\n', /^limits\.connections: 0 is outside/],
    ['a wrong listener', 'listeners:\n- {listen: "vsock:1"}\n', /^listeners\[0\]/],
    ['a tag in the denylist', 'denylist: !x\n- address: b.example\n', /^Bad yaml format: Unresolved tag: !x/],
    ['a tag in a key that may be it', 'denylst: !x []\n', /^Bad yaml format: Unresolved tag/],
    ['a tab in the denylist', 'denylist:\n- {address: b.example,\n\tport: 1}\n', /^Bad yaml format: a tab/],
    ['a second document with a denylist', '---\ndenylist:\n- address: a.example\n', /a second document begins/],
    ['… misspelt', '---\ndenylst: []\n', /a second document begins/],
    ['a second document that is no YAML', '---\n}\n', /^Bad yaml format: /],
    ['a NUL', '# \0\ndenylist:\n- address: a.example\n', /it contains "\\0"/],
    ['a NUL behind something harmless', '# \x01\n# \0\n', /it contains/],
    ['a key twice', 'x: 1\nx: 2\n', /stands twice/],
  ] as const) {
    test(name, () => {
      const [first] = read(`allowlist:\n${GOOD}${text}`) as readonly VsockProxyError[];
      assert.match(first?.line ?? 'it was read', says);
    });
  }

  for (const [entry, says] of [
    ['{address: b.example, port: 443, cids: []}', /cids: the list is empty/],
    ['{address: b.example, port: 443, cids: [x]}', /cids\[0\]: expected a whole number/],
    ['{address: b.example, port: 443, cid: [16]}', /cid: unknown key .*did you mean cids/],
    ['{address: b.example, port: 443, cdis: [16]}', /cdis: unknown key/],
    ['{address: b.example, port: 443, sources: [10.0.0.0/8]}', /sources: unknown key/],
    ['{adress: b.example, port: 443}', /address: missing .*rename "adress" to address/],
    ['{address: b.example, prot: 443}', /port: missing/],
  ] as const) {
    test(`the entry ${entry}`, () => {
      const [first] = read(`allowlist:\n${GOOD}- ${entry}\n`) as readonly VsockProxyError[];
      assert.match(first?.line ?? 'it was read', says);
    });
  }

  for (const [name, text, says] of [
    ['no allowlist', 'x: 1\n', /^No allowlist field: allowlist: missing/],
    ['no list', 'allowlist: a.example\n', /^No allowlist field: allowlist: expected a list/],
    ['no map', '- x\n', /^No allowlist field: expected a map/],
    ['nothing', '', /^No allowlist field/],
    ['an empty document first', '---\n---\nallowlist: []\n', /^No allowlist field|^Bad yaml format/],
  ] as const) {
    test(name, () => assert.match((read(text) as readonly VsockProxyError[])[0]?.line ?? 'it was read', says));
  }
});

suite('passed over: it is told with its line, and allows nothing', () => {
  for (const [kind, name, text, says] of [
    ['key', 'an unknown key', 'x: &e {y: 1}\n', /^x: unknown key \(f\.yaml:3\)\. Hint: the keys here are allowlist,/],
    ['syntax', 'a second document', '---\nx: 1\n', /^Bad yaml format: a second document begins \(f\.yaml:3\)\. Hint/],
    ['syntax', 'a second document with an allowlist', '---\nallowlist: [{address: b, port: 1}]\n', /a second document/],
    ['syntax', 'a trailing ---', '---\n', /a second document begins \(f\.yaml:3\)/],
    ['syntax', 'a control character in a comment', '# \x01\n', /it contains "\\u\{1\}" \(f\.yaml:3\)/],
    [
      'entry',
      'a URL',
      '- {address: "https://b.example/", port: 443}\n',
      /is a URL \(f\.yaml:3\)\. Hint: write the host only/,
    ],
    ['entry', 'a placeholder', '- {address: <domain>, port: 443}\n', /contains "<" \(f\.yaml:3\)\. Hint: /],
    ['entry', 'a host with its port', '- {address: "b.example:443", port: 443}\n', /includes a port \(f\.yaml:3\)/],
    ['entry', 'port 0', '- {address: b.example, port: 0}\n', /^No port field .* is outside 1–65535 \(f\.yaml:3\)/],
    ['entry', 'port 70000', '- {address: b.example, port: 70000}\n', /70000 is outside/],
    ['entry', 'a port in words', '- {address: b.example, port: https}\n', /expected a port/],
    ['entry', 'a port missing', '- {address: b.example}\n', /port: missing \(f\.yaml:3\)/],
    ['entry', 'an address missing', '- {port: 443}\n', /^No address field: allowlist\[1\]\.address: missing/],
    ['entry', 'an address of another type', '- {address: 1, port: 443}\n', /expected a host name/],
    ['entry', 'null', '-\n', /expected a map, found nothing \(f\.yaml:3\)/],
    ['entry', 'text', '- b.example:443\n', /expected a map, found "b\.example:443" \(f\.yaml:3\)/],
    ['entry', 'a merge key', '- {<<: {address: b.example}, port: 443}\n', /address: missing \(f\.yaml:3\)/],
    ['entry', 'an entry with an unknown key besides', '- {address: b.example, note: x}\n', /port: missing/],
  ] as const) {
    test(name, () => {
      const whole = `allowlist:\n${GOOD}${text}`;
      assert(isRefusedStrictly(whole), 'serve and check refuse it');
      const file = lenient(whole);
      assert.deepEqual(
        file.settings.allowlist?.map(({ address }) => address.text),
        ['a.example'],
      );
      assert.deepEqual(
        file.ignored.map((each: Ignored) => each.kind),
        [kind],
      );
      assert.match(file.ignored[0]?.problem.line ?? '', says);
      assert.match(file.ignored[0]?.problem.line ?? '', /\. Hint: ./);
    });
  }

  test('a key that is nearly one of a manifest of Enclaver, which means nothing here', () => {
    for (const key of ['note', 'nam', 'targets', 'apis']) {
      assert.deepEqual(lenient(`allowlist:\n${GOOD}${key}: x\n`).ignored.length, 1, key);
    }
  });

  test('a key that an entry may have for readers: the entry counts', () => {
    const file = lenient('allowlist:\n- {address: a.example, port: 443, description: KMS, owner: me}\n');
    assert.deepEqual(
      globalPolicy(file).allow.map(({ text, ports }) => [text, ports]),
      [['a.example', [443]]].map(([text]) => [text, globalPolicy(file).allow[0]?.ports]),
    );
    assert.deepEqual(
      file.ignored.map(({ kind }) => kind),
      ['key', 'key'],
    );
  });

  test('directives in front, a tag at an entry, a tab between brackets, a carriage return as the end of lines', () => {
    for (const [text, kinds] of [
      [`%YAML 1.3\n---\nallowlist:\n${GOOD}`, ['syntax']],
      [`%FOO bar\n---\nallowlist:\n${GOOD}`, ['syntax']],
      ['allowlist:\n- !!set {address: a.example, port: 443}\n', ['syntax']],
      ['allowlist:\n- {address: a.example,\n\tport: 443}\n', ['syntax']],
      [`allowlist:\n${GOOD}`.replaceAll('\n', '\r'), []],
    ] as const) {
      const file = lenient(text);
      assert.deepEqual(
        globalPolicy(file).allow.map((rule) => rule.text),
        ['a.example'],
        JSON.stringify(text),
      );
      assert.deepEqual(
        file.ignored.map(({ kind }) => kind),
        kinds,
      );
    }
  });

  test('the entries that are left keep their lines', () => {
    const file = lenient(`allowlist:\n-\n-\n${GOOD}- {address: x y, port: 1}\n- {address: b.example, port: 1}\n`);
    assert.deepEqual(
      globalPolicy(file).allow.map(({ text, place }) => `${text} ${place}`),
      ['a.example f.yaml:4', 'b.example f.yaml:6'],
    );
  });

  test('what stands behind aliases is told where they stand, and left out there alone', () => {
    const file = lenient(
      'x: &e {address: a.example, port: 443, note: x}\nallowlist:\n- *e\n- {address: *e, port: 1}\n',
    );
    assert.deepEqual(
      globalPolicy(file).allow.map(({ text }) => text),
      ['a.example'],
    );
  });

  test('of thousands of mistakes the first hundred are told', () => {
    const { ignored, more } = lenient(`allowlist:\n${GOOD}${'-\n'.repeat(3000)}`);
    assert.deepEqual([ignored.length, more], [100, 2900]);
  });

  test('a file without mistakes is what it is for everyone', () => {
    const text = `allowlist:\n${GOOD}denylist:\n- address: b.example\nlimits: {connections: 7}\n`;
    const strict = inspectText(text, 'f.yaml', 'proxy');
    assert('settings' in strict);
    assert.deepEqual(lenient(text).settings, strict.settings);
    assert.deepEqual(lenient(text).ignored, []);
  });
});
