import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { parseCheckCommand, runCheck } from '../../../src/commands/check/check.ts';
import type { ResolveName } from '../../../src/commands/check/judge.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';
import { ip } from '../access/fixture.ts';

const directory = mkdtempSync(join(tmpdir(), 'vsock-proxy-check-'));
after(() => rmSync(directory, { recursive: true }));
const path = join(directory, 'f.yaml');

/** The addresses of names; without addresses, the look-up fails. */
type Names = Readonly<Record<string, readonly string[]>>;

async function check(text: string, argv: readonly string[], names: Names = {}) {
  writeFileSync(path, text);
  const parsed = parseCheckCommand([...argv, '--config', path]);
  assert(parsed.kind === 'run');
  const resolveName: ResolveName = (name) => {
    assert(argv.includes('--resolve'), 'nothing is resolved unasked');
    const addresses = names[name];
    if (addresses !== undefined) return Promise.resolve(addresses.map(ip));
    return Promise.reject(new VsockProxyError('resolve-failed', `Could not resolve ${name}`, { errno: 'ETIMEOUT' }));
  };
  const readPlacement = () => {
    assert(argv.includes('--resolve'), 'the metadata service is not asked unasked');
    return Promise.resolve({ region: 'eu-west-1', domain: 'amazonaws.com' });
  };
  const { text: output, exitStatus } = await runCheck(parsed.arguments, { resolveName, readPlacement });
  return { lines: output.replaceAll(`${directory}/`, '').trimEnd().split('\n'), exitStatus };
}

async function json(text: string, argv: readonly string[], names?: Names) {
  const { lines, exitStatus } = await check(text, [...argv, '--json'], names);
  assert.equal(lines.length, 1);
  return { exitStatus, ...JSON.parse(lines[0] ?? '') };
}

const RULES =
  'allowlist:\n- {address: a.example, port: 443}\n- {address: 10.0.0.0/8, port: 5432}\ndenylist:\n- address: "*.evil.example"\n';
const SERVE = `allowlist:
- {address: "*.a.example", port: 443}
- {address: b.example, port: 443, cids: [16]}
denylist:
- {address: secret.a.example, cids: [17]}
listeners:
- {listen: "vsock:8000", connect: "x.a.example:443"}
- {listen: "vsock:8001", route: http}
- {listen: "tcp:127.0.0.1:443", route: sni}
- {listen: "vsock:8002", route: http, cids: [18], allowlist: [{address: c.example, port: 80}]}
- {listen: "vsock:8003", connect: "kms.\${region}.a.example:443", allowlist: [{address: "kms.*.a.example", port: 443}]}
ingress:
- listen_port: 8443
`;

describe('a command line that cannot be understood', () => {
  for (const [argv, says] of [
    [['a'], "missing argument 'port' behind the host"],
    [['a', '1', 'x'], 'too many arguments'],
    [['127.1', '1'], 'the host is not valid: "127.1" is another spelling of 127.0.0.1'],
    [['*.a', '1'], 'the host is not valid: "*.a" is a pattern'],
    [['', '1'], 'the host is not valid'],
    [['a', '0'], 'the port is not valid: "0"'],
    [['a', '65979'], 'the port is not valid: "65979"'],
    [['a', 'https'], 'the port is not valid: "https"'],
    [['--cid', '16'], "option '--cid' goes with a host and a port"],
    [['--listener', 'vsock:8000'], "option '--listener' goes with a host and a port"],
    [['a', '1', '--cid', 'x'], "option '--cid' wants a number from 0 to 4294967294"],
    [['a', '1', '--cid', '4294967295'], "option '--cid' wants a number"],
    [['a', '1', '--listener', '8000'], 'option \'--listener\': "8000" is not an address to listen on'],
    [['--enclave-cid', '0'], "option '--enclave-cid' wants a number from 1 to 4294967294"],
    [['--nope'], "unknown option '--nope'"],
  ] as const) {
    it(argv.join(' '), () => {
      assert.throws(
        () => parseCheckCommand(argv),
        (error) => error instanceof VsockProxyError && error.code === 'usage' && error.message.startsWith(says),
      );
    });
  }

  it('a file without --config in front, and nothing else', () => {
    const hintOf = (argv: readonly string[]) => {
      try {
        parseCheckCommand(argv);
      } catch (error) {
        return error instanceof VsockProxyError ? error.hint : undefined;
      }
      return undefined;
    };
    const hint = 'the file is the value of an option: --config "my.yaml"';
    assert.equal(hintOf(['my.yaml']), hint);
    assert.equal(hintOf(['my.yaml', 'a.example', '443']), hint);
    assert.equal(hintOf(['a.example']), undefined);
    assert.equal(hintOf(['--config', 'my.yaml', 'a.example']), undefined);
  });

  it('a listener that the file does not have', async () => {
    await assert.rejects(check(SERVE, ['a', '1', '--listener', 'vsock:9']), /no listener of the file is at vsock:3:9/);
    await assert.rejects(check(RULES, ['a', '1', '--listener', 'vsock:9']), /no listener of the file/);
  });
});

