/** The contract of src/dataplane/contract.ts as tests, for the addon and for the data plane in memory alike. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { DataPlane, ListenerId, Listening, ListenSpec } from '../../src/dataplane/contract.ts';
import { VsockProxyError } from '../../src/platform/errors.ts';
import type { Harness, Peer, Server } from './harness.ts';
import { RecordedEvents } from './recorded-events.ts';
import { SPEC as BASE, LATE_MS, SOON_MS } from './spec.ts';

const NOBODY = 4242 as ListenerId;

const SPEC: Omit<ListenSpec, 'on'> = { ...BASE, kind: 'fixed' };

export function testDataPlane(name: string, openHarness: () => Harness): void {
  describe(name, { timeout: LATE_MS }, () => {
    let harness: Harness;
    let events: RecordedEvents;
    let dataPlane: DataPlane;

    beforeEach(() => {
      harness = openHarness();
      events = new RecordedEvents();
      dataPlane = harness.open(events);
    });
    afterEach(() => harness.close());

    const listen = async (changes: Partial<ListenSpec> = {}): Promise<Listening> => {
      const on = await harness.freeAddress();
      return dataPlane.listen({ ...SPEC, on, ...changes });
    };
    const listenTo = async (server: Server, changes: Partial<ListenSpec> = {}): Promise<Listening> => {
      const listening = await listen(changes);
      dataPlane.setUpstream(listening.id, [server.address]);
      return listening;
    };
    const connectThrough = async ({ on }: Listening, server: Server): Promise<{ client: Peer; accepted: Peer }> => {
      const client = await harness.connect(on);
      return { client, accepted: await server.accept() };
    };
    /** Waits until every thread has closed its socket. Until then the kernel may take a client that nobody serves. */
    const refusesSoon = async ({ on }: Listening): Promise<void> => {
      const slipsIn = () =>
        harness.connect(on).then(
          (peer) => peer,
          () => undefined,
        );
      for (let peer = await slipsIn(); peer !== undefined; peer = await slipsIn()) peer.reset();
    };
    const countersOf = ({ id }: Listening) => {
      const counters = dataPlane.counters().find(({ listener }) => listener === id);
      assert.ok(counters);
      return counters;
    };

    describe('errors', () => {
      it('listening at an address in use fails with EADDRINUSE', async () => {
        const { on } = await listen();
        assert.throws(
          () => dataPlane.listen({ ...SPEC, on }),
          (error) => error instanceof VsockProxyError && error.code === 'listen-failed' && error.errno === 'EADDRINUSE',
        );
      });

      it('without any address a client is refused, and the record has the reason', async () => {
        const listening = await listen();
        dataPlane.setUpstream(listening.id, []);
        const client = await harness.connect(listening.on);
        assert.equal(await client.ended, 'reset');
        const record = await events.record();
        assert.equal(record.reason, 'no-upstream');
        assert.equal(record.phase, 'connecting');
        assert.equal(record.endedBy, 'proxy');
        assert.equal(record.server, undefined);
      });

      it('before the first addresses a client waits, up to the connect deadline', async () => {
        const listening = await listen({ timeouts: { ...SPEC.timeouts, connectMs: SOON_MS } });
        const client = await harness.connect(listening.on);
        assert.equal(await client.ended, 'reset');
        const record = await events.record();
        assert.equal(record.reason, 'no-upstream');
        assert.ok(record.totalMs >= SOON_MS - 1, `${record.totalMs} ms`);
      });

      it('the first addresses come after the listener was closed: clients that wait are connected', async () => {
        const listening = await listen();
        const server = await harness.serve();
        const client = await harness.connect(listening.on);
        await events.step();
        dataPlane.closeListener(listening.id);
        dataPlane.setUpstream(listening.id, [server.address]);
        const accepted = await server.accept();
        client.write('patience');
        await accepted.receives('patience');
      });

      it('a server that refuses gives a record with its address and errno', async () => {
        const listening = await listen();
        const address = await harness.freeAddress();
        dataPlane.setUpstream(listening.id, [address]);
        const client = await harness.connect(listening.on);
        assert.equal(await client.ended, 'reset');
        const record = await events.record();
        assert.equal(record.reason, 'connect-failed');
        assert.equal(record.errno, 'ECONNREFUSED');
        assert.deepEqual(record.server, address);
        assert.equal(record.endedBy, 'server');
        assert.equal(record.phase, 'connecting');
      });

      it('a server that does not answer ends the connection at the connect deadline', async () => {
        const listening = await listen({ timeouts: { ...SPEC.timeouts, connectMs: SOON_MS } });
        const address = await harness.silentAddress();
        dataPlane.setUpstream(listening.id, [address]);
        const client = await harness.connect(listening.on);
        assert.equal(await client.ended, 'reset');
        const record = await events.record();
        assert.equal(record.reason, 'connect-timeout');
        assert.deepEqual(record.server, address);
        assert.ok(record.connectMs >= SOON_MS - 1, `${record.connectMs} ms`);
      });

      it('ids that do not exist are ignored', () => {
        dataPlane.setUpstream(NOBODY, []);
        dataPlane.closeListener(NOBODY);
        dataPlane.forget(NOBODY);
        assert.deepEqual(dataPlane.counters(), []);
      });

      it('a closed listener has its counters until it is forgotten, which takes that its connections have ended', async () => {
        const server = await harness.serve();
        const listening = await listenTo(server);
        const { client, accepted } = await connectThrough(listening, server);
        dataPlane.forget(listening.id);
        dataPlane.closeListener(listening.id);
        dataPlane.forget(listening.id);
        assert.equal(countersOf(listening).active, 1);
        client.end();
        accepted.end();
        await events.record();
        assert.equal(countersOf(listening).closed.finished, 1);
        dataPlane.forget(listening.id);
        assert.deepEqual(dataPlane.counters(), []);
      });

      it('after stop each call fails, and a second stop does nothing', async () => {
        const listening = await listen();
        dataPlane.stop();
        dataPlane.stop();
        await assert.rejects(harness.connect(listening.on));
      });
    });

    describe('relaying', () => {
      it('bytes arrive in both directions, and are counted', async () => {
        const server = await harness.serve();
        const listening = await listenTo(server);
        const { client, accepted } = await connectThrough(listening, server);
        client.write('question');
        await accepted.receives('question');
        accepted.write('the answer');
        await client.receives('the answer');
        client.end();
        accepted.end();
        const record = await events.record();
        assert.equal(record.reason, 'finished');
        assert.equal(record.bytesUp, 8);
        assert.equal(record.bytesDown, 10);
        assert.deepEqual(record.server, server.address);
        assert.equal(record.phase, 'relaying');
        assert.ok(record.totalMs >= record.connectMs && record.connectMs >= 0 && record.queuedMs >= 0);
      });

      it("half-close: the server's reply still arrives after the client's EOF", async () => {
        const server = await harness.serve();
        const { client, accepted } = await connectThrough(await listenTo(server), server);
        client.write('all of it');
        client.end();
        assert.equal(await accepted.ended, 'eof');
        accepted.write('reply');
        await client.receives('reply');
        accepted.end();
        assert.equal(await client.ended, 'eof');
        assert.equal((await events.record()).endedBy, 'client');
      });

      it("half-close: the client's bytes still arrive after the server's EOF", async () => {
        const server = await harness.serve();
        const { client, accepted } = await connectThrough(await listenTo(server), server);
        accepted.end();
        assert.equal(await client.ended, 'eof');
        client.write('late');
        await accepted.receives('late');
        client.end();
        assert.equal((await events.record()).endedBy, 'server');
      });

      it('bytes that a client sends before the server is connected are not lost', async () => {
        const server = await harness.serve();
        const listening = await listen();
        const client = await harness.connect(listening.on);
        client.write('early');
        client.end();
        dataPlane.setUpstream(listening.id, [server.address]);
        const accepted = await server.accept();
        await accepted.receives('early');
        assert.equal(await accepted.ended, 'eof');
      });

      it('a reset by the client is passed on as a reset', async () => {
        const server = await harness.serve();
        const { client, accepted } = await connectThrough(await listenTo(server), server);
        client.write('x');
        await accepted.receives('x');
        client.reset();
        assert.equal(await accepted.ended, 'reset');
        const record = await events.record();
        assert.equal(record.reason, 'reset');
        assert.equal(record.endedBy, 'client');
        assert.equal(record.errno, 'ECONNRESET');
      });

      it('a reset by the server is passed on as a reset', async () => {
        const server = await harness.serve();
        const { client, accepted } = await connectThrough(await listenTo(server), server);
        accepted.reset();
        assert.equal(await client.ended, 'reset');
        assert.equal((await events.record()).endedBy, 'server');
      });

      it('a connection without traffic ends at the idle deadline', async () => {
        const server = await harness.serve();
        const listening = await listenTo(server, { timeouts: { ...SPEC.timeouts, idleMs: SOON_MS } });
        const { client, accepted } = await connectThrough(listening, server);
        assert.equal(await client.ended, 'reset');
        assert.equal(await accepted.ended, 'reset');
        const record = await events.record();
        assert.equal(record.reason, 'idle-timeout');
        assert.equal(record.endedBy, 'proxy');
      });
    });

    describe('addresses', () => {
      it('the next one is tried when the first refuses', async () => {
        const server = await harness.serve();
        const listening = await listen();
        dataPlane.setUpstream(listening.id, [await harness.freeAddress(), server.address]);
        const { client } = await connectThrough(listening, server);
        client.reset();
        assert.deepEqual((await events.record()).server, server.address);
      });

      it('the next one is tried when the first does not answer', async () => {
        const server = await harness.serve();
        const listening = await listen();
        dataPlane.setUpstream(listening.id, [await harness.silentAddress(), server.address]);
        const { client } = await connectThrough(listening, server);
        client.reset();
        assert.deepEqual((await events.record()).server, server.address);
      });

      it('new ones serve new connections: established ones stay', async () => {
        const [old, young] = [await harness.serve(), await harness.serve()];
        const listening = await listenTo(old);
        const first = await connectThrough(listening, old);
        dataPlane.setUpstream(listening.id, [young.address]);
        const second = await connectThrough(listening, young);
        first.client.write('to the old');
        second.client.write('to the young');
        await first.accepted.receives('to the old');
        await second.accepted.receives('to the young');
      });

      it('removed and set again, they serve again', async () => {
        const server = await harness.serve();
        const listening = await listenTo(server);
        dataPlane.setUpstream(listening.id, []);
        assert.equal(await (await harness.connect(listening.on)).ended, 'reset');
        dataPlane.setUpstream(listening.id, [server.address]);
        const { client, accepted } = await connectThrough(listening, server);
        client.write('again');
        await accepted.receives('again');
      });
    });

    describe('the limit', () => {
      it('a client beyond it waits, with a fault and a count, and is served when a place is free', async () => {
        const server = await harness.serve();
        const listening = await listenTo(server, { limits: { ...SPEC.limits, connections: 1 } });
        const first = await connectThrough(listening, server);
        const second = await harness.connect(listening.on);
        second.write('patience');
        assert.deepEqual(await events.fault(), { kind: 'limit', listener: listening.id });
        const waiting = countersOf(listening);
        assert.equal(waiting.active, 1);
        assert.equal(waiting.accepted, 1);
        assert.equal(waiting.limitHits, 1);
        assert.ok(waiting.waitingMs > 0, `${waiting.waitingMs} ms`);

        first.client.end();
        first.accepted.end();
        const accepted = await server.accept();
        await accepted.receives('patience');
        const served = countersOf(listening);
        assert.equal(served.accepted, 2);
        assert.equal(served.waitingMs, 0);
        assert.ok(served.limitWaitMs > 0, `${served.limitWaitMs} ms`);
        second.reset();
        assert.ok((await events.record(1)).queuedMs > 0);
      });

      it('of a closed listener is over: the client waits for its successor, which has more places', async () => {
        const server = await harness.serve();
        const listening = await listenTo(server, { limits: { ...SPEC.limits, connections: 1 } });
        await connectThrough(listening, server);
        const second = await harness.connect(listening.on);
        await events.fault();
        const on = { family: 'predecessor', listener: listening.id } as const;
        const successor = dataPlane.listen({ ...SPEC, on, limits: { ...SPEC.limits, connections: 2 } });
        dataPlane.setUpstream(successor.id, [server.address]);
        dataPlane.closeListener(listening.id);
        second.write('patience');
        await (await server.accept()).receives('patience');
        assert.equal(countersOf(listening).waitingMs, 0);
      });
    });

    describe('events', () => {
      it('of the lifecycle are accepted, connected, closed, in this order and once each', async () => {
        const server = await harness.serve();
        const listening = await listenTo(server);
        const { client, accepted } = await connectThrough(listening, server);
        client.end();
        accepted.end();
        const { connection, client: address } = await events.record();
        assert.deepEqual(events.order, ['accepted', 'connected', 'closed']);
        const common = { listener: listening.id, connection, client: address };
        assert.deepEqual(events.steps, [
          { step: 'accepted', ...common },
          { step: 'connected', ...common, server: server.address },
        ]);
      });

      it('of failures only are their records, while the counters count all', async () => {
        const server = await harness.serve();
        const listening = await listenTo(server, { report: 'failures' });
        const good = await connectThrough(listening, server);
        good.client.end();
        good.accepted.end();
        assert.equal(await good.client.ended, 'eof');
        const bad = await connectThrough(listening, server);
        bad.client.reset();
        assert.equal((await events.record()).reason, 'reset');
        assert.deepEqual(events.order, ['closed']);
        const { accepted, active, closed } = countersOf(listening);
        assert.deepEqual({ accepted, active }, { accepted: 2, active: 0 });
        assert.deepEqual({ finished: closed.finished, reset: closed.reset }, { finished: 1, reset: 1 });
      });

      it('of each connection have its own number', async () => {
        const listening = await listen();
        dataPlane.setUpstream(listening.id, []);
        const clients = [await harness.connect(listening.on), await harness.connect(listening.on)];
        await Promise.all(clients.map(({ ended }) => ended));
        assert.notEqual((await events.record(0)).connection, (await events.record(1)).connection);
      });
    });

    describe('ending', () => {
      it('a closed listener takes no more clients, and its connections go on', async () => {
        const server = await harness.serve();
        const listening = await listenTo(server);
        const { client, accepted } = await connectThrough(listening, server);
        dataPlane.closeListener(listening.id);
        client.write('still here');
        await accepted.receives('still here');
        await refusesSoon(listening);
        client.write(', and there');
        await accepted.receives('still here, and there');
      });

      it('a drain with nothing open ends at once with 0', async () => {
        await listen();
        assert.equal(await dataPlane.drain(LATE_MS), 0);
      });

      it('a drain takes no more clients and waits for the open connections', async () => {
        const server = await harness.serve();
        const listening = await listenTo(server);
        const { client, accepted } = await connectThrough(listening, server);
        const drained = dataPlane.drain(LATE_MS);
        client.write('last words');
        await accepted.receives('last words');
        await refusesSoon(listening);
        client.end();
        accepted.end();
        assert.equal(await drained, 0);
        assert.equal(countersOf(listening).closed.finished, 1);
        assert.ok(events.records.some(({ reason }) => reason === 'finished'));
      });

      it('a drain resets open connections at its deadline, and all events come before it ends', async () => {
        const server = await harness.serve();
        const listening = await listenTo(server);
        const one = await connectThrough(listening, server);
        const other = await connectThrough(listening, server);
        assert.equal(await dataPlane.drain(SOON_MS), 2);
        assert.deepEqual(
          events.records.map(({ reason, endedBy }) => ({ reason, endedBy })),
          [
            { reason: 'drained', endedBy: 'proxy' },
            { reason: 'drained', endedBy: 'proxy' },
          ],
        );
        for (const { client, accepted } of [one, other]) {
          assert.equal(await client.ended, 'reset');
          assert.equal(await accepted.ended, 'reset');
        }
      });
    });
  });
}
