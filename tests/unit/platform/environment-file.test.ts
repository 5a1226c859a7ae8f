import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, suite, test } from 'node:test';
import { writeEnvironmentFile } from '../../../src/platform/environment-file.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';

const directory = mkdtempSync(join(tmpdir(), 'vsock-proxy-environment-'));
after(() => rmSync(directory, { recursive: true }));

suite('an environment file', () => {
  for (const value of ['a b', 'a"', "a'", 'a\nB=c', 'a\\', '$a', 'ä']) {
    test(`with the value ${JSON.stringify(value)} is never written`, () => {
      const path = join(directory, 'odd');
      assert.throws(() => writeEnvironmentFile(path, { NAME: value }), /would need quotes/);
      assert.equal(readdirSync(directory).includes('odd'), false);
    });
  }

  test('that cannot be put in place leaves nothing behind, and says why', () => {
    const place = join(directory, 'taken');
    mkdirSync(place);
    const before = readdirSync(directory);
    assert.throws(
      () => writeEnvironmentFile(place, { NAME: 'value' }),
      (error) => error instanceof VsockProxyError && /^Environment file .*: EISDIR, .*Hint: /.test(error.line),
    );
    assert.deepEqual(readdirSync(directory), before);
  });

  test('replaces the one before as a whole', () => {
    const path = join(directory, 'file');
    writeEnvironmentFile(path, { ONE: 'a'.repeat(1000) });
    writeEnvironmentFile(path, { KMS_ENDPOINT: 'kms.eu-west-1.amazonaws.com', OTHER: '10.0.0.1:443' });
    assert.equal(readFileSync(path, 'utf8'), 'KMS_ENDPOINT=kms.eu-west-1.amazonaws.com\nOTHER=10.0.0.1:443\n');
  });
});
