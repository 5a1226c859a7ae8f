/** The log of the executable as JSON. The journal's form is tested with a real journal: tests/e2e/service.test.ts. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { run } from './launch.ts';
import { EXECUTABLE } from './proxy.ts';
import { startServe } from './serve.ts';

let directory: string;
const listener = () => join(directory, 'proxy.sock');
/** Nothing listens at the server's. */
const yaml = (more = '') => `
allowlist: [{address: 127.0.0.1, port: 9}]
listeners: [{listen: "unix:${listener()}", connect: "127.0.0.1:9"}]
${more}`;
const asJson = { prefix: ['env', 'VSOCK_PROXY_LOG_FORMAT=json'] };

function parse(log: string): readonly Readonly<Record<string, unknown>>[] {
  return log
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
}

describe('the log as JSON', () => {
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'vsock-proxy-log-'));
  });

  after(() => rmSync(directory, { recursive: true }));

  test('is one object per line from the first to the last, with the fields of a failure', async () => {
    await using proxy = await startServe(yaml(), asJson);
    const client = connect(listener());
    client.resume();
    await once(client, 'close');
    await proxy.logged(/"event":"failed"/);
    const { stderr } = await proxy.stop();
    const records = parse(stderr);
    assert.equal(records.at(-1)?.message, 'All connections have ended');
    const { time, message, connection, duration_ms, ...failed } = records.find(({ event }) => event === 'failed') ?? {};
    assert.match(
      `${time} ${message}`,
      /^\d{4}-\d\d-\d\dT[\d:.]+Z Client on unix: .*could not connect to 127\.0\.0\.1:9/,
    );
    assert.equal(typeof connection, 'number');
    assert.equal(typeof duration_ms, 'number');
    assert.deepEqual(failed, {
      level: 'warn',
      module: 'vsock_proxy::proxy',
      event: 'failed',
      listener: `unix:${listener()}`,
      target: '127.0.0.1:9',
      server: '127.0.0.1:9',
      reason: 'connect-failed',
      errno: 'ECONNREFUSED',
      bytes_up: 0,
      bytes_down: 0,
    });
  });

  test('begins and ends with a reload of the file that asks for it', async () => {
    await using proxy = await startServe(yaml('log: {format: json}'));
    const [first] = proxy.log.split('\n');
    assert.match(first ?? '', /^\[\S+ INFO {2}vsock_proxy\] Checking allowlist configuration$/);
    assert.match(proxy.log, /^\{"time":.*"message":"Proxy is now in listening state"\}$/m);
    assert.match(await proxy.reload(yaml()), /^Reloaded: /);
  });

  test('has the error that ends the process, and a wrong setting is a warning', async () => {
    const command = [EXECUTABLE, 'serve', '--config', '/no/such/file'];
    const { status, stderr } = await run(command, { VSOCK_PROXY_LOG_FORMAT: 'json' });
    assert.equal(status, 1);
    const [record, ...more] = parse(stderr);
    assert.match(`${record?.level} ${record?.message}`, /^error Error: "Could not open the file: ENOENT/);
    assert.deepEqual(more, []);
    const wrong = await run(command, { VSOCK_PROXY_LOG_FORMAT: 'xml' });
    assert.match(
      wrong.stderr,
      /^warning: VSOCK_PROXY_LOG_FORMAT="xml" is none of text, json, journald: text\nError: "/,
    );
  });
});
