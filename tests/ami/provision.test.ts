/**
 * The program that every way to an image runs, in roots of Debian with dnf 4 and dnf 5: what it makes, that it can be run again
 * and be killed anywhere, and what it refuses. Where systemd runs, tests/e2e/ami.test.ts has it.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { makeCertificate } from '../integration/certificate.ts';
import type { Outcome, Program } from '../program.ts';
import { PROJECT, Root } from './root.ts';
import { KEY_FILE, Keyring, NAME, PACKAGES, VERSION } from './signing.ts';

const OURS = 'ours@example.com';
const CLI = 'aws-nitro-enclaves-cli';
const PROVISION = 'bash /project/packaging/ami/provision';
const VALIDATE = 'bash /project/packaging/ami/validate';
const CLEAN = 'bash /project/packaging/ami/clean';
const REPO = `--repo file:///shared/repo --key /shared/repo/${KEY_FILE}`;
const ALL = `--image ${REPO} --cli --cpus 2 --memory 50% --allowlist /shared/serve.yaml --sysconfig /shared/sysconfig --serve --member nobody`;
const SOON_MS = 60_000;

/** All that a run may change, as text. */
const STATE = `
places='/etc /usr/local/lib/systemd /usr/lib/systemd/system /usr/libexec /usr/bin/vsock-proxy /var/lib/${NAME}-provision /run/${NAME}-provision'
(find $places -type l -printf '%p -> %l\\n'; find $places -type f -printf '%p %m\\n'
find $places -type f -size -1024k ! -path '/etc/*-' -exec sha256sum {} +) 2>&- | sort
rpm -qa | sort; getent group ne; true`;

const STEPS = ['fetch what', 'install', 'check the', 'write the', 'make the', 'restore', 'write image'];

let keyring: Keyring;

before(() => {
  keyring = new Keyring(OURS, 'other@example.com');
});
after(() => keyring?.[Symbol.dispose]());

/** A machine with the repository of the system, where the CLI is, and files to provision it with. */
async function machineOf(suite: 'bookworm' | 'sid'): Promise<Root> {
  const root = Root.of(suite);
  const shared = (name: string) => join(root.shared, name);
  await keyring.build(shared('repo'), OURS, 'file:///shared/repo', PACKAGES.slice(0, 1));
  mkdirSync(shared('system'));
  cpSync(join(PROJECT, `build/e2e-packages/${CLI}-1.rpm`), shared(`system/${CLI}.rpm`));
  execFileSync('createrepo_c', ['--quiet', shared('system')]);
  cpSync(join(PROJECT, 'configs/examples/serve.yaml'), shared('serve.yaml'));
  writeFileSync(shared('other.key'), keyring.gpg('--armor', '--export', 'other@example.com'));
  writeFileSync(shared('wrong'), '# more\nRUST_LOG=info\nRUST_LOG info\n');
  writeFileSync(shared('sysconfig'), '# more\nRUST_LOG=info\n');
  writeFileSync(shared('system.repo'), '[system]\nname=system\nbaseurl=file:///shared/system\ngpgcheck=0\n');
  await root.check('rpm --install /project/build/e2e-packages/amazon-linux-1.rpm; mkdir -p /etc/yum.repos.d');
  await root.check('cp /shared/system.repo /etc/yum.repos.d/; rm -f /etc/dnf/libdnf5-plugins/local.conf');
  return root;
}

/** A machine as this one, whose files can be spoilt. */
function copy(root: Root): Root {
  const machine = root.fork();
  cpSync(root.shared, machine.shared, { recursive: true });
  return machine;
}

/** Where it is dnf that says so. */
const byDnf = ([, , said]: Refused[number]): boolean => said.source.startsWith('cannot install');

/** What is wrong, what it is called with, and what it says. */
type Refused = readonly (readonly [string, string, RegExp])[];