describe('a file that is not valid', () => {
  const BAD = 'allowlist:\n- {address: a, port: 0}\n- {address: "\\e[31m", port: 1}\nlisteners: []\nfoo: 1\n';

  it('is status 1, with every problem on a line of its own', async () => {
    const { lines, exitStatus } = await check(BAD, []);
    assert.equal(exitStatus, 1);
    assert.match(lines[0] ?? '', /^f\.yaml:2: No port field or invalid type: allowlist\[0\]\.port: port 0 .*\. Hint: /);
    assert.match(lines[1] ?? '', /^f\.yaml:3: allowlist\[1\]\.address: "\\u\{1b\}\[31m" contains/);
    assert.match(lines[2] ?? '', /^f\.yaml:5: foo: unknown key\. Hint: /);
    assert.deepEqual(lines.slice(3), ['3 problems', 'as the drop-in form reads it: 2 entries, 1 key ignored']);
  });

  it('has no verdict on a target but that of the drop-in form', async () => {
    const { exitStatus, ...report } = await json(BAD, ['a', '1']);
    assert.equal(exitStatus, 1);
    assert.deepEqual(Object.keys(report), ['config', 'valid', 'problems', 'more', 'listeners', 'enclave', 'drop_in']);
    assert.deepEqual(
      report.drop_in.ignored.map(({ kind, place }: { kind: string; place: string }) => `${kind} ${place}`),
      ['entry f.yaml:2', 'entry f.yaml:3', 'key f.yaml:5'],
    );
    assert.equal(report.drop_in.verdict, 'denied');
    assert.equal(report.valid, false);
    assert.deepEqual(
      report.problems.map(({ place }: { place: string }) => place),
      ['f.yaml:2', 'f.yaml:3', 'f.yaml:5'],
    );
    assert.equal(report.problems[2].hint.startsWith('the keys here are'), true);
  });

  it('the drop-in form allows what its entries that are right allow, or refuses the file, too', async () => {
    const good = '- {address: b.example, port: 443}\n';
    const { lines, exitStatus } = await check(BAD.replace('listeners', `${good}listeners`), ['b.example', '443']);
    assert.equal(exitStatus, 1, 'serve refuses it');
    assert.deepEqual(lines.slice(4), [
      'as the drop-in form reads it: 2 entries, 1 key ignored',
      'b.example:443: allowed',
      '  the rules of the file: allowed by b.example (f.yaml:4)',
    ]);
    const refused = await check(`${BAD}denylst: []\n`, ['b.example', '443']);
    assert.equal(refused.lines.at(-1), 'as the drop-in form reads it: refused');
    assert.equal((await json(`${BAD}denylst: []\n`, [])).drop_in, null);
  });

  it('because a route is denied to everybody', async () => {
    const { lines, exitStatus } = await check(
      `${RULES}listeners: [{listen: "vsock:8000", connect: "b.example:443"}]\n`,
      [],
    );
    assert.equal(exitStatus, 1);
    assert.match(lines[0] ?? '', /^f\.yaml:6: listeners\[0\]\.connect: The given address and port are not allowed/);
  });

  it('because the credentials of its upstream proxy are bad', async () => {
    const credentials = join(directory, 'credentials');
    const text = `upstream_proxy: http://p.example:1\nupstream_proxy_credentials: ${credentials}\n${SERVE}`;
    const absent = await json(text, ['a.example', '443']);
    assert.deepEqual([absent.exitStatus, absent.valid, absent.drop_in], [1, false, null]);
    assert.deepEqual(
      absent.problems.map(({ place }: { place: string }) => place),
      ['f.yaml:2'],
    );
    assert.match(absent.problems[0].hint, /^create it/);
    writeFileSync(credentials, 'user:password', { mode: 0o644 });
    assert.match(
      (await check(text, [])).lines[0] ?? '',
      /^f\.yaml:2: upstream_proxy_credentials: credentials: its mode is 0644: .*\. Hint: chmod 0400 /,
    );
    rmSync(credentials);
  });

  it('because it is none, or not there', async () => {
    assert.match((await check('allowlist: [', [])).lines[0] ?? '', /^f\.yaml:1: Bad yaml format/);
    const { lines, exitStatus } = await check('', []);
    assert.match(lines[0] ?? '', /^f\.yaml:1: No allowlist field/);
    assert.equal(exitStatus, 1);
    const parsed = parseCheckCommand(['--config', join(directory, 'absent.yaml')]);
    assert(parsed.kind === 'run');
    const unused = () => assert.fail('nobody is asked');
    const absent = await runCheck(parsed.arguments, { resolveName: unused, readPlacement: unused });
    assert.match(absent.text, /absent\.yaml: Could not open the file: ENOENT/);
    assert.equal(absent.exitStatus, 1);
  });

  it('says how many problems it does not show', async () => {
    const { lines } = await check(
      `allowlist: []\n${Array.from({ length: 130 }, (_, index) => `k${index}: 1\n`).join('')}`,
      [],
    );
    assert.equal(lines.length, 102);
    assert.equal(lines[100], '130 problems, 30 of them not shown');
    assert.equal(lines[101], 'as the drop-in form reads it: 100 keys, 30 more ignored');
  });
});

