/** rpmlint of Debian sid, which has rpm 6. `make test-platforms` runs it; that of this machine runs in tests/integration/rpm.test.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Root } from '../root.ts';

test('rpmlint of sid finds nothing but what packaging/rpm/rpmlint.toml explains', async () => {
  using root = Root.of('sid-rpmlint');
  const checked = 'packaging/rpm/*.spec build/nitro-enclaves-vsock-proxy-*-1.*.rpm';
  const { stdout, stderr } = await root.run(`cd /project && rpmlint -c packaging/rpm/rpmlint.toml ${checked}`);
  assert.match(stdout, /6 packages and 1 specfiles checked; 0 errors, 0 warnings/, stdout + stderr);
});
