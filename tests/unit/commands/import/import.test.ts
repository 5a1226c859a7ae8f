import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { runCheck } from '../../../../src/commands/check/check.ts';
import { importProxies, runImport } from '../../../../src/commands/import/import.ts';
import { VsockProxyError } from '../../../../src/platform/errors.ts';

let work: string;
const path = (name: string) => join(work, name);

before(() => {
  work = mkdtempSync(join(tmpdir(), 'import-'));
  writeFileSync(path('kms.yaml'), 'allowlist:\n- {address: kms.us-east-1.amazonaws.com, port: 443}\n');
  writeFileSync(
    path('db.yaml'),
    'allowlist:\n- {address: "db.example", port: 5432}\n- {address: 10.0.0.0/8, port: 5432}\n',
  );
  writeFileSync(
    path('two.yaml'),
    'allowlist:\n- {address: s3.example, port: 443}\n- {address: kms.example, port: 443}\n',
  );
  writeFileSync(path('by-ip.yaml'), 'match_names_by_ip: true\nallowlist:\n- {address: s3.example, port: 443}\n');
  writeFileSync(path('six.yaml'), 'allowlist:\n- {address: "2001:db8::/32", port: 443}\n');
  writeFileSync(
    path('limits.yaml'),
    'allowlist:\n- {address: a.example, port: 1}\nlimits: {rate_per_client: 5}\ntimeouts: {idle: 1m}\n',
  );
  writeFileSync(path('deny.yaml'), 'allowlist:\n- {address: a.example, port: 1}\ndenylist:\n- {address: b.example}\n');
});
after(() => rmSync(work, { recursive: true }));

/** The output of `import` for one file; `ALLOW` is the path of an allowlist. */
function imported(text: string, name = '/etc/systemd/system/a.service', files: Readonly<Record<string, string>> = {}) {
  return importProxies([{ path: name, text: text.replaceAll('ALLOW', path('')) }], (file) => {
    const content = files[file];
    if (content === undefined) throw new VsockProxyError('config', 'Could not open the file: ENOENT');
    return content;
  });
}

/** The listeners of the result, as `check` lists them. */
async function listenersOf(text: string): Promise<readonly { readonly listen: string; readonly connect: string }[]> {
  writeFileSync(path('out.yaml'), text);
  const dependencies = { resolveName: assert.fail, readPlacement: assert.fail };
  const checked = await runCheck({ configPath: path('out.yaml'), resolve: false, json: true }, dependencies);
  const { valid, problems, listeners } = JSON.parse(checked.text);
  assert.deepEqual([valid, problems], [true, []], text);
  return listeners.map(({ listen, connect }: { readonly listen: string; readonly connect: string }) => ({
    listen,
    connect,
  }));
}

const unit = (start: string) =>
  `[Unit]\nDescription=x\n\n[Service]\n${start}\n\n[Install]\nWantedBy=multi-user.target\n`;

/** As in the unit of AWS's package, which gets the region when it starts. */
const AWS = unit(`ExecStart=/bin/bash -ce "exec /usr/bin/vsock-proxy 8000 \\
    kms.$(curl http://169.254.169.254/latest/dynamic/instance-identity/document | jq -r .region).amazonaws.com 443 \\
    --config ALLOW/kms.yaml"`);

