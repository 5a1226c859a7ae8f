import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { RecordLookUp } from '../../../../src/dns/records.ts';
import { settle } from '../fixture.ts';
import { CLIENT, listener, NAME, ON, setUpProxy } from '../running.ts';

const path = (name: string, type = 'SRV') =>
  `GET /dns-records?name=${name}&type=${type} HTTP/1.1\r\nHost: parent\r\n\r\n`;

async function setUp(changes: Parameters<typeof listener>[0], support: { readonly lookUpRecords?: RecordLookUp }) {
  const proxy = setUpProxy([listener(changes)], { level: 'info', support });
  await proxy.start();
  proxy.logged.take();
  const ask = async (text: string): Promise<string> => {
    const client = await proxy.net.connect(ON, CLIENT);
    client.write(text);
    for (let i = 0; i < 5; i += 1) await settle();
    assert.notEqual(client.ending, undefined, client.received);
    return client.received;
  };
  return { ...proxy, ask };
}

function recording() {
  const asked: string[] = [];
  const lookUpRecords: RecordLookUp = (name, type, asker) => {
    asked.push(`${asker}: ${type} ${name}`);
    return Promise.resolve({ type: 'TXT', records: [['x']] });
  };
  return { asked, lookUpRecords };
}

suite('the HTTP proxy, asked for records', () => {
  test('refuses names that nothing allows, without looking them up or telling of the file, but logs why', async () => {
    const { asked, lookUpRecords } = recording();
    const { ask, logged } = await setUp(
      { allow: ['*.example.com 443', 'x.test 443 17'], deny: [NAME] },
      { lookUpRecords },
    );
    for (const [name, why] of [
      ['other.test', /no entry of the allowlist matches other\.test/],
      [`_s._tcp.${NAME}`, /is denied by api\.example\.com \(deny\.yaml:2\)/],
      ['x.test', /no entry of the allowlist matches x\.test/],
      ['127.1', /another spelling/],
    ] as const) {
      const reply = await ask(path(name));
      assert.match(reply, /^HTTP\/1\.1 403 Forbidden\r\n.*is not allowed by the policy of this proxy\n$/s);
      assert.match(logged.take().join('\n'), why);
    }
    assert.deepEqual(asked, []);
  });

  test('names the list of egress where it decides', async () => {
    const policy = { allow: [], deny: [], allowKey: 'egress.allow' } as const;
    const { ask, logged } = await setUp({ policy }, recording());
    await ask(path('other.test'));
    assert.match(logged.take().join('\n'), /no entry of egress\.allow matches other\.test/);
  });

  test('does not understand such a request where nobody looks records up', async () => {
    const { ask } = await setUp({}, {});
    assert.match(await ask(path(NAME)), /^HTTP\/1\.1 400 /);
  });

  test('answers who may ask, by its CID, and warns of nothing', async () => {
    const { asked, lookUpRecords } = recording();
    const { ask, logged } = await setUp({ allow: [`${NAME} 443 16`] }, { lookUpRecords });
    assert.match(await ask(path(`_s._tcp.${NAME}`, 'TXT')), /^HTTP\/1\.1 200 OK\r\n.*\r\n\r\n\[\["x"\]\]$/s);
    assert.deepEqual(asked, [`16: TXT _s._tcp.${NAME}`]);
    assert.doesNotMatch(logged.take().join(), /WARN/);
  });
});
