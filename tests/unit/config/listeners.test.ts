import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { FilePurpose } from '../../../src/config/checks/exclusive-keys.ts';
import { inspectText } from '../../../src/config/load.ts';

/** Every problem, as `line: text`. */
function problems(text: string, purpose: FilePurpose = 'serve'): readonly string[] {
  const loaded = inspectText(text, 'f.yaml', purpose);
  if (!('problems' in loaded)) return [];
  return loaded.problems.map(
    ({ place, message, hint }) => `${place?.replace('f.yaml:', '')}: ${message}. Hint: ${hint}`,
  );
}

/** The problems with a listener on a unix socket that has an allowlist and these further keys. */
function listener(more: string, listen = 'vsock:8000'): string {
  return `allowlist: [{address: a.example, port: 443}]\nlisteners:\n- {listen: "${listen}", ${more}}\n`;
}

suite('a listener that is refused', () => {
  for (const [name, text, ...expected] of [
    ['that is nothing', 'listeners:\n- \n', '2: listeners[0]: expected a map, found nothing'],
    ['without keys', 'listeners:\n- {}\n', '2: listeners[0].listen: missing'],
    [
      'with neither connect nor route',
      'listeners:\n- listen: vsock:8000\n',
      '2: listeners[0]: neither connect nor route. Hint: say where',
    ],
    [
      'with a misspelt key, which is the whole problem',
      'alowlist: []\nlisteners:\n- {listen: "vsock:8000", conect: "a.example:443"}\n',
      '1: alowlist: unknown key. Hint: did you mean allowlist?',
      '3: listeners[0].conect: unknown key. Hint: did you mean connect?',
    ],
    [
      'whose entry has a placeholder',
      'allowlist:\n- {address: "kms.${region}.amazonaws.com", port: 443}\nlisteners: []\n',
      '2: allowlist[0].address: "kms.${region}.amazonaws.com" has a placeholder. Hint: only connect may have one; a pattern',
    ],
    [
      'with both connect and route',
      listener('connect: "a.example:443", route: http'),
      '3: listeners[0].route: it excludes connect. Hint: keep connect for one server',
    ],
    [
      'with an unknown route',
      listener('route: https'),
      '3: listeners[0].route: expected http, sni or log, found "https". Hint: did you mean http?',
    ],
    [
      'with a port beside connect',
      listener('connect: "a.example:443", port: 443'),
      '3: listeners[0].port: only route: sni',
    ],
    [
      'with a port beside route: http',
      listener('route: http, port: 443'),
      '3: listeners[0].port: only route: sni has a port',
    ],
    [
      'with starttls beside route: http',
      listener('route: http, starttls: postgres'),
      '3: listeners[0].starttls: only route: sni looks for TLS',
    ],
    [
      'with a starttls that is none',
      listener('route: sni, starttls: mysql'),
      '3: listeners[0].starttls: expected postgres, found "mysql"',
    ],
    [
      'with a port that is none',
      listener('route: sni, port: 65536'),
      '3: listeners[0].port: port 65536 is outside 1–65535',
    ],
    [
      'with the PROXY protocol for whom a client asks for',
      listener('route: sni, proxy_protocol: v2'),
      'only the server of connect',
    ],
    [
      'with version 1 of the PROXY protocol',
      listener('connect: "a.example:443", proxy_protocol: v1'),
      'expected v2, found "v1"',
    ],
    [
      'with cids over TCP',
      listener('route: http, cids: [16]', 'tcp:127.0.0.1:80'),
      '.cids: only clients over vsock have a CID',
    ],
    [
      'with cids on a unix socket',
      listener('route: http, cids: [16]', 'unix:/x'),
      '.cids: only clients over vsock have a CID',
    ],
    ['with no cids', listener('route: http, cids: []'), '3: listeners[0].cids: the list is empty'],
    ['with CIDs in words', listener('route: http, cids: [local]'), 'cids[0]: expected a whole number, found "local"'],
    [
      'with the CID of everybody',
      listener('route: http, cids: [4294967295]'),
      'cids[0]: 4294967295 is outside 0–4294967294',
    ],
    [
      'with sources over vsock',
      listener('route: http, sources: [10.0.0.0/8]'),
      '.sources: only clients over TCP have a source',
    ],
    [
      'with sources on a unix socket',
      listener('route: http, sources: [10.0.0.0/8]', 'unix:/x'),
      '.sources: only clients over TCP',
    ],
    [
      'with a name as source',
      listener('route: http, sources: [a.example]', 'tcp:0.0.0.0:80'),
      'sources[0]: "a.example" is not a range',
    ],
    [
      'with a pattern as source',
      listener('route: http, sources: ["*.example"]', 'tcp:0.0.0.0:80'),
      'is not a range of addresses',
    ],
    [
      'with cids in an entry that no client can have',
      listener('route: http, allowlist: [{address: a, port: 1, cids: [16]}]', 'tcp:127.0.0.1:80'),
      'listeners[0].allowlist[0].cids: only clients over vsock',
      'the entry could never apply',
    ],
    [
      'with an allowlist for an address',
      listener('connect: "vsock:16:80", allowlist: []'),
      '.allowlist: it decides nothing here',
    ],
    [
      'with a denylist for an address',
      listener('connect: "unix:/x", denylist: []'),
      '.denylist: it decides nothing here',
    ],
    [
      'with a family for an address',
      listener('connect: "unix:/x", ip_family: ipv4'),
      '.ip_family: it decides nothing here',
    ],
    [
      'with the other family',
      listener('connect: "10.0.0.1:80", ip_family: ipv6'),
      '.ip_family: the address of connect is of the other',
    ],
    ['with a family that is none', listener('route: http, ip_family: 4'), 'expected any, ipv4 or ipv6, found 4'],
    [
      'with a deadline for a head that nobody reads',
      listener('connect: "a.example:443", timeouts: {head: 1s}'),
      '.timeouts.head: nothing is read',
    ],
    [
      'with a drain of its own',
      listener('route: http, timeouts: {drain: 1s}'),
      '.timeouts.drain: unknown key. Hint: the keys here are connect, idle, head',
    ],
    [
      'with a limit below none',
      listener('route: http, limits: {rate_per_client: -1}'),
      '.limits.rate_per_client: -1 is outside 0–1000000',
    ],
    [
      'without any allowlist',
      'listeners:\n- {listen: "vsock:8000", route: http}\n',
      '2: listeners[0]: no allowlist says what may be reached',
    ],
    [
      'without any allowlist, though it denies',
      'denylist: []\nlisteners:\n- {listen: "vsock:8000", connect: "a:1", denylist: []}\n',
      '3: listeners[0]: no allowlist',
    ],
  ] as const) {
    test(`${name}: ${expected[0].slice(0, 60)}`, () => {
      const told = problems(text);
      for (const part of expected)
        assert(
          told.some((line) => line.includes(part)),
          told.join('\n'),
        );
    });
  }
});

