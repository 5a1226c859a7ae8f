/** The contract as tests: however a connection ends, its places are free again. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type {
  CloseReason,
  ConnectionId,
  DataPlane,
  Decision,
  Listening,
  ListenSpec,
} from '../../src/dataplane/contract.ts';
import type { Harness, Peer, Server } from './harness.ts';
import { RecordedEvents } from './recorded-events.ts';
import { SPEC as BASE, LATE_MS, SOON_MS } from './spec.ts';

/** More than the rate of a client allows. */
const FLOOD = 6;

const SPEC: Omit<ListenSpec, 'on'> = { ...BASE, kind: 'fixed', limits: { ...BASE.limits, connectionsPerClient: 1 } };

export function testEndings(name: string, openHarness: () => Harness): void {
  describe(`${name}, one place for each client`, { timeout: LATE_MS }, () => {
    let harness: Harness;
    let events: RecordedEvents;
    let dataPlane: DataPlane;
    let server: Server;
    let listening: Listening;

    beforeEach(async () => {
      harness = openHarness();
      events = new RecordedEvents();
      dataPlane = harness.open(events);
      server = await harness.serve();
    });
    afterEach(() => harness.close());

    const listen = async (changes: Partial<ListenSpec> = {}, upstream = [server.address]): Promise<void> => {
      listening = dataPlane.listen({ ...SPEC, on: await harness.freeAddress(), ...changes });
      dataPlane.setUpstream(listening.id, upstream);
    };
    const connect = (): Promise<Peer> => harness.connect(listening.on);
    const relay = async (): Promise<{ readonly client: Peer; readonly accepted: Peer }> => {
      const client = await connect();
      return { client, accepted: await server.accept() };
    };
    const finish = async ({ client, accepted }: { readonly client: Peer; readonly accepted: Peer }) => {
      client.end();
      accepted.end();
      await client.ended;
    };
    const ask = async (changes: Partial<ListenSpec> = {}): Promise<ConnectionId> => {
      await listen({ kind: 'decide-head', ...changes });
      (await connect()).write('head');
      return (await events.request()).connection;
    };
    const askAndAnswer = async (decision: Decision): Promise<void> => dataPlane.decide(await ask(), decision);
    const timeouts = (changes: Partial<ListenSpec['timeouts']>) => ({ timeouts: { ...SPEC.timeouts, ...changes } });
    const counters = () => {
      const found = dataPlane.counters().find(({ listener }) => listener === listening.id);
      assert.ok(found);
      return found;
    };

    /** How one connection of the client ends with the reason, and the listener for it. */
    const served: Readonly<
      Record<Exclude<CloseReason, 'not-admitted' | 'client-limit' | 'client-rate'>, () => unknown>
    > = {
      finished: () => listen().then(relay).then(finish),
      reset: async () => {
        await listen();
        (await relay()).client.reset();
      },
      'connect-failed': async () => {
        await listen({}, [await harness.freeAddress()]);
        await connect();
      },
      'no-upstream': () => listen({}, []).then(connect),
      'connect-timeout': async () => {
        await listen(timeouts({ connectMs: SOON_MS }), [await harness.silentAddress()]);
        await connect();
      },
      'idle-timeout': () => listen(timeouts({ idleMs: SOON_MS })).then(relay),
      drained: async () => {
        await listen();
        await relay();
        assert.equal(await dataPlane.drain(SOON_MS), 1);
      },
      internal: () => askAndAnswer({ action: 'interim', consume: 0, toClient: Buffer.from('misfit') }),
      'head-timeout': async () => {
        await listen({ kind: 'decide-head', ...timeouts({ headMs: SOON_MS }) });
        await connect();
      },
      'decision-timeout': () => ask(timeouts({ headMs: SOON_MS })),
      denied: () => askAndAnswer({ action: 'reject', reason: 'denied' }),
      malformed: () => askAndAnswer({ action: 'reject', reason: 'malformed' }),
    };

    for (const [reason, end] of Object.entries(served) as [keyof typeof served, () => unknown][]) {
      it(`a connection that ends as ${reason} frees its place`, async () => {
        await end();
        assert.equal((await events.record()).reason, reason);
        const { active, closed } = counters();
        assert.deepEqual({ active, closed: closed[reason] }, { active: 0, closed: 1 });
        if (reason === 'drained') return; // nobody comes any more
        const steps = events.steps.length;
        const next = await connect();
        const refused = next.ended.then(() => events.fault());
        const step = await Promise.race([events.step(steps), refused]);
        assert.ok('step' in step && step.step === 'accepted', `the next client: ${JSON.stringify(step)}`);
      });
    }

    it('a client that is refused as not-admitted takes no place', async () => {
      await listen({ admission: { sources: [] } });
      for (let i = 0; i < FLOOD; i += 1) assert.equal(await (await connect()).ended, 'reset');
      const { active, closed } = counters();
      assert.deepEqual(
        { active, refused: closed['not-admitted'], full: closed['client-limit'] },
        { active: 0, refused: FLOOD, full: 0 },
      );
    });

    it('a client that is refused by client-limit takes no place, and frees none of another', async () => {
      await listen();
      const first = await relay();
      for (let i = 0; i < FLOOD; i += 1) assert.equal(await (await connect()).ended, 'reset');
      assert.equal(counters().closed['client-limit'], FLOOD);
      await finish(first);
      await events.record();
      await relay();
      assert.equal(counters().closed['client-limit'], FLOOD);
    });

    it('a client that is refused by client-rate takes no place, and frees none of another', async () => {
      await listen({ limits: { ...SPEC.limits, connectionsPerClient: FLOOD, ratePerClient: FLOOD - 1 } });
      const clients = await Promise.all(Array.from({ length: FLOOD }, connect));
      assert.equal(await Promise.race(clients.map(({ ended }) => ended)), 'reset');
      await events.fault();
      assert.equal((await events.fault()).kind, 'client-rate');
      const { active, closed } = counters();
      assert.deepEqual({ active, refused: closed['client-rate'] }, { active: FLOOD - 1, refused: 1 });
    });
  });
}
