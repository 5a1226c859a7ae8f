/** The counterparts of the seccomp profile, by their compilers. That they confine as they should, only a kernel with them tells. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Outcome, Program } from '../program.ts';

const CONTAINER = fileURLToPath(new URL('../../packaging/container', import.meta.url));
const work = mkdtempSync(join(tmpdir(), 'vsock-proxy-confinement-'));
after(() => rmSync(work, { recursive: true }));

const run = (command: string, ...args: readonly string[]): Promise<Outcome> =>
  new Program(command, args).outcome(30_000);

test('AppArmor: the profile compiles, and its network has vsock, and neither alg nor packets', async () => {
  const flags = ['--skip-kernel-load', '--skip-cache', '--debug'];
  const { status, stdout, stderr } = await run('apparmor_parser', ...flags, join(CONTAINER, 'apparmor'));
  assert.equal(status, 0, stderr);
  const network = /^Network: (.*)$/m.exec(stdout + stderr)?.[1] ?? '';
  assert.match(network, /\bvsock \{ stream \}/);
  assert.doesNotMatch(network, /\b(alg|packet|bluetooth)\b/);
});

const compile = (cil: string) =>
  run(
    'secilc',
    ...['--output', join(work, 'policy'), '--filecontext', join(work, 'contexts')],
    fileURLToPath(new URL('policy.cil', import.meta.url)),
    cil,
  );

test('SELinux: the domain compiles beside what container-selinux has', async () => {
  const cil = join(CONTAINER, 'selinux.cil');
  assert.equal((await compile(cil)).status, 0);
  assert.match(readFileSync(join(work, 'policy'), 'latin1'), /vsock_proxy\.process/);
});

test('SELinux: a permission that sockets do not have would be refused', async () => {
  const wrong = join(work, 'wrong.cil');
  writeFileSync(wrong, readFileSync(join(CONTAINER, 'selinux.cil'), 'utf8').replace('listen', 'listening'));
  assert.notEqual((await compile(wrong)).status, 0);
});