suite('an address to listen on that is refused', () => {
  for (const [text, says] of [
    ['8000', 'is not an address to listen on. Hint: write vsock:8000'],
    ['', 'is not an address to listen on. Hint: write vsock:PORT'],
    ['localhost:8000', 'is not an address to listen on'],
    ['VSOCK:8000', 'is not an address to listen on'],
    ['127.0.0.1:8000', 'is not an address to listen on. Hint: write tcp:127.0.0.1:8000'],
    ['[::1]:8000', 'is not an address to listen on. Hint: write tcp:[::1]:8000'],
    ['/run/a.sock', 'is not an address to listen on. Hint: write "unix:/run/a.sock"'],
    ['vsock:', 'is not a vsock address'],
    ['vsock:http', 'is not a vsock address'],
    ['vsock:3:4:5', 'is not a vsock address'],
    ['vsock:-1', 'is not a vsock address'],
    ['vsock:any', 'is not a vsock address'],
    ['vsock:4294967295:8000', 'is not a vsock address'],
    ['vsock:3', '3 is outside 4–4294967294. Hint: a CID stands in front of the port: vsock:3:8000'],
    ['vsock:3:0', '0 is outside 4–4294967294'],
    ['vsock:4294967295', 'means any port to the kernel'],
    ['vsock:4294967296', 'is outside 4–4294967294. Hint: vsock ports are 32-bit'],
    ['tcp:8000', 'has no IP address'],
    ['tcp:localhost:8000', 'has no IP address'],
    ['tcp:127.0.0.1', 'has no port from 1 to 65535'],
    ['tcp:::1:80', 'has no IP address'],
    ['tcp:[10.0.0.1]:80', 'has no IP address'],
    ['tcp:10.0.0.1:0', 'has no port from 1 to 65535'],
    ['tcp:10.0.0.1:65536', 'has no port from 1 to 65535'],
    ['unix:', 'no path after unix:'],
    ['unix:x.sock', 'does not begin with /'],
    ['unix:@abstract', 'does not begin with /'],
    [`unix:/${'a'.repeat(107)}`, 'is longer than 107'],
    ['unix:/\\0', 'contains a NUL'],
    ['systemd:', 'has no name of a socket'],
    ['systemd:a:b', 'has no name of a socket'],
    ['systemd:a b', 'has no name of a socket'],
    [`systemd:${'a'.repeat(256)}`, 'has no name of a socket'],
  ] as const) {
    test(`${text.slice(0, 40)}: ${says.slice(0, 60)}`, () => {
      const [first = 'it was taken'] = problems(listener('route: http', text));
      assert(first.startsWith('3: listeners[0].listen: ') && first.includes(says), first);
    });
  }
  test('a number is most likely a vsock port', () => {
    const [first] = problems('allowlist: []\nlisteners: [{listen: 8000, route: http}]\n');
    assert.match(first ?? '', /Hint: write vsock:8000$/);
  });
});

