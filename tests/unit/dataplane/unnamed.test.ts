import assert from 'node:assert/strict';
import { closeSync, constants, fstatSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, suite, test } from 'node:test';
import { openUnnamed } from '../../../src/dataplane/unnamed.ts';

const directory = mkdtempSync(join(tmpdir(), 'vsock-proxy-unnamed-'));
after(() => rmSync(directory, { recursive: true }));

suite('a file without a name', () => {
  test('is refused with the reason where there is no such directory', () => {
    assert.throws(() => openUnnamed(join(directory, 'none')), { code: 'ENOENT' });
    writeFileSync(join(directory, 'file'), '');
    assert.throws(() => openUnnamed(join(directory, 'file')), { code: 'ENOTDIR' });
    rmSync(join(directory, 'file'));
  });

  for (const [where, ...flags] of [
    ['a file system that knows of such files'],
    // What such systems say of them: EISDIR, a directory cannot be opened for writing; EEXIST and ENOTDIR stand for
    // whatever else they may say (EOPNOTSUPP and others: tests/integration/executable.test.ts).
    ['one that does not', constants.O_DIRECTORY],
    ['one that says something else', constants.O_CREAT],
  ] as const) {
    test(`is made on ${where}: for its owner alone, and in no directory`, () => {
      const descriptor = openUnnamed(directory, ...flags);
      writeFileSync(descriptor, 'text');
      const { mode, nlink, size } = fstatSync(descriptor);
      assert.deepEqual([mode & 0o777, nlink, size], [0o600, 0, 4]);
      assert.deepEqual(readdirSync(directory), []);
      closeSync(descriptor);
    });
  }
});
