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
import { changeFile, type HostsEntry, withHosts, withNameserver } from '../../../src/enclave/files.ts';
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

suite('/etc/resolv.conf', () => {
  test('has our server and no other', () => {
    assert.equal(withNameserver('', '127.0.0.1'), 'nameserver 127.0.0.1\n');
    const text = '# made by somebody\nnameserver 8.8.8.8\n nameserver 1.1.1.1\noptions timeout:1\nsearch a.example\n';
    const changed = 'nameserver 127.0.0.1\n# made by somebody\noptions timeout:1\nsearch a.example\n';
    assert.equal(withNameserver(text, '127.0.0.1'), changed);
    assert.equal(withNameserver(changed, '127.0.0.1'), changed);
    assert.equal(withNameserver('nameserver 127.0.0.1\nnameserver 8.8.8.8\n', '127.0.0.1'), 'nameserver 127.0.0.1\n');
  });
});
