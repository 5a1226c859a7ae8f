/** The contract's figures as tests, for the addon and for the data plane in memory alike. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { DataPlane, Histogram, Listening, ListenSpec } from '../../src/dataplane/contract.ts';
import { BOUNDS } from './figures.ts';
import type { Harness, Peer, Server } from './harness.ts';
import { RecordedEvents } from './recorded-events.ts';
import { SPEC as BASE, LATE_MS } from './spec.ts';

const SPEC: Omit<ListenSpec, 'on'> = { ...BASE, kind: 'fixed' };

const total = ({ counts }: Histogram) => counts.reduce((sum, count) => sum + count, 0);

export function testFigures(name: string, openHarness: () => Harness): void {
  describe(`figures of ${name}`, { timeout: LATE_MS }, () => {
    let harness: Harness;
    let events: RecordedEvents;
    let dataPlane: DataPlane;

    beforeEach(() => {
      harness = openHarness();
      events = new RecordedEvents();
      dataPlane = harness.open(events);
    });
    afterEach(() => harness.close());

    const listenTo = async (server: Server, changes: Partial<ListenSpec> = {}): Promise<Listening> => {
      const listening = dataPlane.listen({ ...SPEC, on: await harness.freeAddress(), ...changes });
      dataPlane.setUpstream(listening.id, [server.address]);
      return listening;
    };
    const connectThrough = async ({ on }: Listening, server: Server): Promise<{ client: Peer; accepted: Peer }> => {
      const client = await harness.connect(on);
      return { client, accepted: await server.accept() };
    };
    const finish = async ({ client, accepted }: { client: Peer; accepted: Peer }, index: number): Promise<void> => {
      client.end();
      accepted.end();
      await events.record(index);
    };
    const countersOf = ({ id }: Listening) => {
      const counters = dataPlane.counters().find(({ listener }) => listener === id);
      assert.ok(counters);
      return counters;
    };

    it('histograms have the same bounds, and are empty at first', async () => {
      const { connect, duration, queued } = countersOf(await listenTo(await harness.serve()));
      for (const each of [connect, duration, queued]) {
        assert.deepEqual([each.bounds, total(each), each.sum], [BOUNDS, 0, 0]);
        assert.equal(each.counts.length, BOUNDS.length + 1);
      }
    });

    it('an established connection counts in both, a failed one in the durations alone', async () => {
      const server = await harness.serve();
      const listening = await listenTo(server);
      await finish(await connectThrough(listening, server), 0);
      assert.deepEqual([total(countersOf(listening).connect), total(countersOf(listening).duration)], [1, 1]);
      dataPlane.setUpstream(listening.id, [await harness.freeAddress()]);
      (await harness.connect(listening.on)).end();
      await events.record(1);
      assert.deepEqual([total(countersOf(listening).connect), total(countersOf(listening).duration)], [1, 2]);
    });

    it('a client that waited for a place counts in the queue', async () => {
      const server = await harness.serve();
      const listening = await listenTo(server, { limits: { ...SPEC.limits, connections: 1 } });
      const first = await connectThrough(listening, server);
      const second = harness.connect(listening.on);
      await events.fault();
      await finish(first, 0);
      const accepted = await server.accept();
      await finish({ client: await second, accepted }, 1);
      assert.equal(total(countersOf(listening).queued), 1);
    });

    it('each client has totals, a refused one too, and its bytes count when a connection ends', async () => {
      const server = await harness.serve();
      const listening = await listenTo(server, { limits: { ...SPEC.limits, connectionsPerClient: 1 } });
      const open = await connectThrough(listening, server);
      open.client.write('four');
      await open.accepted.receives('four');
      const refused = await harness.connect(listening.on).catch(() => undefined);
      await refused?.ended;
      await events.fault();
      const [client, ...others] = dataPlane.clients();
      assert.deepEqual(others, []);
      assert.deepEqual(
        { ...client, client: undefined },
        { client: undefined, active: 1, accepted: 1, refused: 1, bytesUp: 0, bytesDown: 0 },
      );
      await finish(open, 0);
      const [gone] = dataPlane.clients();
      assert.deepEqual([gone?.active, gone?.accepted, gone?.bytesUp, gone?.client], [0, 1, 4, client?.client]);
    });

    it('open connections are listed with their bytes so far', async () => {
      const server = await harness.serve();
      const listening = await listenTo(server);
      assert.deepEqual(await dataPlane.connections(), []);
      const open = await connectThrough(listening, server);
      open.client.write('four');
      await open.accepted.receives('four');
      open.accepted.write('answer');
      await open.client.receives('answer');
      const { client } = await events.step();
      const [live, ...others] = await dataPlane.connections();
      assert.deepEqual(others, []);
      assert.ok(live);
      const { ageMs, idleMs, connection: _, ...rest } = live;
      assert.deepEqual(rest, {
        listener: listening.id,
        client,
        server: server.address,
        phase: 'relaying',
        bytesUp: 4,
        bytesDown: 6,
      });
      assert.ok(idleMs >= 0 && ageMs >= idleMs, `${ageMs} ${idleMs}`);
      await finish(open, 0);
      assert.deepEqual(await dataPlane.connections(), []);
    });

    it('decisions are counted by their origin', async () => {
      const server = await harness.serve();
      const listening = dataPlane.listen({ ...SPEC, kind: 'decide-head', on: await harness.freeAddress() });
      // Each relay thread has a cache of its own.
      let requested = 0;
      for (let index = 0; index < 3; index++) {
        const client = await harness.connect(listening.on);
        client.write('head');
        const accepting = server.accept();
        const decided = events.request(requested).then(({ connection }) => {
          dataPlane.decide(connection, {
            action: 'connect',
            target: 1,
            addresses: [server.address],
            consume: 4,
            explain: false,
            cache: { bytes: 4, except: [], forMs: LATE_MS },
          });
          requested += 1;
        });
        const accepted = await accepting;
        await Promise.race([decided, Promise.resolve()]);
        await finish({ client, accepted }, index);
      }
      const { decisionsCached, decisionsRequested } = countersOf(listening);
      assert.deepEqual([decisionsCached + decisionsRequested, decisionsRequested], [3, requested]);
    });

    it('threads have used processor time', () => {
      for (const seconds of dataPlane.threadSeconds()) assert.ok(seconds >= 0 && seconds < 60, `${seconds}`);
    });
  });
}