suite('import', () => {
  const taken: readonly (readonly [what: string, text: string, listen: string, connect: string, name?: string])[] = [
    [
      'a unit',
      unit('ExecStart=/usr/bin/vsock-proxy 8001 db.example 5432 --config ALLOW/db.yaml'),
      'vsock:3:8001',
      'db.example:5432',
    ],
    ["the unit of AWS's package", AWS, 'vsock:3:8000', 'kms.${region}.amazonaws.com:443'],
    [
      'a template by its instance',
      unit('ExecStart=-/usr/bin/vsock-proxy %i db.example 5432 --config=ALLOW/db.yaml'),
      'vsock:3:7001',
      'db.example:5432',
      'proxy@7001.service',
    ],
    [
      'variables of the unit',
      unit('Environment="HOST=db.example" PORT=5432\nExecStart=vsock-proxy 8009 ${HOST} $PORT --config ALLOW/db.yaml'),
      'vsock:3:8009',
      'db.example:5432',
    ],
    [
      'variables of a file',
      unit('EnvironmentFile=/etc/a\nExecStart=vsock-proxy 8009 $HOST 5432 --config ALLOW/db.yaml'),
      'vsock:3:8009',
      'db.example:5432',
    ],
    [
      'specifiers in variables, and in the path of their file',
      unit(
        'EnvironmentFile=/etc/%p-%i\nEnvironment=PORT=8%i\nExecStart=vsock-proxy $PORT $HOST 5432 --config ALLOW/db.yaml',
      ),
      'vsock:3:8001',
      'db.example:5432',
      'vp@001.service',
    ],
    [
      'a name that only a listed range can allow, which takes no match_names_by_ip',
      unit('ExecStart=vsock-proxy 8002 other.example 5432 --config ALLOW/db.yaml'),
      'vsock:3:8002',
      'other.example:5432',
    ],
    [
      'the last ExecStart that counts',
      unit(
        'ExecStart=vsock-proxy 8001 a.example 1\nExecStart=\nExecStart=vsock-proxy 8002 db.example 5432 --config ALLOW/db.yaml',
      ),
      'vsock:3:8002',
      'db.example:5432',
    ],
    [
      'a name of its own for the process',
      unit('ExecStart=@/usr/bin/vsock-proxy proxy 8002 db.example 5432 --config ALLOW/db.yaml'),
      'vsock:3:8002',
      'db.example:5432',
    ],
    [
      'quotes',
      unit(`ExecStart="/usr/bin/vsock-proxy" '8002' "db.example" 5432 --config "ALLOW/db.yaml"`),
      'vsock:3:8002',
      'db.example:5432',
    ],
    [
      'a script',
      '#!/bin/sh\n# vsock-proxy 8001 a.example 1\nsudo nohup vsock-proxy 8002 db.example 5432 \\\n  --config ALLOW/db.yaml &\n',
      'vsock:3:8002',
      'db.example:5432',
      'run.sh',
    ],
    [
      'a list of processes',
      'COMMAND\n/sbin/init\n/usr/bin/vsock-proxy 8002 db.example 5432 --config ALLOW/db.yaml\nps -eo args\n',
      'vsock:3:8002',
      'db.example:5432',
      '/dev/stdin',
    ],
    [
      'an address of IPv6',
      unit('ExecStart=vsock-proxy 8002 2001:db8::1 443 -6 --config ALLOW/six.yaml'),
      'vsock:3:8002',
      '[2001:db8::1]:443',
    ],
    [
      'a region in a variable',
      'vsock-proxy 8002 kms.$AWS_REGION.amazonaws.com 443 --config ALLOW/kms.yaml',
      'vsock:3:8002',
      'kms.${region}.amazonaws.com:443',
      'run.sh',
    ],
  ];
  for (const [what, text, listen, connect, name] of taken) {
    test(`taken over: ${what}`, async () => {
      const file = '# x\nHOST="db.example"\n';
      const { text: made, exitStatus } = imported(text, name, { '/etc/a': file, '/etc/vp-001': file });
      assert.doesNotMatch(made, /match_names_by_ip/);
      assert.deepEqual(await listenersOf(made), [{ listen, connect }]);
      assert.equal(exitStatus, 0);
    });
  }

  const left: readonly (readonly [what: string, text: string, why: RegExp])[] = [
    ['what only a shell knows', 'vsock-proxy 8001 $HOST 443', /what "\$HOST" is, only a running shell knows/],
    ['a command in the place of a port', 'vsock-proxy 8001 a.example $(cat port)', /what "\$\(cat port\)" is/],
    ['the region as a port', 'vsock-proxy $REGION a.example 1', /./],
    ['a port that is none', 'vsock-proxy 8001 a.example 70000', /Remote port is not valid: "70000"/],
    ['too few arguments', 'vsock-proxy 8001 a.example', /missing required argument/],
    ['an option that there is not', 'vsock-proxy 8001 a.example 1 --fast', /unknown option/],
    [
      'no allowlist',
      'vsock-proxy 8001 a.example 1 --config /none.yaml',
      /its allowlist cannot be read: \/none\.yaml: Could not open/,
    ],
    [
      'a file of this proxy',
      'vsock-proxy 8001 a.example 1 --config ALLOW/deny.yaml',
      /\S*deny\.yaml has denylist, to be taken over by hand/,
    ],
    [
      'a file of this proxy with limits',
      'vsock-proxy 8001 a.example 1 --config ALLOW/limits.yaml',
      /\S*limits\.yaml has limits, timeouts, to be taken over by hand/,
    ],
    [
      'a server that its own allowlist has not',
      'vsock-proxy 8001 10.0.0.1 443 --config ALLOW/db.yaml',
      /it could not start: The given address and port are not allowed/,
    ],
    [
      'a server that its own allowlist has not by name, with what would let it',
      'vsock-proxy 8001 foo.example 443 --config ALLOW/two.yaml',
      /it could not start: .* no entry .* matches foo\.example on port 443\. Hint: .*write match_names_by_ip: true/,
    ],
    ['another command', 'vsock-proxy serve --config ALLOW/kms.yaml', /it is vsock-proxy serve, which has its own file/],
  ];
  for (const [what, command, why] of left) {
    test(`not taken over, and told: ${what}`, () => {
      for (const [text, place] of [
        [unit(`ExecStart=${command}`), 5],
        [`\n\n${command}\n`, 3],
      ] as const) {
        if (text.includes('$') && place === 5) continue; // a unit has no shell
        const { text: made, exitStatus } = imported(text, '/a');
        assert.equal(exitStatus, 1);
        assert.match(made, new RegExp(`\\n# Not taken over:\\n#   /a:${place}: ${why.source}.*\\n$`));
        assert.doesNotMatch(made, /^[^#\n]/m);
      }
    });
  }

  test('nothing is found where nothing is', () => {
    assert.deepEqual(imported(unit('ExecStart=/usr/bin/socat VSOCK-LISTEN:1 TCP:a:1')).exitStatus, 1);
    assert.match(imported('').text, /# No proxy was found\./);
  });

  test('two at one port: the second is told, with the first', () => {
    const { text, exitStatus } = imported(
      'vsock-proxy 8001 db.example 5432 --config ALLOW/db.yaml\nvsock-proxy 8001 b.example 1\n',
      '/a',
    );
    assert.match(text, /# {3}\/a:2: \/a:1 listens on vsock:3:8001, too/);
    assert.equal(exitStatus, 1);
  });

  test('what "systemctl cat" prints: each unit with its drop-ins, by the paths in it', () => {
    const text = [
      '# /usr/lib/systemd/system/one.service',
      '[Service]',
      'ExecStart=vsock-proxy 8001 a.example 5432 --config ALLOW/db.yaml',
      '',
      '# /etc/systemd/system/one.service.d/more.conf',
      '[Service]',
      'ExecStart=',
      'ExecStart=vsock-proxy 8002 db.example 5432 -w 20 -4 --config ALLOW/db.yaml',
      '',
      '# /etc/systemd/system/two.service',
      '[Service]',
      'ExecStart=vsock-proxy 8003 db.example 5432 --config ALLOW/db.yaml',
    ].join('\n');
    const { text: made, exitStatus } = imported(text, '/dev/stdin');
    assert.equal(exitStatus, 0);
    assert.match(made, /# \/etc\/systemd\/system\/one\.service\.d\/more\.conf:3\n {2}- listen: "vsock:3:8002"\n/);
    assert.match(
      made,
      / {4}ip_family: ipv4\n {4}limits: \{connections: 20\}\n {2}# \/etc\/systemd\/system\/two\.service:2\n/,
    );
    assert.equal(made.match(/allowlist:/g)?.length, 1, 'they have the same');
  });

  test('each keeps its own allowlist where they differ', async () => {
    const one = 'vsock-proxy 8001 db.example 5432 --config ALLOW/db.yaml\n';
    const { text } = imported(`${one}vsock-proxy 8002 kms.us-east-1.amazonaws.com 443 --config ALLOW/kms.yaml\n`, '/a');
    assert.equal((await listenersOf(text)).length, 2);
    assert.equal(text.match(/^ {4}allowlist:/gm)?.length, 2);
  });

  test('a name is allowed by its address only if its own file says so, and no other server is', async () => {
    const listed = 'vsock-proxy 8001 s3.example 443 --config ALLOW/by-ip.yaml\n';
    const unlisted = 'vsock-proxy 8002 foo.example 443 --config ALLOW/by-ip.yaml\n';
    const byRange = 'vsock-proxy 8003 foo.example 5432 --config ALLOW/db.yaml\n';
    assert.doesNotMatch(imported(listed, '/a').text, /match_names_by_ip/);

    const made = imported(`${listed}${unlisted}vsock-proxy 8004 kms.example 443 --config ALLOW/two.yaml\n`, '/a');
    assert.equal((await listenersOf(made.text)).length, 3);
    assert.equal(made.exitStatus, 0);
    assert.match(made.text, /^# As in \S*by-ip\.yaml\nmatch_names_by_ip: true$/m);
    assert.deepEqual(made.text.match(/.*\n.*may be allowed only by match_names_by_ip\.\n/g)?.length, 1);
    assert.match(made.text, /# \/a:2\n {2}# Its server may be allowed only by match_names_by_ip\.\n/);

    const mixed = imported(`${byRange}${unlisted}`, '/a');
    assert.doesNotMatch(mixed.text, /^match_names_by_ip/m);
    assert.match(
      mixed.text,
      /\/a:2: \S*by-ip\.yaml has match_names_by_ip: true, unlike that of \/a:1, to be taken over by hand/,
    );
    assert.match(imported(`${unlisted}${byRange}`, '/a').text, /\/a:2: \S*db\.yaml does not have match_names_by_ip/);
  });

  test('a file of variables that cannot be read: told where it leaves a variable without a value, and else as a note', () => {
    const command = 'ExecStart=vsock-proxy 8001 $HOST 5432 --config ALLOW/db.yaml';
    for (const file of ['/none-%i', '-/none-%i']) {
      assert.match(
        imported(unit(`EnvironmentFile=${file}\n${command}`), '/a@b.service').text,
        /: "\$HOST" has no value: EnvironmentFile=\/none-b cannot be read: Could not open the file/,
      );
    }
    assert.match(
      imported(unit(`Environment=HOST=db.%i\nEnvironmentFile=/none\n${command}`), '/a@example.service').text,
      /# EnvironmentFile=\/none cannot be read: .*\n {2}- listen: "vsock:3:8001"\n {4}connect: "db\.example:5432"/,
    );
  });

  test('nothing that is read can end a comment or a text', async () => {
    const { text } = imported(
      'vsock-proxy 8001 "a\\"}, port: 1" 1 --config ALLOW/db.yaml\nvsock-proxy 8002 db.example 5432 --config ALLOW/db.yaml',
      '/a\nb',
    );
    assert.equal((await listenersOf(text)).length, 1);
  });

  test('files are read by the command, and one that is not there is an error', () => {
    writeFileSync(path('a.service'), unit(`ExecStart=vsock-proxy 8001 db.example 5432 --config ${path('db.yaml')}`));
    assert.equal(runImport([path('a.service')]).exitStatus, 0);
    for (const [name, hint] of [
      ['none', /name a unit, a script or a list of processes/],
      ['', /name the files in it/],
    ] as const) {
      assert.throws(
        () => runImport([path(name)]),
        (error) => error instanceof VsockProxyError && hint.test(error.hint ?? '') && !/--config/.test(error.line),
      );
    }
    assert.throws(
      () => runImport([]),
      ({ code }: VsockProxyError) => code === 'usage',
    );
    assert.match(runImport(['--help']).text, /^Usage: vsock-proxy import <file\.\.\.>/);
  });
});