describe('a target that is denied is status 1', () => {
  for (const [name, text, argv, ...expected] of [
    [
      'not listed',
      RULES,
      ['b.example', '443'],
      'b.example:443: denied',
      'the rules of the file: denied: no entry of the allowlist',
    ],
    [
      'not listed by egress, whatever the allowlist has',
      'egress: {allow: [localhost]}\nallowlist: [{address: foo.example, port: 443}]',
      ['foo.example', '443'],
      'vsock:3:10000: denied: no entry of egress.allow matches foo.example on port 443. ' +
        'Hint: if it is to be reached, add this line to egress.allow: - foo.example',
    ],
    ['for another port', RULES, ['a.example', '80'], 'a.example is listed for port 443 (f.yaml:2)'],
    ['by a rule', RULES, ['x.evil.example', '443'], 'is denied by *.evil.example (f.yaml:5)'],
    [
      'to this client',
      SERVE,
      ['secret.a.example', '443', '--cid', '17'],
      'vsock:3:8001, CID 17: denied:',
      'to CID 17 by secret.a.example (f.yaml:5)',
    ],
    [
      'to a client that may not connect',
      SERVE,
      ['c.example', '80', '--cid', '16'],
      'vsock:3:8002, CID 16: denied: only CID 18 may connect',
    ],
    [
      'by the listener that is asked',
      SERVE,
      ['c.example', '80', '--listener', 'vsock:8001'],
      'vsock:3:8001: denied: no entry',
    ],
    [
      'by a listener that leads elsewhere',
      SERVE,
      ['b.example', '443', '--listener', 'vsock:8000'],
      'no listener that such a client can use leads there',
    ],
    [
      'by TLS names on another port',
      SERVE,
      ['z.a.example', '80', '--listener', 'tcp:127.0.0.1:443'],
      'no listener that such a client',
    ],
    [
      'by TLS names, as an address',
      SERVE,
      ['10.0.0.1', '443', '--listener', 'tcp:127.0.0.1:443'],
      'no listener that such a client',
    ],
    [
      'by TCP, for a client with a CID',
      SERVE,
      ['z.a.example', '443', '--listener', 'tcp:127.0.0.1:443', '--cid', '16'],
      'no listener that such a client',
    ],
  ] as const) {
    it(name, async () => {
      const { lines, exitStatus } = await check(text, argv);
      assert.equal(exitStatus, 1);
      assert.match(lines[0] ?? '', /: denied$/);
      for (const part of expected) assert(lines.join('\n').includes(part), lines.join('\n'));
    });
  }

  it('by what its name resolves to, address by address', async () => {
    const { lines, exitStatus } = await check(RULES, ['a.example', '443', '--resolve'], {
      'a.example': ['169.254.169.254', '::1'],
    });
    assert.equal(exitStatus, 1);
    assert.match(lines[1] ?? '', /denied: none of the addresses of a\.example may be used/);
    assert.deepEqual(lines.slice(2), [
      '    a.example: resolves to 169.254.169.254, ::1',
      '    169.254.169.254: refused, as it is a link-local address, where the instance metadata service lives',
      '    ::1: refused, as it is a loopback address',
    ]);
  });
});

