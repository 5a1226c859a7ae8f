/** The part of the contract that is about asking: questions, verdicts, exchanges, clients that are refused. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type {
  Ask,
  CloseReason,
  DataPlane,
  Framing,
  Listening,
  ListenSpec,
  SocketAddress,
  TargetId,
  Verdict,
} from '../../src/dataplane/contract.ts';
import type { Peer, Server, Stage } from './harness.ts';
import { Told } from './told.ts';

/** A deadline that a test waits for. */
const SOON_MS = 80;
/** A deadline that no test should reach. */
const LATE_MS = 20_000;

const TARGET: TargetId = 42;

const SPEC: Omit<ListenSpec, 'on'> = {
  kind: 'ask-head',
  maxConnections: 10,
  maxConnectionsPerClient: 0,
  ratePerClient: 0,
  admission: {},
  timeouts: { connectMs: LATE_MS, idleMs: 0, headMs: LATE_MS },
  report: 'lifecycle',
};

const bytes = (text: string) => Buffer.from(text);

export function testAsking(name: string, openStage: () => Stage): void {
  describe(`${name}, asking`, { timeout: LATE_MS }, () => {
    let stage: Stage;
    let told: Told;
    let dataPlane: DataPlane;
    let server: Server;
    let questions: number;

    beforeEach(async () => {
      stage = openStage();
      told = new Told();
      dataPlane = stage.open(told);
      server = await stage.serve();
      questions = 0;
    });
    afterEach(() => stage.close());

    const listen = async (changes: Partial<ListenSpec> = {}): Promise<Listening> => {
      const on = await stage.freeAddress();
      return dataPlane.listen({ ...SPEC, on, ...changes });
    };
    const nextAsk = async <Stage extends Ask['stage']>(stage: Stage): Promise<Extract<Ask, { stage: Stage }>> => {
      const ask = await told.ask(questions);
      questions += 1;
      assert.equal(ask.stage, stage);
      return ask as Extract<Ask, { stage: Stage }>;
    };
    /** Wants more until all of this text is shown. */
    const shown = async <Stage extends 'head' | 'response'>(stage: Stage, text: string) => {
      for (;;) {
        const ask = await nextAsk<'head' | 'response'>(stage);
        const seen = Buffer.from(ask.bytes).toString();
        assert.ok(text.startsWith(seen), seen);
        if (seen === text) return ask as Extract<Ask, { readonly stage: Stage }>;
        dataPlane.answer(ask.connection, { action: 'more' });
      }
    };
    const connectVerdict = (consume = 0, to: readonly SocketAddress[] = [server.address]) =>
      ({ action: 'connect', target: TARGET, addresses: to, consume, explain: false }) as const;
    const exchangeVerdict = (consume: number, body: Exclude<Framing, { kind: 'eof' }>): Verdict => ({
      action: 'exchange',
      target: TARGET,
      addresses: [server.address],
      consume,
      toServer: bytes('HEAD;'),
      body,
    });
    const respondVerdict = (consume: number, body: Framing, next: boolean): Verdict => ({
      action: 'respond',
      consume,
      toClient: bytes('ANSWER;'),
      body,
      next,
    });
    const ask = async (text: string, changes: Partial<ListenSpec> = {}) => {
      const { on } = await listen(changes);
      const client = await stage.connect(on);
      client.write(text);
      return { client, on, connection: (await shown('head', text)).connection };
    };
    const endsAs = async (reason: CloseReason, index = 0) => {
      const record = await told.record(index);
      assert.equal(record.reason, reason);
      return record;
    };
    const exchange = async (body: Exclude<Framing, { kind: 'eof' }> = { kind: 'none' }) => {
      const { client, connection } = await ask('head;');
      dataPlane.answer(connection, exchangeVerdict(5, body));
      const accepted = await server.accept();
      await accepted.receives('HEAD;');
      return { client, connection, accepted };
    };

    describe('refusing', () => {
      for (const reason of ['denied', 'malformed'] as const) {
        it(`a client that is ${reason} gets the reply and the end`, async () => {
          const { client, connection } = await ask('hello');
          dataPlane.answer(connection, { action: 'reject', target: TARGET, reason, toClient: bytes('no, and why') });
          await client.receives('no, and why');
          assert.equal(await client.ended, 'eof');
          client.end();
          const record = await endsAs(reason);
          assert.equal(record.phase, 'asking');
          assert.equal(record.target, TARGET);
          assert.equal(record.bytesDown, 11);
        });
      }

      it('without a reply the client is reset', async () => {
        const { client, connection } = await ask('hello');
        dataPlane.answer(connection, { action: 'reject', reason: 'denied' });
        assert.equal(await client.ended, 'reset');
        await endsAs('denied');
      });

      it('a verdict that does not fit the question ends the connection as internal', async () => {
        const { client, connection } = await ask('hello');
        dataPlane.answer(connection, respondVerdict(0, { kind: 'none' }, false));
        assert.equal(await client.ended, 'reset');
        await endsAs('internal');
      });

      it('a client that says too little meets the head deadline', async () => {
        const { connection } = await ask('hel', { timeouts: { ...SPEC.timeouts, headMs: SOON_MS } });
        dataPlane.answer(connection, { action: 'more' });
        const record = await endsAs('head-timeout');
        assert.equal(record.phase, 'asking');
      });

      it('without an answer the connection ends at the head deadline, and a late answer is ignored', async () => {
        const { connection } = await ask('hello', { timeouts: { ...SPEC.timeouts, headMs: SOON_MS } });
        await endsAs('verdict-timeout');
        dataPlane.answer(connection, connectVerdict());
      });

      it('a client that ends in the middle of a head is malformed to who wants more of it', async () => {
        const { client, connection } = await ask('hel');
        client.end();
        dataPlane.answer(connection, { action: 'more' });
        const last = await nextAsk('head');
        assert.equal(last.ended, true);
        dataPlane.answer(connection, { action: 'more' });
        await endsAs('malformed');
      });

      it('more of a head is asked about when it is what the verdict waits for', async () => {
        const { client, connection } = await ask('ab');
        dataPlane.answer(connection, { action: 'more', atLeast: 5 });
        client.write('c');
        client.write('de');
        const second = await nextAsk('head');
        assert.equal(Buffer.from(second.bytes).toString(), 'abcde');
        dataPlane.answer(connection, { action: 'more', until: 0x3b });
        client.write('fg');
        client.write('h;');
        const third = await nextAsk('head');
        assert.equal(Buffer.from(third.bytes).toString(), 'abcdefgh;');
      });

      it('16 KiB and more are not collected', async () => {
        const { on } = await listen();
        const client = await stage.connect(on);
        client.write('x'.repeat(17 * 1024));
        const { connection } = await shown('head', 'x'.repeat(16 * 1024));
        dataPlane.answer(connection, { action: 'more' });
        await endsAs('malformed');
      });

      it('a client from elsewhere is not admitted', async () => {
        const { on } = await listen({ admission: { sources: [{ ip: '192.0.2.0', prefixLength: 24 }] } });
        const client = await stage.connect(on);
        assert.equal(await client.ended, 'reset');
        assert.equal((await told.fault()).kind, 'not-admitted');
        assert.equal(told.records.length, 0);
      });

      it('a client with another CID, or none, is not admitted where CIDs are listed', async () => {
        const { on } = await listen({ admission: { cids: [4242] } });
        assert.equal(await (await stage.connect(on)).ended, 'reset');
        assert.equal((await told.fault()).kind, 'not-admitted');
      });

      it('one client may have so many connections at once, and no more', async () => {
        const { on, id } = await listen({ kind: 'fixed', maxConnectionsPerClient: 1 });
        dataPlane.setUpstream(id, [server.address]);
        const first = await stage.connect(on);
        const accepted = await server.accept();
        assert.equal(await (await stage.connect(on)).ended, 'reset');
        assert.equal((await told.fault()).kind, 'client-limit');
        first.write('still here');
        await accepted.receives('still here');
        assert.equal(dataPlane.counters()[0]?.closed['client-limit'], 1);
      });
    });

    describe('connecting', () => {
      it('what is not consumed goes on, and both sides first get what the verdict has for them', async () => {
        const { client, connection } = await ask('CONNECT;early');
        const verdict: Verdict = { ...connectVerdict(8), toServer: bytes('proxy;'), toClient: bytes('go;') };
        dataPlane.answer(connection, verdict);
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
        const connected = told.steps.find(({ step }) => step === 'connected');
        assert.ok(connected?.step === 'connected' && connected.target === TARGET);
      });

      it('a client is asked about before it speaks, with where it connected to', async () => {
        const { on } = await listen({ kind: 'ask-client' });
        const client = await stage.connect(on);
        const { connection, local } = await nextAsk('client');
        assert.deepEqual(local, on);
        dataPlane.answer(connection, { ...connectVerdict(), toServer: bytes('PROXY;') });
        const accepted = await server.accept();
        client.write('hello');
        await accepted.receives('PROXY;hello');
      });

      it('a failure is asked about if that is wanted, and keeps its reason and errno', async () => {
        const { client, connection } = await ask('hello');
        const address = await stage.freeAddress();
        // What it would have been told once connected, it never is.
        dataPlane.answer(connection, {
          ...connectVerdict(0, [address]),
          toClient: bytes('connected;'),
          explain: true,
        });
        const failed = await nextAsk('failed');
        assert.equal(failed.reason, 'connect-failed');
        assert.equal(failed.errno, 'ECONNREFUSED');
        assert.equal(failed.target, TARGET);
        assert.deepEqual(failed.server, address);
        dataPlane.answer(connection, { action: 'reject', reason: 'connect-failed', toClient: bytes('refused') });
        await client.receives('refused');
        client.end();
        await endsAs('connect-failed');
      });

      it('a failure is the end if nobody wants to explain it', async () => {
        const { client, connection } = await ask('hello');
        dataPlane.answer(connection, connectVerdict(0, [await stage.freeAddress()]));
        assert.equal(await client.ended, 'reset');
        assert.equal((await endsAs('connect-failed')).errno, 'ECONNREFUSED');
      });
    });

    describe('a precedent', () => {
      const HEAD = 'CONNECT kms;';
      const precedent = { bytes: HEAD.length, except: [8, 10], forMs: LATE_MS };
      /** Says it until nobody is asked about it any more: each relay thread may ask once. */
      const settle = async (text: string, { on }: Listening) => {
        for (;;) {
          const client = await stage.connect(on);
          client.write(text);
          const accepted = server.accept();
          const ask = await Promise.race([accepted, told.ask(questions)]);
          if (!('stage' in ask)) return { client, accepted: ask };
          questions += 1;
          dataPlane.answer(ask.connection, { ...connectVerdict(HEAD.length), toServer: bytes('kms;'), precedent });
          await accepted;
        }
      };

      it('holds for clients who say the same, and they are told of as others are', async () => {
        const listening = await listen();
        const { client, accepted } = await settle(`${HEAD}early`, listening);
        await accepted.receives('kms;early');
        client.end();
        accepted.end();
        const record = await told.record(0);
        assert.equal(record.reason, 'finished');
        assert.equal(record.target, TARGET);
      });

      it('does not hold for other bytes, fewer bytes, or another listener', async () => {
        const listening = await listen();
        await settle(HEAD, listening);
        for (const [text, on] of [
          ['CONNECT kmS;', listening.on],
          ['cONNECT kms;', listening.on],
          ['CONNECT kms', listening.on],
          [HEAD, (await listen()).on],
        ] as const) {
          (await stage.connect(on)).write(text);
          await shown('head', text);
        }
      });

      it('leaves out what its ranges say', async () => {
        const listening = await listen();
        await settle(HEAD, listening);
        const { accepted } = await settle('CONNECT s3s;', listening);
        await accepted.receives('kms;');
      });

      it('ends with its listener, though another one has its socket', async () => {
        const listening = await listen();
        await settle(HEAD, listening);
        dataPlane.listen({ ...SPEC, on: { family: 'adopted', listener: listening.id } });
        dataPlane.closeListener(listening.id);
        (await stage.connect(listening.on)).write(HEAD);
        await shown('head', HEAD);
      });

      it('ends with its time', async () => {
        const listening = await listen();
        for (let time = 0; time < 2; time++) {
          const client = await stage.connect(listening.on);
          client.write(HEAD);
          const { connection } = await shown('head', HEAD);
          dataPlane.answer(connection, { ...connectVerdict(), precedent: { ...precedent, forMs: 0 } });
          await server.accept();
        }
      });
    });

    describe('a handshake', () => {
      it("keeps the client's bytes back until the server has agreed", async () => {
        const { client, connection } = await ask('head;early');
        dataPlane.answer(connection, { ...connectVerdict(5), toServer: bytes('agree?'), handshake: true });
        const accepted = await server.accept();
        await accepted.receives('agree?');
        accepted.write('yes;and');
        const response = await shown('response', 'yes;and');
        assert.equal(response.target, TARGET);
        dataPlane.answer(connection, { action: 'relay', consume: 4, toClient: bytes('go;') });
        await accepted.receives('agree?early');
        await client.receives('go;and');
      });

      it('that the server refuses is told to the client in our words', async () => {
        const { client, connection } = await ask('head;');
        dataPlane.answer(connection, { ...connectVerdict(5), toServer: bytes('agree?'), handshake: true });
        const accepted = await server.accept();
        await accepted.receives('agree?');
        accepted.write('no;');
        await shown('response', 'no;');
        dataPlane.answer(connection, { action: 'reject', reason: 'connect-failed', toClient: bytes('it said no') });
        await client.receives('it said no');
        client.end();
        await endsAs('connect-failed');
      });
    });

    describe('an exchange', () => {
      it('passes one request and its response, and then the next head is asked about', async () => {
        const { client, connection, accepted } = await exchange({ kind: 'length', bytes: 4 });
        client.write('bodynext;');
        await accepted.receives('HEAD;body');
        accepted.write('status;12345');
        await shown('response', 'status;12345');
        dataPlane.answer(connection, respondVerdict(7, { kind: 'length', bytes: 5 }, true));
        await client.receives('ANSWER;12345');
        await shown('head', 'next;');
        dataPlane.answer(connection, exchangeVerdict(5, { kind: 'none' }));
        const second = await server.accept();
        await second.receives('HEAD;');
        second.write('s;');
        await shown('response', 's;');
        dataPlane.answer(connection, respondVerdict(2, { kind: 'none' }, true));
        await client.receives('ANSWER;12345ANSWER;');
        client.end();
        await endsAs('finished');
      });

      it('with chunks in both directions', async () => {
        const chunks = '5\r\nhello\r\n0\r\n\r\n';
        const { client, connection, accepted } = await exchange({ kind: 'chunked' });
        client.write(chunks);
        await accepted.receives(`HEAD;${chunks}`);
        accepted.write(`status;${chunks}`);
        await shown('response', `status;${chunks}`);
        dataPlane.answer(connection, respondVerdict(7, { kind: 'chunked' }, false));
        await client.receives(`ANSWER;${chunks}`);
        assert.equal(await client.ended, 'eof');
        client.end();
        await endsAs('finished');
      });

      it('with chunks that are malformed ends as that, reset on both sides', async () => {
        const { client, accepted } = await exchange({ kind: 'chunked' });
        client.write('5\r\nhelloXX\r\n');
        assert.equal(await accepted.ended, 'reset');
        assert.equal(await client.ended, 'reset');
        assert.equal((await endsAs('malformed')).endedBy, 'client');
      });

      it('with a response that lasts until the server ends it', async () => {
        const { client, connection, accepted } = await exchange();
        accepted.write('status;and');
        await shown('response', 'status;and');
        dataPlane.answer(connection, respondVerdict(7, { kind: 'eof' }, false));
        accepted.write(' more');
        accepted.end();
        await client.receives('ANSWER;and more');
        assert.equal(await client.ended, 'eof');
        client.end();
        await endsAs('finished');
      });

      it('passes interim responses on ahead of the final one', async () => {
        const { client, connection, accepted } = await exchange();
        accepted.write('100;200;');
        await shown('response', '100;200;');
        dataPlane.answer(connection, { action: 'interim', consume: 4, toClient: bytes('go on;') });
        await client.receives('go on;');
        await shown('response', '200;');
        dataPlane.answer(connection, respondVerdict(4, { kind: 'none' }, true));
        await client.receives('go on;ANSWER;');
      });

      it('whose server ends without an answer is asked about with its end', async () => {
        const { client, connection, accepted } = await exchange();
        accepted.end();
        const response = await nextAsk('response');
        assert.equal(response.ended, true);
        assert.equal(response.bytes.length, 0);
        dataPlane.answer(connection, { action: 'reject', reason: 'malformed', toClient: bytes('bad gateway') });
        await client.receives('bad gateway');
        client.end();
        await endsAs('malformed');
      });

      it('whose response breaks off is reset', async () => {
        const { client, connection, accepted } = await exchange();
        accepted.write('status;123');
        await shown('response', 'status;123');
        dataPlane.answer(connection, respondVerdict(7, { kind: 'length', bytes: 100 }, true));
        await client.receives('ANSWER;123');
        accepted.end();
        assert.equal(await client.ended, 'reset');
      });
    });

    describe('sockets', () => {
      it('a listener with the socket of another takes over its clients', async () => {
        const old = await listen({ kind: 'fixed' });
        dataPlane.setUpstream(old.id, [server.address]);
        const before = await connectThrough(old);
        const { id, on } = dataPlane.listen({ ...SPEC, kind: 'fixed', on: { family: 'adopted', listener: old.id } });
        assert.deepEqual(on, old.on);
        dataPlane.closeListener(old.id);
        dataPlane.setUpstream(id, [server.address]);
        const { client, accepted } = await connectThrough({ id, on });
        client.write('new');
        await accepted.receives('new');
        before.client.write('old');
        await before.accepted.receives('old');
      });

      it('threads that run show it from one beat to the next', async () => {
        dataPlane.beat();
        while (!dataPlane.beat()) await new Promise((resolve) => setImmediate(resolve));
      });
    });

    const connectThrough = async ({ on }: Listening): Promise<{ client: Peer; accepted: Peer }> => {
      const client = await stage.connect(on);
      return { client, accepted: await server.accept() };
    };
  });
}