suite('an address to connect to that is refused', () => {
  for (const [text, says] of [
    ['a.example', 'is not HOST:PORT. Hint: write HOST:PORT, vsock:CID:PORT or unix:PATH'],
    ['a.example:', 'has no port from 1 to 65535'],
    ['a.example:https', 'has no port from 1 to 65535'],
    ['a.example:0', 'has no port from 1 to 65535'],
    ['a.example:65979', 'has no port from 1 to 65535'],
    [':443', 'is not HOST:PORT'],
    ['::1:443', 'is not HOST:PORT. Hint: write "[::1:443]:443"'],
    ['2001:db8::1', 'is not HOST:PORT. Hint: write "[2001:db8::1]:443"'],
    ['[a.example]:443', 'is not HOST:PORT'],
    ['127.1:443', '"127.1" is another spelling of 127.0.0.1'],
    ['*.example:443', 'is a pattern'],
    ['https://a.example:443', 'is a URL'],
    ['tcp:10.0.0.1:443', 'is not an address to connect to. Hint: write 10.0.0.1:443'],
    ['tcp:[::1]:443', 'is not an address to connect to. Hint: write "[::1]:443"'],
    ['tcp:a.example:443', 'is not an address to connect to. Hint: write HOST:PORT'],
    ['systemd:kms', 'is not an address to connect to'],
    ['vsock:80', 'is not a vsock address to connect to'],
    ['vsock:any:80', 'is not a vsock address to connect to'],
    ['vsock:16:0', 'is not a vsock address to connect to'],
    ['vsock:16:4294967295', 'is not a vsock address to connect to'],
    ['vsock:4294967295:80', 'is not a vsock address to connect to'],
    ['unix:x', 'does not begin with /'],
    [
      'kms.${regoin}.amazonaws.com:443',
      'nothing is known of "${regoin}". Hint: the placeholders are ${region} and ${domain}',
    ],
    ['kms.${}.amazonaws.com:443', 'nothing is known of "${}"'],
    ['${constructor}:443', 'nothing is known of "${constructor}"'],
    ['${__proto__}:443', 'nothing is known of "${__proto__}"'],
    ['kms.${region.amazonaws.com:443', 'contains "$"'],
    ['kms.a.example:${region}', 'has no port from 1 to 65535'],
  ] as const) {
    test(`${text}: ${says.slice(0, 60)}`, () => {
      const [first = 'it was taken'] = problems(listener(`connect: "${text}"`));
      assert(first.startsWith('3: listeners[0].connect: ') && first.includes(says), first);
    });
  }
});