describe('what takes names to be resolved is undecided without --resolve, and status 1', () => {
  for (const [name, text, argv, expected] of [
    [
      'a name that may lead to a listed range',
      RULES,
      ['x.example', '5432'],
      'undecided: no entry lists the name, but addresses are listed for port 5432',
    ],
    [
      'an address that a listed name may lead to',
      RULES,
      ['192.0.2.1', '443'],
      'undecided: no entry lists the address, but names are listed for port 443',
    ],
    [
      'a region that is not known',
      SERVE,
      ['kms.eu-west-1.a.example', '443', '--listener', 'vsock:8003'],
      'undecided: it connects to kms.${region}.a.example',
    ],
  ] as const) {
    it(name, async () => {
      const { lines, exitStatus } = await check(text, argv);
      assert.equal(exitStatus, 1);
      assert.match(lines[0] ?? '', /: undecided$/);
      assert(lines[1]?.includes(expected) && lines[1].includes('Hint: --resolve'), lines[1]);
    });
  }

  it('and with it, if they cannot be resolved', async () => {
    const { lines, exitStatus } = await check(RULES, ['x.example', '5432', '--resolve']);
    assert.equal(exitStatus, 1);
    assert.match(lines[1] ?? '', /undecided: Could not resolve x\.example/);
  });

  it('and with it, they are decided', async () => {
    const names = { 'x.example': ['10.1.2.3'], 'y.example': ['11.0.0.1'], 'a.example': ['192.0.2.1'] };
    for (const [host, port, verdict] of [
      ['x.example', '5432', 'allowed by 10.0.0.0/8 (f.yaml:3)'],
      ['y.example', '5432', 'denied: none of the addresses of y.example may be used'],
      ['192.0.2.1', '443', 'allowed by a.example (f.yaml:2)'],
      ['192.0.2.2', '443', 'denied: no entry of the allowlist'],
    ] as const) {
      const { lines, exitStatus } = await check(RULES, [host, port, '--resolve'], names);
      assert(lines[1]?.includes(verdict), lines[1]);
      assert.equal(exitStatus, verdict.startsWith('allowed') ? 0 : 1);
    }
  });
});

