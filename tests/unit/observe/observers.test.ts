import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, describe, it } from 'node:test';
import { openObservation } from '../../../src/observation.ts';
import { Observers } from '../../../src/observe/observers.ts';
import type { MetricsPlan } from '../../../src/plan.ts';
import type { Environment } from '../../../src/platform/environment.ts';
import type { RunningProxy } from '../../../src/proxy/server.ts';
import { recordLog } from '../proxy/fixture.ts';
import { PROCESS, snapshot } from './fixture.ts';

const folder = mkdtempSync(join(tmpdir(), 'observers-'));
after(() => rmSync(folder, { recursive: true }));

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
});

function open(): Observers {
  const observers = new Observers({
    observed: { version: '0.2.0', snapshot, connections: async () => [], process: () => PROCESS },
    log: recordLog('error').logFor('vsock_proxy'),
    fetchMetrics: () => Promise.reject(new Error('ETIMEDOUT')),
  });
  cleanUps.push(() => observers.close());
  return observers;
}

/** Metrics of a proxy whose plan may change, as at its reloads. */
async function observe(env: Environment = {}, first?: MetricsPlan) {
  const proxy = { plan: first, metrics: () => proxy.plan, snapshot, connections: async () => [] };
  const log = recordLog('error');
  const observed = proxy as object as RunningProxy;
  const observation = await openObservation(observed, log.logFor('vsock_proxy'), { env, version: '0.2.0' });
  cleanUps.push(() => observation.close());
  return { observation, log, proxy };
}

function plan(name: string, line = 1, cids: readonly number[] = []): MetricsPlan {
  const listen = { family: 'unix', path: join(folder, name) } as const;
  return { place: `my.yaml:${line}`, listen, enclaves: cids.map((cid) => ({ cid, port: 9465 })) };
}

async function connect(name: string): Promise<Socket> {
  const client = createConnection(join(folder, name));
  cleanUps.push(() => client.destroy());
  await once(client, 'connect');
  return client.setEncoding('utf8');
}

/** What a client that stays connected gets, up to the last line of the pages. */
async function scrape(client: Socket): Promise<string> {
  client.write('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n');
  let text = '';
  for await (const chunk of client.iterator({ destroyOnReturn: false })) {
    text += chunk;
    const [head = '', body] = text.split('\r\n\r\n');
    if (body?.length === Number(/Content-Length: (\d+)/.exec(head)?.[1])) return body;
  }
  return assert.fail(`the connection has ended after: ${text}`);
}

describe('the address of metrics', () => {
  it('stays open with its clients when only its line or its enclaves change', async () => {
    const observers = open();
    await observers.applyMetrics(plan('stays'));
    const client = await connect('stays');
    assert.doesNotMatch(await scrape(client), /enclave_up/);
    await observers.applyMetrics(plan('stays', 2));
    await observers.applyMetrics(plan('stays', 2, [16]));
    assert.match(await scrape(client), /^vsock_proxy_enclave_up\{cid="16"\} 0$/m);
    await observers.applyMetrics(plan('stays', 2));
    assert.doesNotMatch(await scrape(client), /enclave_up/);
  });

  it('changes once, and without an error, for two reloads at the same time', async () => {
    const { observation, log, proxy } = await observe();
    for (const name of ['first', 'second']) {
      proxy.plan = plan(name);
      await Promise.all([observation.follow(), observation.follow()]);
      assert.match(await scrape(await connect(name)), /^vsock_proxy_/m);
    }
    assert.deepEqual(log.take(), []);
    await assert.rejects(connect('first'), { code: 'ENOENT' });
  });

  it('stays as it was when the file has none any more, and the environment a wrong one: an error, and no end', async () => {
    const { observation, log, proxy } = await observe({ VSOCK_PROXY_METRICS: 'nonsense' }, plan('file'));
    proxy.plan = undefined;
    await observation.follow();
    assert.match(log.take().join(), /^ERROR .*VSOCK_PROXY_METRICS is not valid: "nonsense"/);
    assert.match(await scrape(await connect('file')), /^vsock_proxy_/m);
  });

  it('stays as it was when the new one cannot be opened', async () => {
    const observers = open();
    writeFileSync(join(folder, 'taken'), '');
    await observers.applyMetrics(plan('kept'));
    await assert.rejects(observers.applyMetrics(plan('taken')), { code: 'listen-failed', place: 'my.yaml:1' });
    assert.match(await scrape(await connect('kept')), /^vsock_proxy_/m);
    await observers.applyMetrics(undefined);
    await assert.rejects(connect('kept'), { code: 'ENOENT' });
  });
});
