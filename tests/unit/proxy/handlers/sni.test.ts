import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { port } from '../../access/fixture.ts';
import { clientHello, serverName } from '../../protocol/hello.ts';
import { settle } from '../fixture.ts';
import { CLIENT, listener, NAME, ON, type ProxyOptions, SERVER, setUpProxy } from '../running.ts';

async function setUp(changes: Parameters<typeof listener>[0] = {}, options: ProxyOptions = {}) {
  const plan = listener({ route: { kind: 'sni', port: port(443) }, ...changes });
  const proxy = setUpProxy([plan], { names: { [NAME]: ['10.0.0.7'] }, ...options });
  const running = await proxy.start();
  proxy.logged.take();
  const connect = async (...parts: readonly Uint8Array[]) => {
    const client = await proxy.net.connect(ON, CLIENT);
    for (const part of parts) {
      client.write(part);
      await settled();
    }
    return client;
  };
  return { ...proxy, running, connect };
}

async function settled(): Promise<void> {
  for (let i = 0; i < 5; i += 1) await settle();
}

const [ACCESS_DENIED, UNRECOGNIZED_NAME] = [49, 112] as const;

/** By one fatal alert and the end, or by a reset without a word. */
function assertRefused({ ending, received }: { readonly ending: unknown; readonly received: string }, alert?: number) {
  assert.equal(ending, alert === undefined ? 'reset' : 'eof');
  const record = alert === undefined ? [] : [21, 3, 3, 0, 2, 2, alert];
  assert.deepEqual([...Buffer.from(received, 'latin1')], record);
}

const helloTo = (name: string) => clientHello({ extensions: [serverName(name)] });

describe('a TLS client that is refused', () => {
  const cases: readonly (readonly [what: string, hello: Uint8Array, alert: number | undefined, log: RegExp])[] = [
    [
      'because no rule allows the name',
      helloTo('other.example'),
      ACCESS_DENIED,
      /no entry of the allowlist matches other\.example on port 443/,
    ],
    [
      'because it gives no name',
      clientHello({ extensions: [] }),
      UNRECOGNIZED_NAME,
      /not by an IP address.* an underscore or no dot/,
    ],
    [
      'because it gives an IP address',
      helloTo('10.0.0.7'),
      UNRECOGNIZED_NAME,
      /the server name is the IP address "10\.0\.0\.7"/,
    ],
    [
      'because it gives another spelling of one',
      helloTo('2130706433'),
      ACCESS_DENIED,
      /another spelling of 127\.0\.0\.1/,
    ],
    [
      'because it speaks HTTP',
      Buffer.from(`GET / HTTP/1.1\r\nHost: ${NAME}\r\n\r\n`),
      undefined,
      /it sent no usable ClientHello: /,
    ],
  ];
  for (const [what, hello, alert, log] of cases) {
    it(`${what}: ${alert === undefined ? 'reset' : `alert ${alert}`}, one line, nothing resolved`, async () => {
      const { connect, logged, queries, running } = await setUp({}, { level: 'warn' });
      const client = await connect(hello);
      assertRefused(client, alert);
      const lines = logged.take();
      assert.equal(lines.length, 1);
      assert.match(lines[0] ?? '', /^WARN Client on cid: 16 port: 5005: /);
      assert.match(lines[0] ?? '', log);
      assert.deepEqual(queries, []);
      assert.match(running.status(), /; 0 connections$/);
    });
  }

  it('because the name leads to the metadata service: an alert, one line', async () => {
    const { connect, logged } = await setUp({}, { level: 'warn', names: { [NAME]: ['169.254.169.254'] } });
    const client = await connect(helloTo(NAME));
    assertRefused(client, ACCESS_DENIED);
    assert.match(logged.take()[0] ?? '', /169\.254\.169\.254 is a link-local address/);
  });

  it('because there is no such server: an alert, one line', async () => {
    const { connect, logged } = await setUp({}, { level: 'warn', names: {} });
    const client = await connect(helloTo(NAME));
    await settled();
    assertRefused(client, UNRECOGNIZED_NAME);
    assert.match(logged.take().at(-1) ?? '', /no address for api\.example\.com:443: Could not resolve/);
  });

  it('because it ends before its ClientHello does', async () => {
    const { connect, logged } = await setUp({}, { level: 'warn' });
    const client = await connect(helloTo(NAME).subarray(0, 20));
    assert.equal(client.ending, undefined);
    client.end();
    await settled();
    assert.equal(client.ending, 'reset');
    assert.match(logged.take()[0] ?? '', /: it ended before its ClientHello was whole /);
  });
});

describe('a client of PostgreSQL', () => {
  const SSL = Uint8Array.of(0, 0, 0, 8, 4, 210, 22, 47);
  const postgres = { route: { kind: 'sni', port: port(443), starttls: 'postgres' } } as const;

  it('is answered, then connected by its ClientHello to a server that is asked the same', async () => {
    const { connect, net } = await setUp(postgres);
    const server = net.serveAt(SERVER);
    const client = await connect(SSL.subarray(0, 5), SSL.subarray(5));
    assert.equal(client.received, 'S');
    const hello = helloTo(NAME);
    client.write(hello.subarray(0, 50));
    await settled();
    client.write(hello.subarray(50));
    const accepted = await server.accept();
    await accepted.receives(Buffer.from(SSL).toString());
    accepted.write('S');
    await accepted.receives(Buffer.concat([SSL, hello]).toString());
    accepted.write('tls');
    await client.receives('Stls');
  });

  it('is reset where the server says more than that TLS may begin', async () => {
    const { connect, net, logged } = await setUp(postgres, { level: 'warn' });
    const server = net.serveAt(SERVER);
    const client = await connect(SSL, helloTo(NAME));
    (await server.accept()).write('SE');
    await settled();
    assert.equal(client.received, 'S');
    assert.equal(client.ending, 'reset');
    assert.match(logged.take()[0] ?? '', /to SSLRequest it said 2 bytes/);
  });

  it('is reset where nobody answers', async () => {
    const { connect, logged } = await setUp(postgres, { level: 'warn' });
    const client = await connect(SSL, helloTo(NAME));
    await settled();
    assert.equal(client.ending, 'reset');
    assert.match(logged.take()[0] ?? '', /could not connect to .*ECONNREFUSED/);
  });
});

describe('a TLS client', () => {
  it('is connected to the name that it gives, and its bytes go on untouched', async () => {
    const { connect, net, logged } = await setUp();
    const server = net.serveAt(SERVER);
    const hello = helloTo('API.example.com');
    const client = await connect(hello);
    const accepted = await server.accept();
    client.write('more');
    await accepted.receives(`${hello.toString()}more`);
    assert.ok(
      logged.take().includes('INFO Connected client from cid: 16 port: 5005 to 10.0.0.7:443 (api.example.com:443)'),
    );
  });

  it('may send its ClientHello in pieces', async () => {
    const { connect, net } = await setUp();
    const server = net.serveAt(SERVER);
    const hello = helloTo(NAME);
    await connect(hello.subarray(0, 3), hello.subarray(3, 40), hello.subarray(40));
    await (await server.accept()).receives(hello.toString());
  });

  it('goes to the port of its listener, which the rules are about', async () => {
    const { connect, net } = await setUp({ route: { kind: 'sni', port: port(8443) }, allow: [`${NAME} 8443`] });
    const server = net.serveAt({ ...SERVER, port: 8443 });
    await connect(helloTo(NAME));
    await server.accept();
  });
});