describe('a target that is allowed is status 0', () => {
  it('by the rules of a file without listeners', async () => {
    assert.deepEqual(await check(RULES, ['A.Example.', '443']), {
      lines: ['a.example:443: allowed', '  the rules of the file: allowed by a.example (f.yaml:2)'],
      exitStatus: 0,
    });
  });

  it('through one listener, whatever the others say', async () => {
    assert.deepEqual(await check(SERVE, ['c.example', '80']), {
      lines: [
        'c.example:80: allowed',
        '  vsock:3:8001: denied: no entry of the allowlist matches c.example on port 80',
        '  vsock:3:8002: allowed by c.example (f.yaml:10)',
      ],
      exitStatus: 0,
    });
  });

  it('by fixed, HTTP and TLS listeners', async () => {
    const { lines } = await check(SERVE, ['x.a.example', '443']);
    assert.deepEqual(lines, [
      'x.a.example:443: allowed',
      '  vsock:3:8000: allowed by *.a.example (f.yaml:2)',
      '  vsock:3:8001: allowed by *.a.example (f.yaml:2)',
      '  tcp:127.0.0.1:443: allowed by *.a.example (f.yaml:2)',
      '  vsock:3:8002: allowed by *.a.example (f.yaml:2)',
    ]);
  });

  it('to some clients: those are told apart', async () => {
    const { lines } = await check(SERVE, ['b.example', '443', '--listener', 'vsock:8001']);
    assert.match(lines[1] ?? '', /vsock:3:8001: denied: b\.example is listed for CID 16 \(f\.yaml:3\)/);
    assert.equal(lines[2], '  vsock:3:8001, CID 16: allowed by b.example (f.yaml:3)');
    const secret = await check(SERVE, ['secret.a.example', '443', '--listener', 'vsock:3:8001']);
    assert.match(secret.lines[1] ?? '', /vsock:3:8001: allowed by \*\.a\.example/);
    assert.match(secret.lines[2] ?? '', /vsock:3:8001, CID 17: denied: /);
  });

  it('with what becomes of each address', async () => {
    const names = { 'x.a.example': ['192.0.2.1', '127.0.0.1'] };
    const { lines, exitStatus } = await check(
      SERVE,
      ['x.a.example', '443', '--listener', 'vsock:8000', '--resolve'],
      names,
    );
    assert.equal(exitStatus, 0);
    assert.deepEqual(lines.slice(1), [
      '  vsock:3:8000: allowed by *.a.example (f.yaml:2)',
      '    x.a.example: resolves to 192.0.2.1, 127.0.0.1',
      '    192.0.2.1: admitted by *.a.example (f.yaml:2)',
      '    127.0.0.1: refused, as it is a loopback address',
    ]);
  });

  it('in this region', async () => {
    const { lines } = await check(SERVE, ['kms.eu-west-1.a.example', '443', '--listener', 'vsock:8003', '--resolve'], {
      'kms.eu-west-1.a.example': ['192.0.2.1'],
    });
    assert.equal(lines[1], '  vsock:3:8003: allowed by kms.*.a.example (f.yaml:11)');
  });
});

describe('a valid file', () => {
  it('is told with what it makes listen', async () => {
    assert.deepEqual(await check(SERVE, ['--enclave-cid', '16']), {
      lines: [
        'f.yaml: valid',
        '  vsock:3:8000 → x.a.example:443',
        '  vsock:3:8001 → what clients ask for by HTTP',
        '  tcp:127.0.0.1:443 → what clients name in TLS, at port 443',
        '  vsock:3:8002 → what clients ask for by HTTP',
        '  vsock:3:8003 → kms.${region}.a.example:443',
        '  tcp:0.0.0.0:8443 → vsock:16:8443',
        'in the enclave:',
        '  vsock:any:8443 → tcp:127.0.0.1:8443',
      ],
      exitStatus: 0,
    });
    assert.deepEqual((await check(SERVE, ['--resolve'])).lines.slice(5, 7), [
      '  vsock:3:8003 → kms.eu-west-1.a.example:443',
      '  tcp:0.0.0.0:8443 → vsock:<enclave CID>:8443',
    ]);
    assert.deepEqual((await check(RULES, [])).lines, ['f.yaml: valid']);
  });

  it('is one JSON object with the same keys whatever is found', async () => {
    const text =
      'allowlist: [{address: a.example, port: 443}]\nlisteners: [{listen: "vsock:8000", connect: "a.example:443"}]\n';
    assert.deepEqual(
      await json(text, ['a.example', '443', '--resolve', '--cid', '16'], { 'a.example': ['192.0.2.1', '::1'] }),
      {
        exitStatus: 0,
        config: 'f.yaml',
        valid: true,
        problems: [],
        more: 0,
        listeners: [{ listen: 'vsock:3:8000', place: 'f.yaml:2', route: 'connect', connect: 'a.example:443' }],
        enclave: [],
        by_name: null,
        target: 'a.example:443',
        verdict: 'allowed',
        verdicts: [
          {
            listen: 'vsock:3:8000',
            cid: 16,
            verdict: 'allowed',
            reason: 'by a.example (f.yaml:1)',
            hint: null,
            rule: { address: 'a.example', place: 'f.yaml:1' },
            lookups: [{ name: 'a.example', addresses: ['192.0.2.1', '::1'], error: null }],
            addresses: [
              { address: '192.0.2.1', admitted: true, reason: null, rule: { address: 'a.example', place: 'f.yaml:1' } },
              { address: '::1', admitted: false, reason: 'is a loopback address', rule: null },
            ],
          },
        ],
      },
    );
    const { verdicts } = await json('allowlist: []', ['a.example', '443']);
    assert.deepEqual(
      verdicts.map((verdict: object) => Object.keys(verdict)),
      [['listen', 'cid', 'verdict', 'reason', 'hint', 'rule', 'lookups', 'addresses']],
    );
    assert.deepEqual([verdicts[0].listen, verdicts[0].cid, verdicts[0].addresses], [null, null, null]);
  });
});

