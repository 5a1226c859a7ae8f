/** vsock-enclave for aarch64, by the emulator of the kernel's interface for programs: `make vsock-enclave ARCH=aarch64`. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { suite, test } from 'node:test';
import { afterTest, onParent, PATIENCE_MS, SERVER_IP, Stage } from './enclave-stage.ts';

const NAME = 'data.test';

onParent(import.meta.filename, `${SERVER_IP} ${NAME}\n`, () => suite('for aarch64', roundTrips), [
  'build/aarch64/vsock-enclave',
]);

function roundTrips(): void {
  test('an application reaches an allowed name by the variables and without them, and no other', async () => {
    const server = createServer((_, response) => response.end('from outside\n')).listen(80, SERVER_IP);
    afterTest(() => server.close());
    await once(server, 'listening');
    const stage = new Stage();
    const parent = await stage.egress([NAME]);
    const curl = 'curl --silent --show-error --max-time 20';
    const script = [
      `${curl} http://${NAME}/`,
      `${curl} --noproxy "*" http://${NAME}/`,
      `${curl} --noproxy "*" http://other.test/ 2>/dev/null || echo $?`,
    ];
    const enclave = stage.enclave({ config: `egress: {allow: [${NAME}]}`, command: ['sh', '-c', script.join('\n')] });
    const { status, stdout, stderr } = await enclave.outcome(PATIENCE_MS);
    assert.deepEqual({ status, stdout }, { status: 0, stdout: 'from outside\nfrom outside\n6\n' }, stderr);
    assert.match(stderr, /other\.test was looked up, and does not exist here/);
    assert.match(parent.stderr.text, /Accepted connection/);
  });
}