const REFUSED: Refused = [
  ['no source', '', /nitro-enclaves-vsock-proxy is not installed, and no source of it is given/],
  ['two sources', `${REPO} --rpm /shared/repo/x86_64/a.rpm`, /--repo and --rpm are both given/],
  ['a repository without a key', '--repo file:///shared/repo', /--repo is given without --key/],
  ['a repository that is no URL', '--repo /shared/repo --key /shared/repo.key', /--repo: \/shared\/repo is no URL/],
  [
    'a repository that is not there',
    `--repo file:///nowhere --key /shared/repo/${KEY_FILE}`,
    /cannot install .*(repomd\.xml|nowhere)/,
  ],
  [
    'a repository that does not answer',
    `--repo http://127.0.0.1:9 --key /shared/repo/${KEY_FILE}`,
    /cannot install .*(127\.0\.0\.1|repomd\.xml|metadata)/,
  ],
  [
    'a version that the repository has not',
    `${REPO} --package-version 7.0.0`,
    /cannot install .*(nitro-enclaves-vsock-proxy-7\.0\.0|[Mm]atch)/,
  ],
  ['a wrong key', '--repo file:///shared/repo --key /shared/other.key', /cannot install .*(signature|GPG)/],
  [
    'no key at all in the key',
    '--repo file:///shared/repo --key /shared/sysconfig',
    /--key: \/shared\/sysconfig is no public key/,
  ],
  [
    'a key that is not there',
    '--repo file:///shared/repo --key /shared/none',
    /--key: \/shared\/none is no file that can be read/,
  ],
  ['a package without key and digest', '--rpm /shared/serve.yaml', /--rpm is given without --key and --sha256/],
  ['a package over http', '--rpm http://127.0.0.1/a.rpm --sha256 00', /--rpm: http:.* is of no kind that is fetched/],
  [
    'another digest',
    `--rpm /shared/serve.yaml --sha256 ${'0'.repeat(64)}`,
    /--sha256: \/shared\/serve\.yaml has another digest/,
  ],
  [
    'an unsigned package',
    `--rpm $(echo /project/build/e2e-packages/${NAME}-[0-9]*-1.x86_64.rpm) --key /shared/repo/${KEY_FILE}`,
    /--key: .*is not signed/,
  ],
  [
    'a package that another key signed',
    '--rpm $(echo /shared/repo/x86_64/*.rpm) --key /shared/other.key',
    /--key: .*is not signed by it/,
  ],
  [
    'another package',
    `--rpm /shared/system/${CLI}.rpm --sha256 $(sha256sum </shared/system/${CLI}.rpm | cut -d" " -f1)`,
    /--rpm: .*is the package aws-nitro-enclaves-cli/,
  ],
  [
    'a file that is no package',
    `--rpm /shared/serve.yaml --sha256 $(sha256sum </shared/serve.yaml | cut -d" " -f1)`,
    /--rpm: \/shared\/serve\.yaml is no package/,
  ],
  [
    's3 without the CLI of AWS',
    `--rpm s3://bucket/a.rpm --key /shared/repo/${KEY_FILE}`,
    /--rpm: s3:.*needs the AWS CLI/,
  ],
  ['an allowlist that is not there', `${REPO} --allowlist /shared/none`, /--allowlist: \/shared\/none is no file/],
  [
    'a line of sysconfig that is no setting',
    `${REPO} --sysconfig /shared/wrong`,
    /--sysconfig: \/shared\/wrong:3: this is no setting: RUST_LOG info/,
  ],
  ['a member who is nobody', `${REPO} --member somebody`, /--member: there is no user somebody/],
  ['no processors', `${REPO} --cpus 0 --memory 512`, /--cpus: 0 is no number of processors/],
  ['negative processors', `${REPO} --cpus -2 --memory 512`, /--cpus: -2 is no number of processors/],
  [
    'more processors than there are digits for',
    `${REPO} --cpus 99999999999999999999 --memory 512`,
    /--cpus: 9+ is no number of processors/,
  ],
  [
    'more processors than the machine has',
    `${REPO} --cli --cpus 9998 --memory 512`,
    /--cpus: 9998 is more than this machine can give/,
  ],
  ['more than a share can be', `${REPO} --cpus 96% --memory 512`, /96% of the machine is too much/],
  ['memory that no enclave can live in', `${REPO} --cpus 1 --memory 32`, /--memory: 32 MiB is too little/],
  ['memory with a unit', `${REPO} --cpus 1 --memory 1G`, /--memory: 1G is no number of MiB/],
  [
    'numbers for an allocator that is not there',
    `${REPO} --cpus 2 --memory 512`,
    /--cpus: the allocator is not installed\. Hint: add --cli/,
  ],
  ['processors without memory', `${REPO} --cpus 1`, /--cpus is given without --memory/],
  ['an option without its value', '--repo', /--repo takes a value/],
  ['an option that there is not', '--cpu 1', /unknown argument --cpu/],
];

