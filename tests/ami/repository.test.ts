/**
 * The signed repository, used by dnf 4 with rpm 4 and by dnf 5 with rpm 6, as Amazon Linux 2023 and 2027 have them: what is
 * right is installed, and what is not is refused. docs/ami.md says what a dnf passes over in silence; so does the last test.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { run } from '../integration/launch.ts';
import { PROJECT, Root } from './root.ts';
import { KEY_FILE, Keyring, NAME, PACKAGES, VERSION } from './signing.ts';

const OURS = 'ours@example.com';
const URL = 'file:///shared/repo';
const REPOMD = 'x86_64/repodata/repomd.xml';

suite('make repo', () => {
  let keyring: Keyring;
  let root: Root;
  const repo = () => join(root.shared, 'repo');
  before(() => {
    keyring = new Keyring(OURS);
    root = Root.of('bookworm');
  });
  after(() => {
    keyring?.[Symbol.dispose]();
    root?.[Symbol.dispose]();
  });

  test('the same packages and the same key give the same bytes', async () => {
    await keyring.build(repo(), OURS, URL);
    const first = digests(repo());
    await keyring.build(repo(), OURS, URL);
    assert.deepEqual(digests(repo()), first);
    const names = Object.keys(first).map((name) => name.replace(/[0-9a-f]{64}-/, ''));
    assert.deepEqual(
      names.filter((name) => !name.endsWith('.gz')),
      [KEY_FILE, ...signedFiles('aarch64'), `${NAME}.repo`, ...signedFiles('x86_64')],
    );
  });

  test('packages and metadata of both machines are signed by the key that lies beside them', async () => {
    await root.check(`mkdir /tmp/keys && rpmkeys --dbpath /tmp/keys --import /shared/repo/${KEY_FILE}`);
    const checked = await root.check('rpmkeys --dbpath /tmp/keys --checksig /shared/repo/*/*.rpm');
    assert.equal(checked.match(/\.rpm: digests signatures OK$/gm)?.length, 2, checked);
    for (const arch of ['x86_64', 'aarch64']) {
      keyring.gpg(
        '--verify',
        join(repo(), `${arch}/repodata/repomd.xml.asc`),
        join(repo(), `${arch}/repodata/repomd.xml`),
      );
    }
  });

  test('what the packages hold is what was built, and what was built is left unsigned', async () => {
    const payload = '%{SHA256HEADER} %{SIGPGP:pgpsig} %{RSAHEADER:pgpsig}';
    const [built = ''] = PACKAGES;
    const query = async (file: string) =>
      (await run(['rpm', '-qp', '--nosignature', '--qf', payload, file])).stdout.split(' ');
    const [signed, source] = [await query(join(repo(), `x86_64/${NAME}-${VERSION}-1.x86_64.rpm`)), await query(built)];
    assert.equal(signed[0], source[0]);
    assert.deepEqual(source.slice(1), ['(none)', '(none)']);
    assert.match(signed.join(' '), /RSA\/SHA256/);
  });

  for (const [what, key, said] of [
    ['a key that gpg has not', 'nobody@example.com', /gpg has no secret key nobody@example\.com\. Hint: /],
    ['a key that has expired', 'old@example.com', /old@example\.com has expired or was revoked\. Hint: /],
    [
      'a key that rpm cannot check',
      'curve@example.com',
      /curve@example\.com is of a kind that rpm cannot check\. Hint: /,
    ],
  ] as const) {
    test(`${what} is refused in one line, and the repository of before stays`, async () => {
      using own = new Keyring();
      const dated = ['--faked-system-time', '20200101T000000'];
      own.gpg(...dated, '--passphrase', '', '--quick-generate-key', 'old@example.com', 'rsa2048', 'sign', '1y');
      own.gpg('--passphrase', '', '--quick-generate-key', 'curve@example.com', 'nistp256', 'sign', '1y');
      const kept = digests(repo());
      await assert.rejects(own.build(repo(), key, URL), ({ message }: Error) => {
        assert.match(message, said);
        assert.equal(message.trimEnd().split('\n').length, 1, message);
        return true;
      });
      assert.deepEqual(digests(repo()), kept);
      assert.deepEqual(readdirSync(root.shared), ['repo']);
    });
  }

  test('without a key, one is made and forgotten, and that is said', async () => {
    const built = await run([
      'env',
      '-u',
      'SIGNING_KEY',
      join(PROJECT, 'packaging/repo/build'),
      join(root.shared, 'own'),
      ...PACKAGES,
    ]);
    assert.match(built.stderr, /SIGNING_KEY is not set: signing with a key that is made now and forgotten afterwards/);
    assert.equal(built.status, 0);
    rmSync(join(root.shared, 'own'), { recursive: true });
  });
});

