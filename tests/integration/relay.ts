/**
 * What a program that carries connections from a unix or TCP listener to a server promises, whichever program it is:
 * between real clients and servers on loopback. What vsock itself adds is tested end to end, in the virtual machines of
 * tests/e2e.
 */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect as dial, type Socket } from 'node:net';
import { test } from 'node:test';
import { createServer as createTlsServer, connect as tlsConnect } from 'node:tls';
import { freePort } from '../free-port.ts';
import { makeCertificate } from './certificate.ts';
import { afterTest, assertSame, buffer, connect, ending, LOOPBACK, listen, next, started, text } from './loopback.ts';
import type { RunningProxy } from './proxy.ts';

export interface RelayOptions {
  /** The port of the server on loopback. */
  readonly port: number;
  /** The family of its address; default `unix`. */
  readonly on?: 'tcp' | 'unix';
  /** The most connections at once; default: that of the program. */
  readonly connections?: number;
  readonly connectTimeout?: string;
  /** RLIMIT_NOFILE. */
  readonly descriptors?: number;
}

/** @param start starts the program, with log level info, and resolves when it listens */
export function testRelay(start: (options: RelayOptions) => Promise<RunningProxy>): void {
  async function proxyTo(port: number, options: Omit<RelayOptions, 'port'> = {}): Promise<RunningProxy> {
    const proxy = await start({ ...options, port });
    afterTest(() => proxy.kill());
    return proxy;
  }

  test('TLS passes untouched: the client verifies the certificate of the server itself', async () => {
    const { key, cert } = makeCertificate('kms.us-east-1.amazonaws.com');
    const server = createTlsServer({ key, cert, ALPNProtocols: ['http/1.1'] }, (socket) => socket.end('answer'));
    const proxy = await proxyTo(await started(server));
    const client = tlsConnect({
      socket: await connect(proxy),
      servername: 'kms.us-east-1.amazonaws.com',
      ca: cert,
      ALPNProtocols: ['http/1.1'],
    });
    await once(client, 'secureConnect');
    assert.equal(client.authorized, true);
    assert.equal(client.alpnProtocol, 'http/1.1');
    assert.equal(await text(client), 'answer');
  });

  test('16 MB in both directions at once: every byte is the same', async () => {
    const up = randomBytes(16_000_000);
    const down = randomBytes(16_000_000);
    const received = Promise.withResolvers<Buffer>();
    const port = await listen((socket) => {
      socket.end(down);
      received.resolve(buffer(socket));
    });
    const client = await connect(await proxyTo(port));
    client.end(up);
    assertSame(await buffer(client), down);
    assertSame(await received.promise, up);
  });

  test('1 GB in each direction: the hashes are the same', { timeout: 300_000 }, async () => {
    const block = randomBytes(1_000_003);
    const blocks = 1000;
    const hashes = Promise.withResolvers<string>();
    const port = await listen((socket) => {
      const hash = createHash('sha256');
      socket.on('data', (chunk) => hash.update(chunk));
      socket.on('end', async () => {
        hashes.resolve(hash.digest('hex'));
        await writeBlocks(socket, block, blocks);
      });
    });
    const client = await connect(await proxyTo(port));
    const received = createHash('sha256');
    client.on('data', (chunk) => received.update(chunk));
    const ended = once(client, 'end');
    const sent = await writeBlocks(client, block, blocks);
    assert.equal(await hashes.promise, sent);
    await ended;
    assert.equal(received.digest('hex'), sent);
  });

  test("half-close: the server's reply still arrives after the client's EOF", async () => {
    const port = await listen(async (socket) => socket.end(`got ${await text(socket)}`));
    const client = await connect(await proxyTo(port));
    client.end('a question');
    assert.equal(await text(client), 'got a question');
  });

  test("half-close: the client's bytes still arrive after the server's EOF", async () => {
    const received = Promise.withResolvers<string>();
    const port = await listen((socket) => {
      socket.end('greeting');
      received.resolve(text(socket));
    });
    const client = await connect(await proxyTo(port));
    assert.equal(await text(client), 'greeting');
    client.end('late');
    assert.equal(await received.promise, 'late');
  });

  test("a server's reset reaches the client as a reset, not as an EOF", async () => {
    const port = await listen((socket) => socket.once('data', () => socket.resetAndDestroy()));
    const client = await connect(await proxyTo(port, { on: 'tcp' }));
    client.write('x');
    assert.equal(await ending(client), 'ECONNRESET');
  });

  test("a client's reset reaches the server as a reset, not as an EOF", async () => {
    const ended = Promise.withResolvers<string>();
    const port = await listen((socket) => {
      ended.resolve(ending(socket));
      socket.write('hello');
    });
    const client = await connect(await proxyTo(port, { on: 'tcp' }));
    await next(client);
    client.resetAndDestroy();
    assert.equal(await ended.promise, 'ECONNRESET');
  });

  test('both peers write and neither reads at first: no deadlock', async () => {
    const down = randomBytes(8_000_000);
    const up = randomBytes(8_000_000);
    const served = Promise.withResolvers<Socket>();
    const port = await listen((socket) => {
      socket.pause();
      socket.end(down);
      served.resolve(socket);
    });
    const client = await connect(await proxyTo(port));
    client.pause();
    client.end(up);
    // Both directions are full now, and stay so until this one drains alone.
    assertSame(await buffer(await served.promise), up);
    assertSame(await buffer(client), down);
  });

  test('a refused upstream ends one connection with one line in the log, and the next one works', async () => {
    const port = await freePort();
    const proxy = await proxyTo(port);
    assert.equal(await ending(await connect(proxy)), 'EOF');
    const [line] = await proxy.logged(/WARN .*ECONNREFUSED.*\n/);
    assert.match(line, new RegExp(`${LOOPBACK}:${port}`));
    await listen((socket) => socket.end('here'), port);
    assert.equal(await text(await connect(proxy)), 'here');
  });

  test('a silent server ends its connection at the connect deadline, and blocks no other client', async () => {
    // A listener whose queue is full: the kernel drops further SYNs, as a firewall does.
    const { worker, port } = await import('../dataplane/sockets.ts').then(({ startDeafServer }) => startDeafServer());
    afterTest(() => worker.terminate());
    for (let i = 0; i < 2; i += 1) {
      const filler = dial({ host: LOOPBACK, port });
      afterTest(() => filler.destroy());
      await once(filler, 'connect');
    }
    const proxy = await proxyTo(port, { connections: 100, connectTimeout: '300ms' });
    const clients = await Promise.all(Array.from({ length: 20 }, () => connect(proxy)));
    const endings = await Promise.all(clients.map(ending));
    assert.deepEqual(new Set(endings), new Set(['EOF']));
    await proxy.logged(/WARN .* within 300 ms/);
  });

  test('200 connections at once: each gets its own bytes back', async () => {
    const port = await listen((socket) => socket.pipe(socket));
    const proxy = await proxyTo(port, { connections: 200 });
    const clients = await Promise.all(Array.from({ length: 200 }, () => connect(proxy)));
    await Promise.all(
      clients.map(async (client) => {
        const sent = randomBytes(50_000);
        client.end(sent);
        assert.ok(sent.equals(await buffer(client)));
      }),
    );
  });

  test('connections with more than 1,024 descriptors: all are served at the same time', async () => {
    const port = await listen((socket) => socket.pipe(socket));
    const proxy = await proxyTo(port, { connections: 5000 });
    const clients: Socket[] = [];
    for (let i = 0; i < 20; i += 1)
      clients.push(...(await Promise.all(Array.from({ length: 100 }, () => connect(proxy)))));
    await Promise.all(
      clients.map(async (client, i) => {
        client.write(`${i}`);
        const echo = await next(client);
        assert.equal(String(echo), `${i}`);
      }),
    );
  });

  test('the limit: a fifth client waits, with a warning, and is served as soon as a place is free', async () => {
    const port = await listen((socket) => socket.pipe(socket));
    const proxy = await proxyTo(port, { connections: 4 });
    const [first, ...others] = await Promise.all(Array.from({ length: 4 }, () => connect(proxy)));
    for (const client of [first, ...others]) {
      client?.write('x');
      await next(client ?? assert.fail());
    }
    const fifth = await connect(proxy);
    fifth.write('fifth');
    const [line] = await proxy.logged(/WARN .*Limit of 4 .*\n/);
    assert.match(line, /Hint: raise --\w+/);
    first?.destroy();
    const echo = await next(fifth);
    assert.equal(String(echo), 'fifth');
  });

  test('out of descriptors: a warning, connections go on, and waiting clients are served later', async () => {
    const port = await listen((socket) => socket.pipe(socket));
    const proxy = await proxyTo(port, { connections: 1000, descriptors: 80 });
    const clients = await Promise.all(Array.from({ length: 60 }, () => connect(proxy)));
    await proxy.logged(/WARN .*EMFILE/);
    for (const client of clients.slice(0, 50)) client.destroy();
    const late = clients.at(-1) ?? assert.fail();
    late.write('late');
    const echo = await next(late);
    assert.equal(String(echo), 'late');
  });

  test('a flood of clients that reset at once leaves no trace in the proxy', async () => {
    const port = await listen((socket) => {
      socket.on('error', () => socket.destroy());
      socket.pipe(socket);
    });
    const proxy = await proxyTo(port, { on: 'tcp', connections: 50 });
    for (let round = 0; round < 10; round += 1) {
      await Promise.all(
        Array.from({ length: 100 }, async () => {
          const client = await connect(proxy);
          client.on('error', () => undefined);
          client.write(randomBytes(10_000));
          client.resetAndDestroy();
        }),
      );
    }
    const client = await connect(proxy);
    client.write('alive');
    const echo = await next(client);
    assert.equal(String(echo), 'alive');
  });
}

/** Writes numbered variations of `block`, ends, and returns the hash of it all. */
async function writeBlocks(socket: Socket, block: Buffer, count: number): Promise<string> {
  const hash = createHash('sha256');
  for (let i = 0; i < count; i += 1) {
    const part = Buffer.from(block);
    part.writeUInt32BE(i);
    hash.update(part);
    if (!socket.write(part)) await once(socket, 'drain');
  }
  socket.end();
  return hash.digest('hex');
}
