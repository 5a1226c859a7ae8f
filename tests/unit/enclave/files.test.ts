import assert from 'node:assert/strict';
import {
  lstatSync,
  mkdirSync,
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
import { after, suite, test } from 'node:test';
import { parseHostname, parseIpAddress } from '../../../src/access/address.ts';
import { changeFile, type HostsEntry, withHosts, withOwnName, withResolver } from '../../../src/enclave/files.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';

const directory = mkdtempSync(join(tmpdir(), 'vsock-proxy-files-'));
after(() => rmSync(directory, { recursive: true }));

function host(name: string, ip: string): HostsEntry {
  const parsed = parseHostname(name);
  assert(typeof parsed === 'string');
  return { name: parsed, ip: parseIpAddress(ip) ?? assert.fail(ip) };
}

suite('a file that cannot be changed', () => {
  const problem = (path: string): string => {
    try {
      changeFile(path, () => 'new');
    } catch (error) {
      assert(error instanceof VsockProxyError);
      return error.line;
    }
    return assert.fail('it was changed');
  };

  test('says which and why', () => {
    assert.match(problem(join(directory, 'none/hosts')), /none\/hosts could not be written: ENOENT, .*Hint: /);
    writeFileSync(join(directory, 'file'), '');
    assert.match(problem(join(directory, 'file/hosts')), /ENOTDIR/);
    mkdirSync(join(directory, 'folder'));
    assert.match(problem(join(directory, 'folder')), /EISDIR/);
  });

  test('leaves nothing beside it', () => {
    mkdirSync(join(directory, 'beside/hosts'), { recursive: true });
    assert.match(problem(join(directory, 'beside/hosts')), /EISDIR/);
    assert.deepEqual(readdirSync(join(directory, 'beside')), ['hosts']);
  });
});

suite('a file that is changed', () => {
  test('what is right already is not written', () => {
    const path = join(directory, 'right');
    writeFileSync(path, 'text');
    const { ino, mtimeMs } = statSync(path);
    changeFile(path, (text) => text);
    assert.deepEqual([statSync(path).ino, statSync(path).mtimeMs], [ino, mtimeMs]);
  });

  test('a missing one is made, and anybody may read it', () => {
    const path = join(directory, 'missing');
    changeFile(path, (text) => `${text}new`);
    assert.equal(readFileSync(path, 'utf8'), 'new');
    assert.equal(statSync(path).mode & 0o777, 0o644);
  });

  test('anybody may read it, whatever the umask keeps from others', () => {
    const path = join(directory, 'masked');
    const before = process.umask(0o077);
    changeFile(path, () => 'new');
    process.umask(before);
    assert.equal(statSync(path).mode & 0o777, 0o644);
  });

  test('a link is replaced, also one to nowhere, and what it leads to stays', () => {
    const [target, link, dangling] = ['target', 'link', 'dangling'].map((name) => join(directory, name));
    assert(target && link && dangling);
    writeFileSync(target, 'old');
    symlinkSync(target, link);
    symlinkSync('/nowhere/resolv.conf', dangling);
    for (const path of [link, dangling]) {
      changeFile(path, () => 'new');
      assert.equal(readFileSync(path, 'utf8'), 'new');
      assert(lstatSync(path).isFile());
    }
    assert.equal(readFileSync(target, 'utf8'), 'old');
  });
});

suite('/etc/hosts', () => {
  const localhost = [host('localhost', '127.0.0.1'), host('localhost', '::1')];

  test('names that are there already are not written again', () => {
    const text = '127.0.0.1 localhost box # this one\n::1 ip6-localhost localhost\n';
    assert.equal(withHosts(text, localhost), text);
    assert.equal(withHosts(withHosts('', localhost), localhost), '127.0.0.1\tlocalhost\n::1\tlocalhost\n');
  });

  test('a name that leads elsewhere gets its line in front, and what is there stays', () => {
    const text = '10.0.0.1 ip-ranges.amazonaws.com other\n';
    const lines = withHosts(text, [host('ip-ranges.amazonaws.com', '127.0.0.1')]);
    assert.equal(lines, `127.0.0.1\tip-ranges.amazonaws.com\n${text}`);
    assert.equal(withHosts(lines, [host('ip-ranges.amazonaws.com', '127.0.0.1')]), lines);
  });

  test('a file without a newline at its end, and a comment that only looks like an entry', () => {
    assert.equal(
      withHosts('# 127.0.0.1 localhost', localhost.slice(0, 1)),
      '127.0.0.1\tlocalhost\n# 127.0.0.1 localhost',
    );
  });
});

suite('the own name in /etc/hosts', () => {
  test('is written where it is missing, whatever it is; and once', () => {
    for (const hostName of ['box', '(none)', 'ip-10-0-0-1.ec2.internal']) {
      const text = withOwnName('127.0.0.1\tlocalhost\n', hostName);
      assert.equal(text, `127.0.0.1\t${hostName}\n127.0.0.1\tlocalhost\n`);
      assert.equal(withOwnName(text, hostName), text);
    }
  });

  test('stays where it leads elsewhere, in capitals, too, but not as a part of another name or of a comment', () => {
    for (const text of ['172.17.0.2\tbox\n', '127.0.1.1 BOX.example Box\n', '::1 box']) {
      assert.equal(withOwnName(text, 'box'), text);
    }
    for (const text of ['127.0.0.1 boxes\n', '# 127.0.0.1 box\n', 'box\n', '127.0.0.1 localhost # box\n']) {
      assert.equal(withOwnName(text, 'box'), `127.0.0.1\tbox\n${text}`);
    }
  });

  test('is left out where it would be more than a name', () => {
    for (const hostName of ['', 'a b', 'a#b', 'a\n8.8.8.8 kms.example']) assert.equal(withOwnName('', hostName), '');
  });
});

suite('/etc/resolv.conf', () => {
  const server = '127.0.0.1';

  test('has our server and no other, and no search list but the one of the file', () => {
    const box = { server, search: [], hostName: 'box' };
    assert.equal(withResolver('', box), 'nameserver 127.0.0.1\n');
    const text =
      '# made by somebody\nnameserver 8.8.8.8\n nameserver 1.1.1.1\noptions ndots:5\nsearch a.example\ndomain b.example\n';
    const changed = 'nameserver 127.0.0.1\n# made by somebody\noptions ndots:5\n';
    assert.equal(withResolver(text, box), changed);
    assert.equal(withResolver(changed, box), changed);
    const listed = 'nameserver 127.0.0.1\nsearch mycorp.com b.example\n# made by somebody\noptions ndots:5\n';
    assert.equal(withResolver(text, { ...box, search: ['mycorp.com', 'b.example'] }), listed);
    assert.equal(withResolver(listed, { ...box, search: ['mycorp.com', 'b.example'] }), listed);
  });

  test('has an empty search list where libc would make one of the domain of the host name', () => {
    const settings = { server, search: [], hostName: 'box.mycorp.com' };
    assert.equal(withResolver('search a.example\n', settings), 'nameserver 127.0.0.1\nsearch .\n');
    assert.equal(withResolver('', { ...settings, search: ['a.example'] }), 'nameserver 127.0.0.1\nsearch a.example\n');
  });
});