/** What is wrong with a repository, and how dnf 4 and dnf 5 say so. */
const FAULTS: readonly {
  readonly what: string;
  readonly spoil: (repo: string, keyring: Keyring) => Promise<void> | void;
  readonly said: RegExp;
  /** Whether dnf has status 0 where it may skip a repository: what it meets before it has a list of packages. */
  readonly inSilence: boolean;
}[] = [
  {
    what: 'wrong key',
    spoil: (repo, keyring) =>
      writeFileSync(join(repo, KEY_FILE), keyring.gpg('--armor', '--export', 'other@example.com')),
    said: /repomd\.xml GPG signature verification error: |Error: GPG check FAILED|[Bb]ad .*signature/,
    inSilence: true,
  },
  {
    what: 'metadata that was changed after it was signed',
    spoil: (repo) => {
      const file = join(repo, REPOMD);
      writeFileSync(file, readFileSync(file, 'utf8').replace(/<revision>\d+/, '<revision>1'));
    },
    said: /[Bb]ad .*signature/,
    inSilence: true,
  },
  {
    what: 'metadata without a signature',
    spoil: (repo) => rmSync(join(repo, `${REPOMD}.asc`)),
    said: /repomd\.xml\.asc/,
    inSilence: true,
  },
  {
    what: 'a list of packages that is not the signed one',
    spoil: (repo) => {
      const directory = join(repo, 'x86_64/repodata');
      const [list = ''] = readdirSync(directory).filter((name) => name.endsWith('primary.xml.gz'));
      const text = gunzipSync(readFileSync(join(directory, list)))
        .toString()
        .replace(`ver="${VERSION}"`, 'ver="9.9.9"');
      writeFileSync(join(directory, list), gzipSync(text));
    },
    said: /[Cc]hecksum/,
    inSilence: true,
  },
  {
    what: 'unsigned package, in metadata that are signed',
    spoil: async (repo, keyring) => {
      cpSync(PACKAGES[0] ?? '', join(repo, `x86_64/${NAME}-${VERSION}-1.x86_64.rpm`));
      rmSync(join(repo, 'x86_64/repodata'), { recursive: true });
      await run(['createrepo_c', '--quiet', join(repo, 'x86_64')]);
      keyring.gpg('--local-user', OURS, '--armor', '--detach-sign', join(repo, REPOMD));
    },
    said: /is not signed|[Nn]o signature|signature check.* failed|GPG check FAILED|not signed/,
    inSilence: false,
  },
  {
    what: 'package that is not the listed one',
    spoil: (repo) => {
      const file = join(repo, `x86_64/${NAME}-${VERSION}-1.x86_64.rpm`);
      const bytes = readFileSync(file);
      bytes[bytes.length - 1000] = (bytes[bytes.length - 1000] ?? 0) ^ 1;
      writeFileSync(file, bytes);
    },
    said: /[Cc]hecksum/,
    inSilence: false,
  },
  {
    what: 'no repository there',
    spoil: (repo) => rmSync(join(repo, 'x86_64'), { recursive: true }),
    said: /repomd\.xml/,
    inSilence: true,
  },
];