const REFUSED_LATE: Refused = [
  ['an allowlist that check refuses', '--allowlist /shared/sysconfig', /\/shared\/sysconfig:\d+: /],
  [
    'to serve a file without listeners',
    '--serve --allowlist /project/configs/vsock-proxy.yaml',
    /--serve: .* has no listeners/,
  ],
];

for (const distribution of ['bookworm', 'sid'] as const) {
  suite(`provision on ${distribution}`, () => {
    let root: Root;
    let bare: string;
    let whole: string;
    before(async () => {
      root = await machineOf(distribution);
      bare = await root.check(STATE);
      using machine = copy(root);
      await machine.check(`${PROVISION} ${ALL}`);
      whole = await machine.check(STATE);
    });
    after(() => root?.[Symbol.dispose]());

    test('it installs, configures, enables and records, and validate agrees', async () => {
      using machine = copy(root);
      await machine.check(`${PROVISION} ${ALL}`);
      await machine.check(VALIDATE);
      assert.equal(await machine.check(`systemctl is-enabled ${NAME} nitro-enclaves-allocator`), 'enabled\nenabled\n');
      assert.match(await machine.check('getent group ne'), /^ne:.*:nobody$/m);
      await machine.check('cmp /shared/serve.yaml /etc/nitro_enclaves/vsock-proxy.yaml');
      const record = JSON.parse(await machine.check('cat /etc/nitro_enclaves/image.json'));
      assert.deepEqual(
        [record.packages, record.serve, record.enclaves],
        [{ [NAME]: `${NAME}-${VERSION}-1.x86_64`, [CLI]: `${CLI}-1.5.0-1.noarch` }, true, { cpus: '2', memory: '50%' }],
      );
      assert.match(await machine.check('cat /etc/yum.repos.d/nitro*.repo'), /^gpgcheck=1\nrepo_gpgcheck=1\n/m);

      // Once more, and with the programs of the package: the same, and no file is written anew.
      const times = `find /etc -newer /shared/now -type f ! -path '*dnf*'`;
      await machine.check(`touch /shared/now && /usr/libexec/${NAME}/provision ${ALL}`);
      assert.equal(changes(whole, await machine.check(STATE)), '');
      assert.equal(await machine.check(times), '');

      // Without settings: those of before are in force, and recorded, but the listeners of the file are no longer served.
      await machine.check(`${PROVISION} --image`);
      const kept = JSON.parse(await machine.check('cat /etc/nitro_enclaves/image.json'));
      assert.deepEqual(kept, { ...record, serve: false });
      assert.equal(kept.repository, 'file:///shared/repo');

      // Other numbers, without the share.
      await machine.check(`${PROVISION} --image --cpus 2 --memory 512`);
      assert.equal(await machine.check('find /etc/systemd -name "*.conf" -path "*nitro*"'), '');
      await machine.check(`/usr/libexec/${NAME}/validate`);
      const other = JSON.parse(await machine.check('cat /etc/nitro_enclaves/image.json'));
      assert.deepEqual(other.enclaves, { cpus: '2', memory: '512' });
    });

    for (const name of distribution === 'bookworm' ? STEPS : ['install']) {
      test(`killed at the step "${name} …": run again, it ends in the same state`, async () => {
        using machine = copy(root);
        await hangsIn(machine, 'systemctl', '*enable*'); // so that it is not done when the signal comes
        await killed(machine, (program) => program.stdout.match(new RegExp(`^provision: ${name}.*\\n`, 'm'), SOON_MS));
        await hangsNoMore(machine, 'systemctl');
        await isAsWhole(machine);
      });
    }

    if (distribution === 'bookworm') {
      test('killed when dnf has begun its history, which has no tables: run again, it ends in the same state', async () => {
        using machine = copy(root);
        const began = machine.path('/var/lib/dnf/history.sqlite');
        await killed(machine, async (program) => {
          await program.stdout.match(/^provision: install.*\n/m, SOON_MS);
          await appears(began, program);
        });
        await machine.check('rm -f /var/lib/dnf/history.sqlite*; : >/var/lib/dnf/history.sqlite');
        await isAsWhole(machine);
      });
    }

    test('killed while the package is unpacked: run again, it ends in the same state, and nothing else is left', async () => {
      using machine = copy(root);
      await killed(machine, (program) => appears(machine.path(`/usr/libexec/${NAME}`), program));
      await isAsWhole(machine);
    });

    for (const [what, program, when] of [
      ['in a script of the package, whose files are there', 'systemd-tmpfiles', '*'],
      ['in a script of the package that has made an allowlist', 'systemctl', '*--version*'],
      ['before a file of the configuration is in place', 'mv', '*sysconfig*'],
      ['before a unit of two is enabled', 'systemctl', '*enable*'],
    ] as const) {
      test(`killed ${what}: run again, it ends in the same state`, async () => {
        using machine = copy(root);
        await hangsIn(machine, program, when);
        await killed(machine, (run) => appears(join(machine.shared, 'hangs'), run));
        await hangsNoMore(machine, program);
        await isAsWhole(machine);
      });
    }

    // Their locks and their new files are at stake: at each call that makes or removes one.
    for (const program of ['groupadd', 'usermod'] as const) {
      test(`${program} is killed anywhere: run again, it ends in the same state`, async () => {
        using installed = copy(root);
        await installed.check(`${PROVISION} ${ALL} && groupdel ne`);
        const settings = `${PROVISION} --image --cpus 2 --memory 50% --serve --member nobody`;
        using reference = installed.fork();
        await reference.check(settings);
        const expected = await reference.check(STATE);
        for (const call of ['link', 'rename', 'unlink']) {
          for (let count = 1; ; count++) {
            using machine = installed.fork();
            const trace = `strace --quiet=all --output=/dev/null --trace=${call} --inject=${call}:signal=KILL:when=${count}`;
            const script = `#!/bin/sh\nexec ${trace} /usr/sbin/${program}.real "$@"\n`;
            writeFileSync(join(machine.shared, program), script, { mode: 0o755 });
            const path = `/usr/sbin/${program}`;
            await machine.check(`mv ${path} ${path}.real && cp /shared/${program} ${path}`);
            const { status, stderr } = await machine.run(settings);
            await machine.check(`mv ${path}.real ${path}`);
            if (status === 0) {
              assert.ok(count > 1, `${program} calls no ${call}`);
              break;
            }
            assert.match(stderr, /^provision: line \d+: failed: /m);
            await machine.check(settings);
            assert.equal(changes(expected, await machine.check(STATE)), '', `${call}, ${count}`);
          }
        }
      });
    }

    test('killed between two versions of the package: run again, the new one is there, and it alone', async () => {
      using machine = copy(root);
      const old = '$(echo /shared/repo/x86_64/*-1.x86_64.rpm)';
      await machine.check(`${PROVISION} --image --rpm ${old} --key /shared/repo/${KEY_FILE}`);
      const [first = ''] = PACKAGES;
      const next = join(PROJECT, 'build/e2e-packages', basename(first).replace('-1.x86_64', '-2.x86_64'));
      await keyring.build(join(machine.shared, 'repo'), OURS, 'file:///shared/repo', [first, next]);
      const upgrade = `${PROVISION} --image ${REPO} --package-version ${VERSION}-2`;
      await hangsIn(machine, 'systemd-tmpfiles', '*');
      await killed(machine, (run) => appears(join(machine.shared, 'hangs'), run), upgrade);
      await hangsNoMore(machine, 'systemd-tmpfiles');
      assert.equal((await machine.check(`rpm -q ${NAME}`)).trimEnd().split('\n').length, 2);
      await machine.check(upgrade);
      assert.equal(await machine.check(`rpm -q ${NAME}`), `${NAME}-${VERSION}-2.x86_64\n`);
      await machine.check(`rpm --verify ${NAME} && ${VALIDATE}`);
    });

    /** Whatever calls the program with such arguments from now on tells so, by a file, and stands still. */
    async function hangsIn(machine: Root, program: string, when: string): Promise<void> {
      const script = `#!/bin/sh\ncase "$*" in (${when}) : >/shared/hangs; exec sleep infinity;; esac; exec /usr/bin/${program}.real "$@"\n`;
      writeFileSync(join(machine.shared, program), script, { mode: 0o755 });
      await machine.check(`mv /usr/bin/${program} /usr/bin/${program}.real && cp /shared/${program} /usr/bin/`);
    }

    async function hangsNoMore(machine: Root, program: string): Promise<void> {
      await machine.check(
        `cp -f --remove-destination /usr/bin/${program}.real /usr/bin/${program} && rm /usr/bin/${program}.real`,
      );
    }

    async function killed(
      machine: Root,
      when: (program: Program) => Promise<unknown>,
      command = `${PROVISION} ${ALL}`,
    ): Promise<void> {
      const program = machine.spawn(command);
      await when(program);
      program.kill();
      const { stdout } = await program.outcome(SOON_MS);
      assert.doesNotMatch(stdout, /done/);
    }

    async function isAsWhole(machine: Root): Promise<void> {
      await machine.check(`${PROVISION} ${ALL}`);
      assert.equal(changes(whole, await machine.check(STATE)), '');
      await machine.check(VALIDATE);
    }

    test('a package is installed from a file, by its signature or its digest', async () => {
      using machine = copy(root);
      const digest = (await machine.check(`sha256sum /shared/repo/x86_64/*.rpm`)).split(' ')[0];
      await machine.check(
        `${PROVISION} --image --rpm $(echo /shared/repo/x86_64/*.rpm) --key /shared/repo/${KEY_FILE}`,
      );
      await machine.check(VALIDATE);
      await machine.check(
        `rpm --erase ${NAME} && ${PROVISION} --image --rpm $(echo /shared/repo/x86_64/*.rpm) --sha256 ${digest}`,
      );
      await machine.check(VALIDATE);
    });

    test('package and key come over https', async () => {
      using machine = copy(root);
      const { key, cert } = makeCertificate('127.0.0.1');
      writeFileSync(join(machine.shared, 'server.pem'), `${key}\n${cert}`);
      await machine.check('cp /shared/repo/x86_64/*.rpm /shared/package.rpm');
      const server =
        '(cd / && openssl s_server -quiet -accept 443 -cert /shared/server.pem -WWW </dev/zero >/dev/null &)';
      const listens = 'until (: >/dev/tcp/127.0.0.1/443) 2>&-; do sleep 0.1; done';
      const source = `--rpm https://127.0.0.1/shared/package.rpm --key https://127.0.0.1/shared/repo/${KEY_FILE}`;
      await machine.check(`${server}; ${listens}; CURL_CA_BUNDLE=/shared/server.pem ${PROVISION} --image ${source}`);
      await machine.check(VALIDATE);
      const outcome = await machine.run(`${PROVISION} --image ${source}`);
      refused(outcome, /^provision: --key: cannot fetch https:\/\/127\.0\.0\.1\/.*: curl: /);
    });

    test('refused: another run at the same time', async () => {
      using machine = copy(root);
      const lock = `mkdir -p /var/lib/${NAME}-provision; exec 9>/var/lib/${NAME}-provision/lock; flock 9`;
      refused(await machine.run(`${lock}; ${PROVISION} ${REPO} 9>&-`), /another provision is running/);
    });

    for (const [what, args, said] of distribution === 'bookworm' ? REFUSED : REFUSED.filter(byDnf)) {
      test(`refused, and everything is as it was: ${what}`, async () => {
        using machine = copy(root);
        const outcome = await machine.run(`${PROVISION} ${args}`);
        refused(outcome, said);
        assert.equal(changes(withoutWork(bare), withoutWork(await machine.check(STATE))), '');
      });
    }

    for (const [what, args, said] of distribution === 'bookworm' ? REFUSED_LATE : []) {
      test(`refused once it is installed, and nothing is enabled or configured: ${what}`, async () => {
        using machine = copy(root);
        refused(await machine.run(`${PROVISION} --image ${REPO} ${args}`), said);
        const fresh = await machine.check(
          `ls /etc/nitro_enclaves; cmp /etc/nitro_enclaves/vsock-proxy.yaml /usr/share/${NAME}/vsock-proxy.yaml`,
        );
        assert.doesNotMatch(fresh, /image\.json/);
        assert.notEqual((await machine.run(`systemctl is-enabled ${NAME}`)).status, 0);
        assert.notEqual((await machine.run(VALIDATE)).status, 0);
      });
    }
  });
}

