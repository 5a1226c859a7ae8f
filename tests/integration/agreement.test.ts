/** The built executable says by `check` what it does by `serve`: one file, a listener for each policy, and who gets where. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { run } from './launch.ts';
import { enterNamespace } from './namespace.ts';
import { EXECUTABLE } from './proxy.ts';
import { ask, startRawServer } from './raw.ts';
import { type RunningServe, startServe } from './serve.ts';

const SERVER = '10.77.0.1';
const METADATA = '169.254.169.254';

const directory = enterNamespace(import.meta.filename, {
  servers: { [SERVER]: ['web.test'], [METADATA]: ['metadata.test'] },
});

/** The rules of a listener, the target of its clients (absent: they request `host`), and whether they reach it. */
const CASES: readonly {
  readonly allow: string;
  readonly connect?: true;
  readonly settings?: string;
  readonly host: string;
  readonly verdict: 'allowed' | 'denied';
}[] = [
  { allow: '0.0.0.0/0', host: METADATA, verdict: 'denied' },
  { allow: '0.0.0.0/0', host: '127.0.0.1', verdict: 'denied' },
  { allow: '0.0.0.0/0', host: SERVER, verdict: 'allowed' },
  { allow: METADATA, host: METADATA, verdict: 'allowed' },
  { allow: '169.254.0.0/16', host: METADATA, verdict: 'allowed' },
  { allow: '**', host: 'metadata.test', verdict: 'denied' },
  { allow: '**', host: 'web.test', verdict: 'allowed' },
  { allow: '**', host: SERVER, verdict: 'denied' },
  { allow: '0.0.0.0/0', host: 'web.test', verdict: 'denied' },
  { allow: '0.0.0.0/0', settings: 'ip_family: ipv6', host: SERVER, verdict: 'denied' },
  { allow: 'metadata.test', connect: true, host: 'metadata.test', verdict: 'denied' },
  { allow: '0.0.0.0/0', connect: true, host: 'web.test', verdict: 'allowed' },
  { allow: 'web.test', connect: true, host: SERVER, verdict: 'allowed' },
  { allow: METADATA, connect: true, host: METADATA, verdict: 'allowed' },
  { allow: METADATA, connect: true, settings: 'proxy_protocol: v2', host: METADATA, verdict: 'allowed' },
  { allow: 'metadata.test', connect: true, settings: 'proxy_protocol: v2', host: 'metadata.test', verdict: 'denied' },
];

const pathOf = (index: number) => join(directory, `${index}.sock`);
const listeners = CASES.map(({ allow, connect, settings, host }, index) => {
  const route = connect === undefined ? 'route: http' : `connect: "${host}:80"`;
  const more = settings === undefined ? '' : `, ${settings}`;
  return `- {listen: "unix:${pathOf(index)}", ${route}${more}, allowlist: [{address: "${allow}", port: 80}]}\n`;
});

let proxy: RunningServe;
const disposables: AsyncDisposable[] = [];

before(async () => {
  for (const ip of [SERVER, METADATA, '127.0.0.1']) {
    disposables.push(await startRawServer(ip, 80, (socket, all) => all.endsWith('?') && socket.end('here I am')));
  }
  proxy = await startServe(`listeners:\n${listeners.join('')}`);
  disposables.push(proxy);
});

after(async () => {
  for (const disposable of disposables.reverse()) await disposable[Symbol.asyncDispose]();
});

describe('a client reaches what check allows', () => {
  for (const [index, { allow, connect, settings = '', host, verdict }] of CASES.entries()) {
    const route = connect === undefined ? 'that it asks for' : 'of the listener';
    it(`${verdict}: the address ${host} ${route}, given ${allow} ${settings}`, async () => {
      const listener = `unix:${pathOf(index)}`;
      const args = ['check', '--config', proxy.configPath, '--listener', listener, '--resolve', '--json', host, '80'];
      const { status, stdout } = await run([EXECUTABLE, ...args]);
      assert.equal(JSON.parse(stdout).verdict, verdict);
      assert.equal(status, verdict === 'allowed' ? 0 : 1);
      const head = connect === undefined ? `CONNECT ${host}:80 HTTP/1.1\r\nHost: ${host}:80\r\n\r\n` : '';
      const received = await ask({ path: pathOf(index) }, `${head}?`);
      assert.equal(received.endsWith('here I am'), verdict === 'allowed', received);
    });
  }
});

describe('a fixed route to a guarded address that a wide range covers', () => {
  for (const settings of ['', ', proxy_protocol: v2']) {
    it(`is the same problem of the file for serve and for check ${settings}`, async () => {
      const file = join(directory, 'guarded.yaml');
      writeFileSync(
        file,
        `allowlist: [{address: 0.0.0.0/0, port: 80}]\nlisteners:\n- {listen: "unix:${directory}/x.sock", connect: "${METADATA}:80"${settings}}\n`,
      );
      const served = await run([EXECUTABLE, 'serve', '--config', file]);
      const checked = await run([EXECUTABLE, 'check', '--config', file]);
      assert.deepEqual([served.status, checked.status], [1, 1]);
      const problem =
        /listeners\[0\]\.connect: The given address and port are not allowed: 169\.254\.169\.254 is a link-local address, where the instance metadata service lives, and 0\.0\.0\.0\/0 \(\S*guarded\.yaml:1\) covers it without meaning it/;
      assert.match(served.stderr, problem);
      assert.match(checked.stdout, problem);
    });
  }
});