for (const [distribution, program, versions] of [
  ['bookworm', 'dnf', /^4\.[\s\S]*RPM version 4\./],
  ['sid', 'dnf5', /^dnf5 version 5\.[\s\S]*RPM version 6\./],
] as const) {
  suite(`${program} of Debian ${distribution}`, () => {
    let keyring: Keyring;
    let root: Root;
    const repo = () => join(root.shared, 'repo');
    before(async () => {
      keyring = new Keyring(OURS, 'other@example.com');
      root = Root.of(distribution);
      await root.check('rpm --install /project/build/e2e-packages/amazon-linux-1.rpm && mkdir -p /etc/yum.repos.d');
      await keyring.build(repo(), OURS, URL, PACKAGES.slice(0, 1));
      await root.check(`cp /shared/repo/${NAME}.repo /etc/yum.repos.d/`);
      // Debian turns a plugin on that wants createrepo_c, and without that an installation that went well has status 1.
      await root.check('rm -f /etc/dnf/libdnf5-plugins/local.conf');
    });
    after(() => {
      keyring?.[Symbol.dispose]();
      root?.[Symbol.dispose]();
    });

    /** A machine that has the repository, which can be spoilt. */
    function copy(): Root {
      const machine = root.fork();
      cpSync(repo(), join(machine.shared, 'repo'), { recursive: true });
      return machine;
    }

    test('it is the dnf and the rpm that are meant', async () => {
      assert.match(await root.check(`${program} --version; rpm --version`), versions);
    });

    test('right key: installed by the .repo file as it is, and signed as rpm itself sees it', async () => {
      using machine = copy();
      await machine.check(`${program} --assumeyes install ${NAME}`);
      assert.equal(await machine.check(`rpm -q ${NAME}`), `${NAME}-${VERSION}-1.x86_64\n`);
      assert.match(await machine.check(`rpm -qi ${NAME}`), /^ *Signature *:(\s+|.*)RSA\/SHA256/m);
      await machine.check(`/usr/bin/vsock-proxy check && ${program} --assumeyes remove ${NAME}`);
    });

    test('a life: installed, upgraded, undone, downgraded, reinstalled, removed, where rpm wants signatures; no scriptlet says a word', async () => {
      using machine = copy();
      // Debian has rpm check digests alone, where rpm 6 by itself wants signatures, too.
      await machine.check("mkdir -p /etc/rpm && echo '%_pkgverify_level all' >/etc/rpm/macros.verify");
      const unsigned = await machine.run(`rpm --install /project/build/e2e-packages/${NAME}-[0-9]*-1.x86_64.rpm`);
      assert.notEqual(unsigned.status, 0);
      assert.match(unsigned.stderr, /does not verify: .*no signature/);
      const releases = [1, 2].map((release) =>
        join(PROJECT, `build/e2e-packages/${NAME}-${VERSION}-${release}.x86_64.rpm`),
      );
      await keyring.build(join(machine.shared, 'repo'), OURS, URL, releases);
      for (const [command, release] of [
        [`install ${NAME}-${VERSION}-1`, 1],
        [`upgrade ${NAME}`, 2],
        ['history undo last', 1],
        [`upgrade ${NAME}`, 2],
        [`downgrade ${NAME}`, 1],
        [`reinstall ${NAME}`, 1],
      ] as const) {
        const { status, stdout, stderr } = await machine.run(`${program} --assumeyes ${command}`);
        assert.equal(status, 0, `${command}: ${stdout}${stderr}`);
        // dnf 4 tells that it heeds the macro.
        const said = `${stdout}${stderr}`.replace(/^Warning: Enforcing GPG signature check .*$/m, '');
        assert.doesNotMatch(said, />>>|Failed|[Ww]arning|[Ee]rror/, command);
        assert.equal(await machine.check(`rpm -q ${NAME}`), `${NAME}-${VERSION}-${release}.x86_64\n`, command);
        assert.equal(await machine.check(`rpm --verify ${NAME}`), '', command);
      }
      await machine.check(`echo '# edited' | tee -a /etc/nitro_enclaves/vsock-proxy.yaml >>/etc/sysconfig/${NAME}`);
      const { stdout: verified } = await machine.run(`rpm --verify ${NAME}`);
      assert.match(verified, new RegExp(`^S\\.5\\.{4}T\\. {2}c /etc/sysconfig/${NAME}\n$`)); // the allowlist is the administrator's
      await machine.check(`${program} --assumeyes remove ${NAME}`);
      assert.match(await machine.check('cat /etc/nitro_enclaves/vsock-proxy.yaml'), /# edited/);
    });

    for (const { what, spoil, said, inSilence } of FAULTS) {
      const silence = inSilence ? '; an upgrade passes over it where skip_if_unavailable is on' : '';
      test(`${what}: refused, told, and nothing is installed${silence}`, async () => {
        using machine = copy();
        await spoil(join(machine.shared, 'repo'), keyring);
        const { status, stdout, stderr } = await machine.run(`${program} --assumeyes install ${NAME}`);
        assert.notEqual(status, 0, stdout + stderr);
        assert.match(stdout + stderr, said);
        assert.notEqual((await machine.run(`rpm -q ${NAME}`)).status, 0);
        if (!inSilence) return;
        assert.notEqual((await machine.run(`${program} --assumeyes upgrade`)).status, 0);
        await machine.check('sed -i s/skip_if_unavailable=0/skip_if_unavailable=1/ /etc/yum.repos.d/*.repo');
        await machine.check(`${program} --assumeyes upgrade`);
      });
    }
  });
}

function digests(directory: string): Readonly<Record<string, string>> {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.map(({ parentPath, name }) => join(parentPath, name)).sort();
  return Object.fromEntries(
    paths.map((path) => [
      path.slice(directory.length + 1),
      createHash('sha256').update(readFileSync(path)).digest('hex'),
    ]),
  );
}

function signedFiles(arch: string): readonly string[] {
  return [`${arch}/${NAME}-${VERSION}-1.${arch}.rpm`, `${arch}/repodata/repomd.xml`, `${arch}/repodata/repomd.xml.asc`];
}