suite('the allocator', () => {
  let root: Root;
  before(() => {
    root = Root.of('bookworm');
  });
  after(() => root?.[Symbol.dispose]());

  /** On a machine with so many processors, so many of them a core, and so much memory. */
  async function allocate(processors: number, threads: number, mib: number, args: string): Promise<Outcome> {
    const cpu0 = '/sys/devices/system/cpu/cpu0/topology';
    const list = threads === 1 ? '0' : `0,${processors / threads}`;
    return await root.run(
      [
        `rm -rf /sys/devices /etc/nitro_enclaves; mkdir -p /sys/devices/system/cpu/cpu{0..${processors - 1}} ${cpu0}`,
        `echo ${list} >${cpu0}/thread_siblings_list; echo "MemTotal: ${mib * 1024} kB" >/meminfo; mount --bind /meminfo /proc/meminfo`,
        `${PROVISION} allocate ${args} && grep -v '#' /etc/nitro_enclaves/allocator.yaml`,
      ].join('\n'),
    );
  }

  for (const [processors, threads, mib, args, count, memory] of [
    [8, 2, 16000, '--cpus 2 --memory 512', 2, 512],
    [8, 2, 16000, '--cpus 50% --memory 50%', 4, 8000],
    [8, 2, 16001, '--cpus 95% --memory 33%', 6, 5280],
    [8, 1, 16000, '--cpus 95% --memory 95%', 7, 15200],
    [4, 2, 8000, '--cpus 10% --memory 1%', 2, 80],
    [2, 1, 4000, '--cpus 50% --memory 1%', 1, 64],
    [192, 2, 786432, '--cpus 90% --memory 90%', 172, 707788],
  ] as const) {
    test(`${args} of ${processors} processors, ${threads} a core, ${mib} MiB: ${count} and ${memory}`, async () => {
      const { stdout, stderr } = await allocate(processors, threads, mib, args);
      assert.deepEqual([stdout, stderr], [`---\nmemory_mib: ${memory}\ncpu_count: ${count}\n`, '']);
    });
  }

  for (const [processors, threads, args, said] of [
    [8, 2, '--cpus 3 --memory 512', /--cpus: 3 is no whole number of cores/],
    [8, 2, '--cpus 8 --memory 512', /--cpus: 8 is more than this machine can give\. Hint: at most 6 of 8/],
    [2, 2, '--cpus 2 --memory 512', /--cpus: this machine has one core/],
    [8, 2, '--cpus 2 --memory 16000', /--memory: 16000 MiB is more than this machine has/],
  ] as const) {
    test(`${args} of ${processors} processors, ${threads} a core: refused`, async () => {
      refused(await allocate(processors, threads, 16000, args), said);
      assert.equal((await root.run('ls /etc/nitro_enclaves')).status, 2);
    });
  }
});

