/** The contract as tests: decision requests, decisions, exchanges, refused clients. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type {
  CloseReason,
  DataPlane,
  Decision,
  Listening,
  ListenSpec,
  SocketAddress,
  TargetId,
} from '../../src/dataplane/contract.ts';
import type { Framing } from '../../src/protocol/framing.ts';
import type { Harness, Peer, Server } from './harness.ts';
import { RecordedEvents } from './recorded-events.ts';
import { Requests } from './requests.ts';
import { SPEC as BASE, LATE_MS, SOON_MS } from './spec.ts';

const TARGET: TargetId = 42;

const SPEC: Omit<ListenSpec, 'on'> = { ...BASE, kind: 'decide-head' };

const bytes = (text: string) => Buffer.from(text);

export function testDeciding(name: string, openHarness: () => Harness): void {
  describe(`${name}, decisions`, { timeout: LATE_MS }, () => {
    let harness: Harness;
    let events: RecordedEvents;
    let dataPlane: DataPlane;
    let server: Server;
    let requests: Requests;

    beforeEach(async () => {
      harness = openHarness();
      events = new RecordedEvents();
      dataPlane = harness.open(events);
      server = await harness.serve();
      requests = new Requests(events, dataPlane);
    });
    afterEach(() => harness.close());

    const listen = async (changes: Partial<ListenSpec> = {}): Promise<Listening> => {
      const on = await harness.freeAddress();
      return dataPlane.listen({ ...SPEC, on, ...changes });
    };
    const connectDecision = (consume = 0, to: readonly SocketAddress[] = [server.address]) =>
      ({ action: 'connect', target: TARGET, addresses: to, consume, explain: false }) as const;
    const exchangeDecision = (consume: number, body: Exclude<Framing, { kind: 'eof' }>): Decision => ({
      action: 'exchange',
      target: TARGET,
      addresses: [server.address],
      consume,
      toServer: bytes('HEAD;'),
      body,
    });
    const respondDecision = (consume: number, body: Framing, next: boolean): Decision => ({
      action: 'respond',
      consume,
      toClient: bytes('ANSWER;'),
      body,
      next,
    });
    const sendHead = async (text: string, changes: Partial<ListenSpec> = {}) => {
      const { on } = await listen(changes);
      const client = await harness.connect(on);
      client.write(text);
      return { client, on, connection: (await requests.shown('head', text)).connection };
    };
    const endsAs = async (reason: CloseReason, index = 0) => {
      const record = await events.record(index);
      assert.equal(record.reason, reason);
      return record;
    };
    const exchange = async (body: Exclude<Framing, { kind: 'eof' }> = { kind: 'none' }) => {
      const { client, connection } = await sendHead('head;');
      dataPlane.decide(connection, exchangeDecision(5, body));
      const accepted = await server.accept();
      await accepted.receives('HEAD;');
      return { client, connection, accepted };
    };

    describe('a refusal', () => {
      for (const reason of ['denied', 'malformed'] as const) {
        it(`a client that is ${reason} gets the reply, and then an EOF`, async () => {
          const { client, connection } = await sendHead('hello');
          dataPlane.decide(connection, { action: 'reject', target: TARGET, reason, toClient: bytes('no, and why') });
          await client.receives('no, and why');
          assert.equal(await client.ended, 'eof');
          client.end();
          const record = await endsAs(reason);
          assert.equal(record.phase, 'deciding');
          assert.equal(record.target, TARGET);
          assert.equal(record.bytesDown, 11);
        });
      }

      it('resets the client if there is no reply', async () => {
        const { client, connection } = await sendHead('hello');
        dataPlane.decide(connection, { action: 'reject', reason: 'denied' });
        assert.equal(await client.ended, 'reset');
        await endsAs('denied');
      });

      it('a decision that does not fit the request ends the connection as internal', async () => {
        const { client, connection } = await sendHead('hello');
        dataPlane.decide(connection, respondDecision(0, { kind: 'none' }, false));
        assert.equal(await client.ended, 'reset');
        await endsAs('internal');
      });

      it('a client that sends too little ends at the head deadline', async () => {
        const { connection } = await sendHead('hel', { timeouts: { ...SPEC.timeouts, headMs: SOON_MS } });
        dataPlane.decide(connection, { action: 'more' });
        const record = await endsAs('head-timeout');
        assert.equal(record.phase, 'deciding');
      });

      it('without a decision the connection ends at the head deadline, and a late decision is ignored', async () => {
        const { connection } = await sendHead('hello', { timeouts: { ...SPEC.timeouts, headMs: SOON_MS } });
        await endsAs('decision-timeout');
        dataPlane.decide(connection, connectDecision());
      });

      it('a client that ends within a head is malformed if the decision is `more`', async () => {
        const { client, connection } = await sendHead('hel');
        client.end();
        dataPlane.decide(connection, { action: 'more' });
        const last = await requests.next('head');
        assert.equal(last.ended, true);
        dataPlane.decide(connection, { action: 'more' });
        await endsAs('malformed');
      });

      it('the next request comes when the head has the bytes that the decision waits for', async () => {
        const { client, connection } = await sendHead('ab');
        dataPlane.decide(connection, { action: 'more', atLeast: 5 });
        client.write('c');
        client.write('de');
        const second = await requests.next('head');
        assert.equal(Buffer.from(second.bytes).toString(), 'abcde');
        dataPlane.decide(connection, { action: 'more', until: 0x3b });
        client.write('fg');
        client.write('h;');
        const third = await requests.next('head');
        assert.equal(Buffer.from(third.bytes).toString(), 'abcdefgh;');
      });

      it('a decision may reply to a head and wait for more of it', async () => {
        const { client, connection } = await sendHead('ask;');
        dataPlane.decide(connection, { action: 'more', atLeast: 5, toClient: bytes('S') });
        await client.receives('S');
        client.write('head');
        const { connection: again } = await requests.shown('head', 'ask;head');
        dataPlane.decide(again, connectDecision(4));
        const accepted = await server.accept();
        await accepted.receives('head');
        accepted.write('reply');
        await client.receives('Sreply');
        accepted.end();
        client.end();
        const record = await endsAs('finished');
        assert.deepEqual([record.bytesUp, record.bytesDown], [4, 6]);
      });

      it('a head of more than 16 KiB is not collected', async () => {
        const { on } = await listen();
        const client = await harness.connect(on);
        client.write('x'.repeat(17 * 1024));
        const { connection } = await requests.shown('head', 'x'.repeat(16 * 1024));
        dataPlane.decide(connection, { action: 'more' });
        await endsAs('malformed');
      });

      it('a client with another source address is not admitted', async () => {
        const { on } = await listen({ admission: { sources: [{ ip: '192.0.2.0', prefixLength: 24 }] } });
        const client = await harness.connect(on);
        assert.equal(await client.ended, 'reset');
        assert.equal((await events.fault()).kind, 'not-admitted');
        assert.equal(events.records.length, 0);
      });

      it('a client with another CID, or none, is not admitted where CIDs are listed', async () => {
        const { on } = await listen({ admission: { cids: [4242] } });
        assert.equal(await (await harness.connect(on)).ended, 'reset');
        assert.equal((await events.fault()).kind, 'not-admitted');
      });

      it('the connections of one client are limited', async () => {
        const { on, id } = await listen({ kind: 'fixed', limits: { ...SPEC.limits, connectionsPerClient: 1 } });
        dataPlane.setUpstream(id, [server.address]);
        const first = await harness.connect(on);
        const accepted = await server.accept();
        assert.equal(await (await harness.connect(on)).ended, 'reset');
        assert.equal((await events.fault()).kind, 'client-limit');
        first.write('still here');
        await accepted.receives('still here');
        assert.equal(dataPlane.counters()[0]?.closed['client-limit'], 1);
      });
    });

    describe('a decision to connect', () => {
      it('passes on the bytes that it does not consume, behind its own bytes for both sides', async () => {
        const { client, connection } = await sendHead('CONNECT;early');
        const decision: Decision = { ...connectDecision(8), toServer: bytes('proxy;'), toClient: bytes('go;') };
        dataPlane.decide(connection, decision);
        const accepted = await server.accept();
        await accepted.receives('proxy;early');
        await client.receives('go;');
        accepted.write('hello');
        await client.receives('go;hello');
        client.end();
        accepted.end();
        const record = await endsAs('finished');
        assert.equal(record.target, TARGET);
        assert.deepEqual(record.server, server.address);
        const connected = events.steps.find(({ step }) => step === 'connected');
        assert.ok(connected?.step === 'connected' && connected.target === TARGET);
      });

      it('can come before the first byte of a client; the request has the address that it connected to', async () => {
        const { on } = await listen({ kind: 'decide-client' });
        const client = await harness.connect(on);
        const { connection, local } = await requests.next('client');
        assert.deepEqual(local, on);
        dataPlane.decide(connection, { ...connectDecision(), toServer: bytes('PROXY;') });
        const accepted = await server.accept();
        client.write('hello');
        await accepted.receives('PROXY;hello');
      });

      it('makes a request after a failure if `explain` is set; reason and errno stay', async () => {
        const { client, connection } = await sendHead('hello');
        const address = await harness.freeAddress();
        // Bytes for a connected client never reach this one.
        dataPlane.decide(connection, {
          ...connectDecision(0, [address]),
          toClient: bytes('connected;'),
          explain: true,
        });
        const failed = await requests.next('failed');
        assert.equal(failed.reason, 'connect-failed');
        assert.equal(failed.errno, 'ECONNREFUSED');
        assert.equal(failed.target, TARGET);
        assert.deepEqual(failed.server, address);
        dataPlane.decide(connection, { action: 'reject', reason: 'connect-failed', toClient: bytes('refused') });
        await client.receives('refused');
        client.end();
        await endsAs('connect-failed');
      });

      it('ends the connection after a failure if `explain` is not set', async () => {
        const { client, connection } = await sendHead('hello');
        dataPlane.decide(connection, connectDecision(0, [await harness.freeAddress()]));
        assert.equal(await client.ended, 'reset');
        assert.equal((await endsAs('connect-failed')).errno, 'ECONNREFUSED');
      });
    });

    describe('a cached decision', () => {
      const HEAD = 'CONNECT kms;';
      const cache = { bytes: HEAD.length, except: [8, 10], forMs: LATE_MS };
      /** Sends the head until no decision is requested any more: each relay thread may request one. */
      const settle = async (text: string, { on }: Listening) => {
        for (;;) {
          const client = await harness.connect(on);
          client.write(text);
          const accepted = server.accept();
          const request = await Promise.race([accepted, requests.peek()]);
          if (!('kind' in request)) return { client, accepted: request };
          requests.take();
          dataPlane.decide(request.connection, { ...connectDecision(HEAD.length), toServer: bytes('kms;'), cache });
          await accepted;
        }
      };

      it('serves clients that send the same bytes, with the same events as others', async () => {
        const listening = await listen();
        const { client, accepted } = await settle(`${HEAD}early`, listening);
        await accepted.receives('kms;early');
        client.end();
        accepted.end();
        const record = await events.record(0);
        assert.equal(record.reason, 'finished');
        assert.equal(record.target, TARGET);
      });

      it('serves no other bytes, no fewer bytes, and no other listener', async () => {
        const listening = await listen();
        await settle(HEAD, listening);
        for (const [text, on] of [
          ['CONNECT kmS;', listening.on],
          ['cONNECT kms;', listening.on],
          ['CONNECT kms', listening.on],
          [HEAD, (await listen()).on],
        ] as const) {
          (await harness.connect(on)).write(text);
          await requests.shown('head', text);
        }
      });

      it('ignores the ranges of bytes that it excludes', async () => {
        const listening = await listen();
        await settle(HEAD, listening);
        const { accepted } = await settle('CONNECT s3s;', listening);
        await accepted.receives('kms;');
      });

      it('ends with its listener, although another one has its socket', async () => {
        const listening = await listen();
        await settle(HEAD, listening);
        dataPlane.listen({ ...SPEC, on: { family: 'predecessor', listener: listening.id } });
        dataPlane.closeListener(listening.id);
        (await harness.connect(listening.on)).write(HEAD);
        await requests.shown('head', HEAD);
      });

      it('expires', async () => {
        const listening = await listen();
        for (let time = 0; time < 2; time++) {
          const client = await harness.connect(listening.on);
          client.write(HEAD);
          const { connection } = await requests.shown('head', HEAD);
          dataPlane.decide(connection, { ...connectDecision(), cache: { ...cache, forMs: 0 } });
          await server.accept();
        }
      });
    });

    describe('a handshake', () => {
      it("keeps the client's bytes back until the server has agreed", async () => {
        const { client, connection } = await sendHead('head;early');
        dataPlane.decide(connection, { ...connectDecision(5), toServer: bytes('agree?'), handshake: true });
        const accepted = await server.accept();
        await accepted.receives('agree?');
        accepted.write('yes;and');
        const response = await requests.shown('response', 'yes;and');
        assert.equal(response.target, TARGET);
        dataPlane.decide(connection, { action: 'relay', consume: 4, toClient: bytes('go;') });
        await accepted.receives('agree?early');
        await client.receives('go;and');
      });

      it('goes on after interim responses that the client is not told of', async () => {
        const { client, connection } = await sendHead('head;early');
        dataPlane.decide(connection, { ...connectDecision(5), toServer: bytes('agree?'), handshake: true });
        const accepted = await server.accept();
        await accepted.receives('agree?');
        accepted.write('soon;yes;and');
        await requests.shown('response', 'soon;yes;and');
        dataPlane.decide(connection, { action: 'interim', consume: 5, toClient: bytes('') });
        await requests.shown('response', 'yes;and');
        dataPlane.decide(connection, { action: 'relay', consume: 4, toClient: bytes('go;') });
        await accepted.receives('agree?early');
        await client.receives('go;and');
      });

      it('that the server refuses gives the client the reply of the proxy', async () => {
        const { client, connection } = await sendHead('head;');
        dataPlane.decide(connection, { ...connectDecision(5), toServer: bytes('agree?'), handshake: true });
        const accepted = await server.accept();
        await accepted.receives('agree?');
        accepted.write('no;');
        await requests.shown('response', 'no;');
        dataPlane.decide(connection, { action: 'reject', reason: 'connect-failed', toClient: bytes('it said no') });
        await client.receives('it said no');
        client.end();
        await endsAs('connect-failed');
      });
    });

    describe('a handshake that the server refuses', () => {
      it('can pass the response on, and end', async () => {
        const { client, connection } = await sendHead('head;early');
        dataPlane.decide(connection, { ...connectDecision(5), toServer: bytes('agree?'), handshake: true });
        const accepted = await server.accept();
        await accepted.receives('agree?');
        accepted.write('soon;no;12345');
        await requests.shown('response', 'soon;no;12345');
        dataPlane.decide(connection, { action: 'interim', consume: 5, toClient: bytes('SOON;') });
        await requests.shown('response', 'no;12345');
        dataPlane.decide(connection, respondDecision(3, { kind: 'length', bytes: 5 }, true));
        await client.receives('SOON;ANSWER;12345');
        assert.equal(await client.ended, 'eof');
        client.end();
        await endsAs('finished');
      });
    });

    describe('an exchange', () => {
      it('passes one request and its response, and then requests a decision about the next head', async () => {
        const { client, connection, accepted } = await exchange({ kind: 'length', bytes: 4 });
        client.write('bodynext;');
        await accepted.receives('HEAD;body');
        accepted.write('status;12345');
        await requests.shown('response', 'status;12345');
        dataPlane.decide(connection, respondDecision(7, { kind: 'length', bytes: 5 }, true));
        await client.receives('ANSWER;12345');
        await requests.shown('head', 'next;');
        dataPlane.decide(connection, exchangeDecision(5, { kind: 'none' }));
        const second = await server.accept();
        await second.receives('HEAD;');
        second.write('s;');
        await requests.shown('response', 's;');
        dataPlane.decide(connection, respondDecision(2, { kind: 'none' }, true));
        await client.receives('ANSWER;12345ANSWER;');
        client.end();
        await endsAs('finished');
      });

      it('passes chunks in both directions', async () => {
        const chunks = '5\r\nhello\r\n0\r\n\r\n';
        const { client, connection, accepted } = await exchange({ kind: 'chunked' });
        client.write(chunks);
        await accepted.receives(`HEAD;${chunks}`);
        accepted.write(`status;${chunks}`);
        await requests.shown('response', `status;${chunks}`);
        dataPlane.decide(connection, respondDecision(7, { kind: 'chunked' }, false));
        await client.receives(`ANSWER;${chunks}`);
        assert.equal(await client.ended, 'eof');
        client.end();
        await endsAs('finished');
      });

      it('with malformed chunks ends as malformed, and resets both sides', async () => {
        const { client, accepted } = await exchange({ kind: 'chunked' });
        client.write('5\r\nhelloXX\r\n');
        assert.equal(await accepted.ended, 'reset');
        assert.equal(await client.ended, 'reset');
        assert.equal((await endsAs('malformed')).endedBy, 'client');
      });

      it('passes a response that lasts until the EOF of the server', async () => {
        const { client, connection, accepted } = await exchange();
        accepted.write('status;and');
        await requests.shown('response', 'status;and');
        dataPlane.decide(connection, respondDecision(7, { kind: 'eof' }, false));
        accepted.write(' more');
        accepted.end();
        await client.receives('ANSWER;and more');
        assert.equal(await client.ended, 'eof');
        client.end();
        await endsAs('finished');
      });

      it('passes interim responses on before the final one', async () => {
        const { client, connection, accepted } = await exchange();
        accepted.write('100;200;');
        await requests.shown('response', '100;200;');
        dataPlane.decide(connection, { action: 'interim', consume: 4, toClient: bytes('go on;') });
        await client.receives('go on;');
        await requests.shown('response', '200;');
        dataPlane.decide(connection, respondDecision(4, { kind: 'none' }, true));
        await client.receives('go on;ANSWER;');
      });

      it('whose server ends without an answer makes a request that has its end', async () => {
        const { client, connection, accepted } = await exchange();
        accepted.end();
        const response = await requests.next('response');
        assert.equal(response.ended, true);
        assert.equal(response.bytes.length, 0);
        dataPlane.decide(connection, { action: 'reject', reason: 'malformed', toClient: bytes('bad gateway') });
        await client.receives('bad gateway');
        client.end();
        await endsAs('malformed');
      });

      it('with a response that breaks off is reset', async () => {
        const { client, connection, accepted } = await exchange();
        accepted.write('status;123');
        await requests.shown('response', 'status;123');
        dataPlane.decide(connection, respondDecision(7, { kind: 'length', bytes: 100 }, true));
        await client.receives('ANSWER;123');
        accepted.end();
        assert.equal(await client.ended, 'reset');
      });
    });

    describe('sockets', () => {
      it('a listener with the socket of another one takes over its clients', async () => {
        const old = await listen({ kind: 'fixed' });
        dataPlane.setUpstream(old.id, [server.address]);
        const before = await connectThrough(old);
        const { id, on } = dataPlane.listen({
          ...SPEC,
          kind: 'fixed',
          on: { family: 'predecessor', listener: old.id },
        });
        assert.deepEqual(on, old.on);
        dataPlane.closeListener(old.id);
        dataPlane.setUpstream(id, [server.address]);
        const { client, accepted } = await connectThrough({ id, on });
        client.write('new');
        await accepted.receives('new');
        before.client.write('old');
        await before.accepted.receives('old');
      });

      it('running threads answer each heartbeat', async () => {
        dataPlane.beat();
        while (!dataPlane.beat()) await new Promise((resolve) => setImmediate(resolve));
      });
    });

    const connectThrough = async ({ on }: Listening): Promise<{ client: Peer; accepted: Peer }> => {
      const client = await harness.connect(on);
      return { client, accepted: await server.accept() };
    };
  });
}
