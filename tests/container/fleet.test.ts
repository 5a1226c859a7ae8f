/**
 * Rolling updates of the pod under load, as a DaemonSet does them: the old container leaves, then the new one starts. No
 * connection is cut before its drain deadline.
 *
 * FLEET_UPDATES: how many updates, 5 by default; `make soak-fleet` does 50.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, connect as dial, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { freePort } from '../free-port.ts';
import { seeded } from '../random.ts';
import { Bundle, type Container, OURS, PROJECT } from './runc.ts';

const UPDATES = Number(process.env.FLEET_UPDATES ?? 5);
const CLIENTS = 16;
/** Much longer than a visit. */
const DRAIN_MS = 5000;
const VISIT_MS = 400;
const PATIENCE_MS = 60_000;
const LOOPBACK = '127.0.0.1';

const work = mkdtempSync(join(PROJECT, 'build/fleet-'));
const server = createServer({ allowHalfOpen: true }, (socket) => socket.on('error', () => undefined).pipe(socket));
let bundle: Bundle;
let proxyPort: number;
let probePort: number;

before(async () => {
  bundle = await Bundle.unpack(work);
  server.listen(0, LOOPBACK);
  await once(server, 'listening');
  [proxyPort, probePort] = [await freePort(), await freePort()];
  mkdirSync(join(work, 'config'));
  writeFileSync(
    join(work, 'config/proxy.yaml'),
    `allowlist: [{address: ${LOOPBACK}, port: ${portOf(server)}}]
metrics: {listen: "tcp:${LOOPBACK}:${probePort}"}
timeouts: {drain: ${DRAIN_MS}ms}
listeners: [{listen: "tcp:${LOOPBACK}:${proxyPort}", connect: "${LOOPBACK}:${portOf(server)}"}]
`,
  );
});

after(async () => {
  server.close();
  await bundle.clear();
  rmSync(work, { recursive: true });
});

test(`${UPDATES} rolling updates under load: no connection is cut before its drain deadline`, async () => {
  const load = { over: false, visits: 0 };
  const clients = Promise.all(Array.from({ length: CLIENTS }, (_, index) => visitor(seeded(index), load)));
  try {
    await Promise.race([clients, rollOut(load)]);
  } finally {
    load.over = true;
  }
  await clients;
});

async function rollOut(load: { readonly visits: number }): Promise<void> {
  let current = await startPod();
  for (let update = 0; update < UPDATES; update += 1) {
    const before = load.visits;
    const staying = await stay();
    const signalled = performance.now();
    await bundle.signal(current, 'TERM');
    const cut = await staying.cut;
    assert.ok(cut - signalled >= DRAIN_MS, `cut ${cut - signalled} ms after the signal, and may stay ${DRAIN_MS} ms`);
    assert.equal((await current.program.outcome(PATIENCE_MS)).status, 0, current.program.stderr.text);
    current = await startPod();
    while (load.visits === before) await wait(10);
  }
  await bundle.signal(current, 'TERM');
  assert.equal((await current.program.outcome(PATIENCE_MS)).status, 0, current.program.stderr.text);
}

/** Resolves when the readiness probe says yes. */
async function startPod(): Promise<Container> {
  const args = ['/usr/bin/vsock-proxy', 'serve', '--watch', '--config', '/config/proxy.yaml'];
  const volumes = { '/config': join(work, 'config') };
  const container = bundle.start({ seccomp: OURS, args, volumes, hostNetwork: true });
  await container.program.stderr.match(/Proxy is now in listening state/, PATIENCE_MS);
  while (!(await isReady())) await wait(10);
  return container;
}

async function isReady(): Promise<boolean> {
  const answer = await fetch(`http://${LOOPBACK}:${probePort}/readyz`).catch(() => undefined);
  return answer?.ok === true;
}

/**
 * One connection after the other, each of up to VISIT_MS: what it sends comes back whole, and then the end.
 * Between two pods nobody listens, and it tries again.
 * @throws AssertionError when a connection that was accepted is cut
 */
async function visitor(random: () => number, load: { over: boolean; visits: number }): Promise<void> {
  while (!load.over) {
    const socket = await connected();
    if (socket === undefined) {
      await wait(5);
      continue;
    }
    let [sent, received] = ['', ''];
    socket.setEncoding('latin1').on('data', (text: string) => {
      received += text;
    });
    const ended = once(socket, 'end'); // rejects when it is reset
    for (let piece = 0; piece < 4; piece += 1) {
      const text = String.fromCharCode(97 + piece).repeat(1 + Math.floor(random() * 100_000));
      sent += text;
      socket.write(text);
      await wait(random() * (VISIT_MS / 4));
    }
    socket.end();
    await ended;
    assert.ok(received === sent, `${received.length} bytes of ${sent.length} came back`);
    load.visits += 1;
  }
}

/** A connection that does not end by itself, and the time when it was ended. */
async function stay(): Promise<{ readonly cut: Promise<number> }> {
  const socket = await connected();
  assert.ok(socket !== undefined, 'a pod that is ready accepts');
  socket.on('error', () => undefined).resume();
  const { promise, resolve } = Promise.withResolvers<number>();
  socket.once('close', () => resolve(performance.now()));
  socket.write('a byte that comes back shows that the connection stands');
  await once(socket, 'data');
  return { cut: promise };
}

/** @returns undefined when nobody listens, or the listener left before it accepted */
async function connected(): Promise<Socket | undefined> {
  const socket = dial({ host: LOOPBACK, port: proxyPort, allowHalfOpen: true });
  try {
    await once(socket, 'connect');
    return socket;
  } catch {
    return undefined;
  }
}

function portOf(of: typeof server): number {
  return (of.address() as AddressInfo).port;
}