suite('clean', () => {
  const FILES = '/etc/machine-id /etc/ssh/ssh_host_rsa_key /root/.ssh/authorized_keys /var/log/secure';
  let root: Root;
  before(async () => {
    root = Root.of('bookworm');
    await root.check(`mkdir -p /etc/ssh /root/.ssh && for file in ${FILES}; do echo content >$file; done`);
  });
  after(() => root?.[Symbol.dispose]());

  for (const [args, status, said] of [
    ['--help', 0, /^clean: removes from this machine [\s\S]*\n$/],
    ['--dry-run', 2, /^clean: unknown argument --dry-run\. Hint: see --help\n$/],
    ['-h', 2, /^clean: unknown argument -h\. Hint: see --help\n$/],
  ] as const) {
    test(`${args}: nothing is removed`, async () => {
      using machine = root.fork();
      const outcome = await machine.run(`${CLEAN} ${args}`);
      assert.equal(outcome.status, status);
      assert.match(outcome.stdout + outcome.stderr, said);
      assert.equal(await machine.check(`cat ${FILES}`), 'content\n'.repeat(4));
    });
  }

  test('without arguments, it leaves nothing that validate finds; only root can tell', async () => {
    using machine = root.fork();
    const found = async (): Promise<readonly string[]> => {
      const { stdout } = await machine.run(`${VALIDATE} --sealed`);
      return stdout.match(/^NOT OK: there are (host keys|keys and known hosts|logs).*$|^NOT OK: .*machine-id/gm) ?? [];
    };
    assert.equal((await found()).length, 4);
    assert.equal(await machine.check(CLEAN), 'clean: done\n');
    assert.deepEqual(await found(), []);
    const { status, stderr } = await machine.run(`setpriv --reuid=65534 --clear-groups ${VALIDATE} --sealed`);
    assert.deepEqual([status, stderr], [2, 'validate: --sealed takes root. Hint: run it with sudo\n']);
  });
});

