import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { promises as dns } from 'node:dns';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { afterEach, suite, test } from 'node:test';
import * as packet from 'dns-packet';
import type { LookUp } from '../../../src/enclave/dns-message.ts';
import { openDnsServer } from '../../../src/enclave/dns-server.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';
import { freePort } from '../../free-port.ts';
import { ip } from '../access/fixture.ts';
import { settle } from '../proxy/fixture.ts';

const IP = '127.0.0.1';

const cleanUps: (() => unknown)[] = [];
afterEach(() => {
  for (const cleanUp of cleanUps.splice(0)) cleanUp();
});

const lookUp: LookUp = (name, type) => {
  if (name === 'slow.example') return settle().then(() => (type === 'TXT' ? { type, records: [['late']] } : []));
  if (name === 'a.example') return [ip('127.64.0.1')];
  return name === 'many.example' ? Array.from({ length: 200 }, (_, index) => ip(`10.0.${index}.1`)) : undefined;
};

async function setUp() {
  const port = await freePort(IP);
  const server = await openDnsServer(IP, port, lookUp);
  cleanUps.push(() => server.close());
  const resolver = new dns.Resolver({ timeout: 5000, tries: 1 });
  resolver.setServers([`${IP}:${port}`]);
  const open = async (): Promise<Socket> => {
    const socket = connect({ host: IP, port }).on('error', () => undefined);
    cleanUps.push(() => socket.destroy());
    await once(socket, 'connect');
    return socket;
  };
  return { port, resolver, open };
}

function query(name: string, id = 1): Buffer {
  return packet.encode({ type: 'query', id, flags: packet.RECURSION_DESIRED, questions: [{ type: 'A', name }] });
}

function framed(message: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([message.length >> 8, message.length & 0xff]), message]);
}

/** The ids of so many replies over TCP. */
async function repliesOf(socket: Socket, count: number): Promise<readonly number[]> {
  let bytes = Buffer.alloc(0);
  const ids: number[] = [];
  while (ids.length < count) {
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    bytes = Buffer.concat([bytes, chunk]);
    while (bytes.length >= 2 && bytes.length >= 2 + bytes.readUInt16BE(0)) {
      ids.push(bytes.readUInt16BE(2));
      bytes = bytes.subarray(2 + bytes.readUInt16BE(0));
    }
  }
  return ids;
}

suite('the DNS server refuses', () => {
  test('to start where its port is taken, over UDP or TCP, and leaves nothing behind', async () => {
    const refused = async (port: number) => {
      const error = await openDnsServer(IP, port, lookUp).then(
        () => assert.fail(),
        (reason: unknown) => reason,
      );
      assert(error instanceof VsockProxyError);
      assert.match(error.line, new RegExp(`DNS server to ${IP}:${port}: .*EADDRINUSE\\. Hint: another DNS server`));
    };
    const port = await freePort(IP);
    const tcp = createServer().listen(port, IP);
    await once(tcp, 'listening');
    await refused(port);
    tcp.close();
    await once(tcp, 'close');
    const udp = createSocket('udp4').bind(port, IP);
    await once(udp, 'listening');
    await refused(port);
    udp.close();
    await once(udp, 'close');
    (await openDnsServer(IP, port, lookUp)).close();
  });

  test('a message over TCP that is longer than any query, and one that is none', async () => {
    const { open } = await setUp();
    for (const bytes of [Buffer.from([0xff, 0xff]), framed(Buffer.alloc(3)), framed(Buffer.alloc(12, 0xff))]) {
      const socket = await open();
      socket.resume();
      socket.write(bytes);
      await once(socket, 'close');
    }
  });
});

suite('the DNS server answers', () => {
  test('c-ares, over UDP and, where the answer does not fit, over TCP', async () => {
    const { resolver } = await setUp();
    assert.deepEqual(await resolver.resolve4('a.example'), ['127.64.0.1']);
    assert.equal((await resolver.resolve4('many.example')).length, 200);
    await assert.rejects(resolver.resolve6('a.example'), { code: 'ENODATA' });
    await assert.rejects(resolver.resolve4('b.example'), { code: 'ENOTFOUND' });
    await assert.rejects(resolver.resolveTxt('a.example'), { code: 'ENODATA' });
  });

  test('many queries on one connection, in pieces and together, in their order', async () => {
    const { open } = await setUp();
    const socket = await open();
    const all = Buffer.concat(Array.from({ length: 50 }, (_, id) => framed(query('a.example', id))));
    for (const byte of all.subarray(0, 40)) socket.write(Buffer.of(byte));
    socket.write(all.subarray(40));
    assert.deepEqual(
      await repliesOf(socket, 50),
      Array.from({ length: 50 }, (_, id) => id),
    );
  });

  test('what somebody else has to be asked for, in the order of the queries where they share a connection', async () => {
    const { open, resolver } = await setUp();
    assert.deepEqual(await resolver.resolveTxt('slow.example'), [['late']]);
    const socket = await open();
    const names = ['slow.example', 'a.example', 'slow.example', 'slow.example', 'a.example'];
    socket.write(Buffer.concat(names.map((name, id) => framed(query(name, id)))));
    assert.deepEqual(await repliesOf(socket, names.length), [0, 1, 2, 3, 4]);
  });

  test('others while 64 connections say nothing, and datagrams that are no queries go by', async () => {
    const { open, resolver, port } = await setUp();
    await Promise.all(Array.from({ length: 64 }, open));
    const stray = createSocket('udp4');
    cleanUps.push(() => stray.close());
    for (const bytes of ['', 'x', Buffer.alloc(12, 0xff), Buffer.alloc(60_000)]) stray.send(bytes, port, IP);
    assert.deepEqual(await resolver.resolve4('a.example'), ['127.64.0.1']);
  });
});