suite('an address that is listened on twice is an error that names both lines', () => {
  const two = (one: string, other: string) =>
    `allowlist: []\nlisteners:\n- {listen: "${one}", route: http}\n- {listen: "${other}", route: sni}\n`;
  for (const [one, other] of [
    ['vsock:8000', 'vsock:3:8000'],
    ['vsock:any:8000', 'vsock:16:8000'],
    ['vsock:1:8000', 'vsock:any:8000'],
    ['vsock:local:8000', 'vsock:1:8000'],
    ['tcp:127.0.0.1:80', 'tcp:0.0.0.0:80'],
    ['tcp:[::]:80', 'tcp:[::1]:80'],
    ['tcp:[::0001]:80', 'tcp:[::1]:80'],
    ['unix:/x', 'unix:/x'],
    ['systemd:a', 'systemd:a'],
  ] as const) {
    test(`${one} and ${other}`, () => {
      const [first, ...others] = problems(two(one, other));
      assert.match(
        first ?? '',
        /^4: listeners\[1\]\.listen: ".*" is taken already by listeners\[0\]\.listen: .* \(f\.yaml:3\)/,
      );
      assert.deepEqual(others, []);
    });
  }
  for (const [one, other] of [
    ['vsock:8000', 'vsock:8001'],
    ['vsock:3:8000', 'vsock:1:8000'],
    ['tcp:127.0.0.1:80', 'tcp:127.0.0.2:80'],
    ['tcp:0.0.0.0:80', 'tcp:[::]:80'],
    ['unix:/x', 'unix:/y'],
  ] as const) {
    test(`not ${one} and ${other}`, () => assert.deepEqual(problems(two(one, other)), []));
  }

  test('egress and ingress count', () => {
    const text =
      'allowlist: []\nlisteners:\n- {listen: "vsock:10000", route: http}\n- {listen: "tcp:10.0.0.1:443", route: sni}\n' +
      'egress:\n  allow: [a.example]\ningress:\n- listen_port: 443\n- listen_port: 444\n- listen_port: "444"\n';
    assert.deepEqual(
      problems(text).map((line) => line.replace(/\. Hint.*/, '')),
      [
        '5: egress.proxy_port: "vsock:3:10000" is taken already by listeners[0].listen: vsock:3:10000 (f.yaml:3)',
        '8: ingress[0].listen_port: "tcp:0.0.0.0:443" is taken already by listeners[1].listen: tcp:10.0.0.1:443 (f.yaml:4)',
        '10: ingress[2].listen_port: "tcp:0.0.0.0:444" is taken already by ingress[1].listen_port: tcp:0.0.0.0:444 (f.yaml:9)',
      ],
    );
  });
});