suite('SELinux, by programs that stand for it', () => {
  for (const [what, label, status] of [
    ['contexts are restored and looked at', 'verified', 0],
    ['a context that is not as it must be ends it, and nothing is enabled', 'has context a, should be b', 1],
  ] as const) {
    test(what, async () => {
      using root = await machineOf('bookworm');
      const stand = (name: string, body: string) =>
        `printf '#!/bin/sh\\n${body}\\n' >/usr/local/bin/${name} && chmod +x /usr/local/bin/${name}`;
      await root.check(stand('selinuxenabled', 'true'));
      await root.check(stand('restorecon', 'echo "$@" >>/shared/restored'));
      await root.check(stand('matchpathcon', `shift; for path; do echo "$path ${label}."; done`));
      const outcome = await root.run(`${PROVISION} --image ${REPO}`);
      const restored = await root.check('cat /shared/restored');
      for (const path of [
        '/usr/local/lib/systemd/system',
        `/usr/libexec/${NAME}`,
        '/etc/nitro_enclaves',
        `/etc/yum.repos.d/${NAME}.repo`,
      ]) {
        assert(restored.split(/\s/).includes(path), restored);
      }
      assert.equal(outcome.status, status, outcome.stderr);
      if (status !== 0) refused(outcome, /SELinux: \/.* has context a, should be b/);
      assert.equal((await root.run(`systemctl is-enabled ${NAME}`)).status, status);
    });
  }
});

/** The lines that only one of the two has. */
function changes(before: string, after: string): string {
  const [old, now] = [before.split('\n'), after.split('\n')];
  const gone = old.filter((line) => !now.includes(line)).map((line) => `- ${line}\n`);
  return [...gone, ...now.filter((line) => !old.includes(line)).map((line) => `+ ${line}\n`)].join('');
}

function refused({ status, stderr }: Outcome, said: RegExp): void {
  assert.equal(status, 1, stderr);
  assert.match(stderr, said);
  assert.match(stderr, /^provision: .*\. Hint: .*\n$/);
}

/** An attempt leaves a lock and what dnf said. */
function withoutWork(state: string): string {
  return state.replaceAll(new RegExp(`^.*/var/lib/${NAME}-provision/.*\\n`, 'gm'), '');
}

/** @throws Error with its output when the program ends first */
async function appears(path: string, program: Program): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setInterval(() => existsSync(path) && resolve(), 5);
  void program.ended.then((outcome) => reject(new Error(`ended before ${path} was there: ${JSON.stringify(outcome)}`)));
  await promise.finally(() => clearInterval(timer));
}