describe('the half of the enclave', () => {
  const EGRESS = 'egress: {allow: [a.example, 10.0.0.0/8], transparent_ports: [443]}\n';
  const FORWARD = 'forward: [{listen: "127.0.0.1:8443", connect: "vsock:3:8001"}]\n';
  const byName = async (host: string, port: string, text = EGRESS) => {
    const { lines } = await check(text, [host, port]);
    return lines.slice(2).map((line) => line.replace(/^ {2}in the enclave, by (?:name|address) alone: /, ''));
  };

  it('is not told of where the parent denies the target', async () => {
    assert.deepEqual(await byName('b.example', '443'), []);
  });

  it('denies ports that are not listened on, and addresses, to applications that know of no proxy', async () => {
    const hint = 'let the application use the proxy that http_proxy names';
    assert.deepEqual(await byName('a.example', '80'), [
      `denied: port 80 is not in egress.transparent_ports, which has 443. Hint: add it there, or ${hint}`,
    ]);
    assert.deepEqual(await byName('a.example', '443', EGRESS.replace('[443]', '[]')), [
      `denied: port 443 is not in egress.transparent_ports, which is empty. Hint: add it there, or ${hint}`,
    ]);
    assert.deepEqual(await byName('10.1.2.3', '443'), [
      `denied: only names are reached so, and addresses of other machines that egress.allow lists one by one. Hint: ${hint}`,
    ]);
  });

  it('allows the others what the parent allows', async () => {
    assert.deepEqual(await byName('a.example', '443'), ['allowed by a.example (f.yaml:1)']);
    const listed = EGRESS.replace('10.0.0.0/8', '10.1.2.3');
    assert.deepEqual(await byName('10.1.2.3', '443', listed), ['allowed by 10.1.2.3 (f.yaml:1)']);
    const { verdict, by_name: value } = await json(EGRESS, ['a.example', '443']);
    const rule = { address: 'a.example', place: 'f.yaml:1' };
    const reason = 'by a.example (f.yaml:1)';
    assert.deepEqual([verdict, value], ['allowed', { verdict: 'allowed', reason, hint: null, rule }]);
  });

  it('is told with what it listens on, also where there is nothing for the parent', async () => {
    assert.deepEqual((await check(EGRESS + FORWARD, [])).lines.slice(2), [
      'in the enclave:',
      '  tcp:127.0.0.1:8443 → vsock:3:8001',
      '  tcp:127.0.0.1:10000 → vsock:3:10000, what clients ask for by HTTP',
      '  tcp:0.0.0.0:443 → vsock:3:10000, by name',
    ]);
    assert.deepEqual((await json(FORWARD, [])).enclave, [
      { listen: 'tcp:127.0.0.1:8443', place: 'f.yaml:1', route: 'connect', connect: 'vsock:3:8001' },
    ]);
    assert.deepEqual((await check(FORWARD, ['a.example', '443'])).lines, [
      'a.example:443: denied',
      '  no listener that such a client can use leads there',
    ]);
  });
});

describe('the help', () => {
  it('has examples, and fits a terminal', () => {
    const help = parseCheckCommand(['--help']);
    assert(help.kind === 'text');
    assert.match(help.text, /^Usage: vsock-proxy check \[OPTIONS\] \[host port\]\n.*\nExamples:\n/s);
    for (const line of help.text.split('\n')) assert(line.length <= 80, line);
  });
});