suite('egress and ingress, refused', () => {
  for (const [name, text, expected] of [
    [
      'TLS',
      'ingress:\n- listen_port: 443\n  tls:\n    key_file: k.pem\n',
      '3: ingress[0].tls: TLS is never decrypted here',
    ],
    ['no port', 'ingress: [{}]', 'ingress[0].listen_port: missing'],
    [
      'a map that imitates a port',
      'ingress: [{listen_port: {toString: 1, valueOf: 2}}]',
      'listen_port: expected a port',
    ],
    ['port 0', 'ingress: [{listen_port: 0}]', 'port 0 is outside 1–65535'],
    [
      'an unknown key',
      'egress: {alow: []}\ningress: [{listen_port: 1}]',
      'egress.alow: unknown key. Hint: did you mean allow?',
    ],
    ['a number to allow', 'egress: {allow: [16]}', 'egress.allow[0]: expected a host name'],
    [
      'a numeric spelling to deny',
      'egress: {allow: [a], deny: ["2130706433"]}',
      'egress.deny[0]: "2130706433" is another spelling',
    ],
    [
      'a pattern in a label',
      'egress: {allow: ["foo*.example"]}',
      'egress.allow[0]: "foo*.example" has a "*" within the label',
    ],
    ['a map to allow', 'egress: {allow: [{address: a, port: 1}]}', 'egress.allow[0]: expected a host name'],
    [
      'a port of the proxy that is too large',
      'egress: {allow: [a], proxy_port: 65536}',
      'egress.proxy_port: 65536 is outside 4–65535',
    ],
  ] as const) {
    test(name, () => {
      const told = problems(text);
      assert(
        told.some((line) => line.includes(expected)),
        told.join('\n'),
      );
    });
  }
});

suite('a file with nothing to do', () => {
  for (const [name, text, purpose, expected] of [
    ['for serve: rules alone', 'allowlist: []', 'serve', '1: nothing to listen on. Hint: serve needs listeners'],
    [
      'for serve: no entries',
      'limits: {}\nlisteners: []\n',
      'serve',
      '2: listeners: nothing to listen on: listeners without an entry',
    ],
    [
      'for serve: a misspelt section, which is the whole problem',
      'allowlist: []\nlistners: []',
      'serve',
      '2: listners: unknown key. Hint: did you mean listeners?',
    ],
    ['for serve: egress that allows nothing', 'egress: {deny: [a]}', 'serve', 'egress: nothing to listen on'],
    ['for anybody: denials alone', 'denylist: []', 'any', '1: No allowlist field: allowlist: missing'],
    [
      'for the form of the AWS proxy: listeners alone',
      'listeners: []',
      'proxy',
      '1: No allowlist field: allowlist: missing',
    ],
  ] as const) {
    test(name, () => {
      const [first = 'it was taken'] = problems(text, purpose);
      assert(first.includes(expected), first);
    });
  }
});

test('all problems are told, in the order of their lines, of every kind at once', () => {
  const text = `# services
allow_list: []
denylist:
- {adress: a, port: 0}
- address: 10.0.0.0/33
listeners:
- listen: vsock:8000
  connect: a.example
  port: 443
- {listen: "vsock:any:8000", connect: "vsock:16:80", ip_family: ipv5}
ingress:
- {listen_port: 443, tls: {}}
limits: {connections: many}
`;
  const told = problems(text).map((line) => line.slice(0, line.indexOf('. Hint: ')));
  assert.deepEqual(told, [
    '2: allow_list: unknown key',
    '4: No address field: denylist[0].address: missing',
    '4: No port field or invalid type: denylist[0].port: port 0 is outside 1–65535',
    '5: denylist[1].address: "10.0.0.0/33" is not a range of addresses',
    '8: listeners[0].connect: "a.example" is not HOST:PORT',
    '9: listeners[0].port: only route: sni has a port of its own',
    '10: listeners[1].ip_family: it decides nothing here: connect leads to a vsock or unix address',
    '10: listeners[1].listen: "vsock:any:8000" is taken already by listeners[0].listen: vsock:3:8000 (f.yaml:7)',
    '10: listeners[1].ip_family: expected any, ipv4 or ipv6, found "ipv5"',
    '12: ingress[0].tls: TLS is never decrypted here: it passes untouched to the enclave, which ends it',
    '13: limits.connections: expected a whole number, found "many"',
  ]);
});
