/** The contract as tests: kept servers, and decisions for an authority. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type {
  AuthorityRule,
  ConnectionId,
  DataPlane,
  Decision,
  Listening,
  ListenSpec,
} from '../../src/dataplane/contract.ts';
import type { Harness, Peer, Server } from './harness.ts';
import { RecordedEvents } from './recorded-events.ts';
import { Requests } from './requests.ts';
import { SPEC as BASE, LATE_MS, SOON_MS } from './spec.ts';

const SPEC: Omit<ListenSpec, 'on'> = { ...BASE, kind: 'decide-head', timeouts: { ...BASE.timeouts, reuseMs: LATE_MS } };

type ExchangeDecision = Extract<Decision, { readonly action: 'exchange' }>;

const bytes = (text: string) => Buffer.from(text);
const CACHE: AuthorityRule = { form: { absolute: false, fields: '' }, forMs: LATE_MS };
const RESPONSE = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
/** The head that the client gets. */
const PASSED = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nVia: 1.1 vsock-proxy\r\nConnection: keep-alive\r\n\r\nok';
const get = (path: string, host = 'a.example') => `GET http://${host}${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
const written = (path: string, host = 'a.example') =>
  `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nVia: 1.1 vsock-proxy\r\n\r\n`;

export function testReuse(name: string, openHarness: () => Harness): void {
  describe(`${name}, kept servers`, { timeout: LATE_MS }, () => {
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

    const listen = async (changes: Partial<ListenSpec> = {}): Promise<Listening> =>
      dataPlane.listen({ ...SPEC, on: await harness.freeAddress(), ...changes });
    const exchange = (consume: number, changes: Partial<ExchangeDecision> = {}): ExchangeDecision => ({
      action: 'exchange',
      target: 1,
      addresses: [server.address],
      consume,
      toServer: bytes('HEAD;'),
      body: { kind: 'none' },
      persistent: true,
      ...changes,
    });
    const respond = (consume: number, keep = true): Decision => ({
      action: 'respond',
      consume,
      toClient: bytes('ANSWER;'),
      body: { kind: 'length', bytes: 2 },
      next: true,
      keep,
    });
    /** A client whose first exchange is over, and its server. */
    const first = async (
      changes: Partial<ListenSpec> = {},
      { persistent = true, keep = true }: { readonly persistent?: boolean; readonly keep?: boolean } = {},
    ) => {
      const listening = await listen(changes);
      const client = await harness.connect(listening.on);
      client.write('head;');
      const { connection } = await requests.shown('head', 'head;');
      dataPlane.decide(connection, exchange(5, { persistent }));
      const accepted = await server.accept();
      await accepted.receives('HEAD;');
      await answer(connection, client, accepted, 'ANSWER;ok', keep);
      return { listening, client, connection, accepted };
    };
    const answer = async (connection: ConnectionId, client: Peer, accepted: Peer, all: string, keep = true) => {
      accepted.write('status;ok');
      await requests.shown('response', 'status;ok');
      dataPlane.decide(connection, respond(7, keep));
      await client.receives(all);
    };

    describe('a persistent exchange', () => {
      it('goes to the server of the previous one, with the same events as any other', async () => {
        const { client, connection, accepted } = await first();
        client.write('more;');
        await requests.shown('head', 'more;');
        dataPlane.decide(connection, exchange(5));
        await accepted.receives('HEAD;HEAD;');
        await answer(connection, client, accepted, 'ANSWER;okANSWER;ok');
        client.end();
        assert.equal((await events.record(0)).reason, 'finished');
        assert.equal(await accepted.ended, 'eof');
        assert.equal(events.steps.filter(({ step }) => step === 'connected').length, 2);
      });

      for (const [what, changes] of [
        ['of another target', { target: 2 }],
        ['that is not persistent', { persistent: false }],
      ] as const) {
        it(`is followed by one ${what}, which gets a server of its own`, async () => {
          const { client, connection, accepted } = await first();
          client.write('more;');
          await requests.shown('head', 'more;');
          dataPlane.decide(connection, exchange(5, changes));
          const second = await server.accept();
          await second.receives('HEAD;');
          assert.equal(await accepted.ended, 'eof');
        });
      }

      it('to another address gets a server of its own', async () => {
        const { client, connection, accepted } = await first();
        const other = await harness.serve();
        client.write('more;');
        await requests.shown('head', 'more;');
        dataPlane.decide(connection, exchange(5, { addresses: [other.address] }));
        await (await other.accept()).receives('HEAD;');
        assert.equal(await accepted.ended, 'eof');
      });

      for (const [what, how] of [
        ['whose response forbids it', { keep: false }],
        ['that was not persistent', { persistent: false }],
      ] as const) {
        it(`closes a server ${what}`, async () => {
          const { accepted } = await first({}, how);
          assert.equal(await accepted.ended, 'eof');
        });
      }

      it('closes a server that is not used in time', async () => {
        const { accepted, client, connection } = await first({ timeouts: { ...SPEC.timeouts, reuseMs: SOON_MS } });
        assert.equal(await accepted.ended, 'eof');
        client.write('more;');
        await requests.shown('head', 'more;');
        dataPlane.decide(connection, exchange(5));
        await (await server.accept()).receives('HEAD;');
      });

      it('closes a server that sends bytes unasked, and drops these bytes', async () => {
        const { accepted, client, connection } = await first();
        accepted.write('status;NO');
        await accepted.ended;
        client.write('more;');
        await requests.shown('head', 'more;');
        dataPlane.decide(connection, exchange(5));
        const second = await server.accept();
        await second.receives('HEAD;');
        await answer(connection, client, second, 'ANSWER;okANSWER;ok');
      });

      it('closes a server that sends more than its response', async () => {
        const listening = await listen();
        const client = await harness.connect(listening.on);
        client.write('head;');
        const { connection } = await requests.shown('head', 'head;');
        dataPlane.decide(connection, exchange(5));
        const accepted = await server.accept();
        accepted.write('status;okNO');
        await requests.shown('response', 'status;okNO');
        dataPlane.decide(connection, respond(7));
        await client.receives('ANSWER;ok');
        assert.equal(await accepted.ended, 'eof');
      });

      it('connects again if its server has gone', async () => {
        const { accepted, client, connection } = await first();
        accepted.end();
        assert.equal(await accepted.ended, 'eof');
        client.write('more;');
        await requests.shown('head', 'more;');
        dataPlane.decide(connection, exchange(5));
        await (await server.accept()).receives('HEAD;');
      });

      it('connects again, once, if its server goes when it gets the request', async () => {
        const { accepted, client, connection } = await first();
        client.write('more;');
        await requests.shown('head', 'more;');
        dataPlane.decide(connection, exchange(5));
        await accepted.receives('HEAD;HEAD;');
        accepted.end();
        const second = await server.accept();
        await second.receives('HEAD;');
        second.end();
        const { ended, bytes: none } = await requests.next('response');
        assert.deepEqual([ended, none.length], [true, 0]);
      });

      it('makes a request if its server goes after the first byte of its response', async () => {
        const { accepted, client, connection } = await first();
        client.write('more;');
        await requests.shown('head', 'more;');
        dataPlane.decide(connection, exchange(5));
        await accepted.receives('HEAD;HEAD;');
        accepted.write('s');
        await requests.shown('response', 's');
        dataPlane.decide(connection, { action: 'more' });
        accepted.end();
        assert.equal((await requests.next('response')).ended, true);
      });

      it('gets a server of its own once the listener is closed', async () => {
        const { listening, accepted, client, connection } = await first();
        dataPlane.closeListener(listening.id);
        client.write('more;');
        await requests.shown('head', 'more;');
        dataPlane.decide(connection, exchange(5));
        const second = await server.accept();
        await second.receives('HEAD;');
        assert.equal(await accepted.ended, 'eof');
        await answer(connection, client, second, 'ANSWER;okANSWER;ok');
        assert.equal(await second.ended, 'eof');
      });
    });

    describe('a decision for an authority', () => {
      /** A client with one decision, and the bytes that it has received. */
      const known = async (changes: Partial<ExchangeDecision> = {}) => {
        const listening = await listen();
        const client = await harness.connect(listening.on);
        const text = get('/first');
        client.write(text);
        const { connection } = await requests.shown('head', text);
        dataPlane.decide(connection, exchange(text.length, { cache: CACHE, ...changes }));
        const accepted = await server.accept();
        await answer(connection, client, accepted, 'ANSWER;ok');
        return { listening, client, connection, accepted };
      };

      it('serves other GETs: the data plane writes their heads and those of the responses', async () => {
        const { listening, client, accepted } = await known();
        client.write(get('/second'));
        await accepted.receives(`HEAD;${written('/second')}`);
        accepted.write(RESPONSE);
        await client.receives(`ANSWER;ok${PASSED}`);
        const { decisionsCached, decisionsRequested, exchangesCached } = countersOf(listening);
        assert.deepEqual([decisionsCached, decisionsRequested, exchangesCached], [1, requests.taken, 1]);
        // The relay thread counts a response after it has written it.
        while (countersOf(listening).answers.every((count) => count === 0)) await new Promise(setImmediate);
        assert.deepEqual(countersOf(listening).answers, [0, 1, 0, 0, 0]);
      });

      it('writes the form for a proxy if the server is one', async () => {
        const form = { absolute: true, fields: 'X-Own: 1\r\n' };
        const { client, accepted } = await known({ cache: { form, forMs: LATE_MS } });
        client.write(get('/second'));
        const head = `GET http://a.example/second HTTP/1.1\r\nHost: a.example\r\nVia: 1.1 vsock-proxy\r\nX-Own: 1\r\n\r\n`;
        await accepted.receives(`HEAD;${head}`);
      });

      it('writes that the exchange is the last, if it is', async () => {
        const { client, accepted } = await known();
        client.write(get('/second').replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'));
        const second = await server.accept();
        await second.receives(written('/second').replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'));
        second.write(RESPONSE);
        await client.receives(`ANSWER;ok${PASSED.replace('keep-alive', 'close')}`);
        assert.equal(await client.ended, 'eof');
        assert.equal(await accepted.ended, 'eof');
      });

      it('serves no other authority, no other method, and no head that is not plain', async () => {
        const { client, connection } = await known();
        for (const text of [
          get('/', 'b.example'),
          get('/').replace('GET', 'POST'),
          get('/').replace('Host', 'Upgrade: x\r\nHost'),
        ]) {
          client.write(text);
          await requests.shown('head', text);
          dataPlane.decide(connection, exchange(text.length, { target: 2, persistent: false }));
          const accepted = await server.accept();
          accepted.write('status;ok');
          await requests.shown('response', 'status;ok');
          dataPlane.decide(connection, respond(7));
        }
      });

      it('ends with its listener', async () => {
        const { listening, client } = await known();
        dataPlane.closeListener(listening.id);
        client.write(get('/second'));
        await requests.shown('head', get('/second'));
      });

      it('leads to a request about a response that is not plain, which has the head of the GET', async () => {
        const { client, connection, accepted } = await known();
        client.write(get('/second'));
        await accepted.receives(`HEAD;${written('/second')}`);
        accepted.write('status;ok');
        const { head } = await requests.next('response');
        assert.equal(Buffer.from(head ?? '').toString(), get('/second'));
        dataPlane.decide(connection, { action: 'more' });
        accepted.write('!');
        assert.equal((await requests.next('response')).head, undefined);
      });

      it('leads to a request about a failed connect, which has the head of the GET', async () => {
        const { client, accepted } = await known({ addresses: [server.address] });
        accepted.end();
        assert.equal(await accepted.ended, 'eof');
        client.write(get('/second'));
        const second = await server.accept();
        await second.receives(written('/second'));
        second.reset();
        const { ended, head } = await requests.next('response');
        assert.equal(ended, true);
        assert.equal(Buffer.from(head ?? '').toString(), get('/second'));
      });

      it('makes tunnels, whatever other fields their heads have', async () => {
        const listening = await listen();
        const connect = (fields: string) => `CONNECT a.example:443 HTTP/1.1\r\n${fields}\r\n`;
        const clients: Peer[] = [];
        for (let index = 0; ; index += 1) {
          const client = await harness.connect(listening.on);
          clients.push(client);
          client.write(connect(`X-Request: ${index}\r\n`));
          const accepting = server.accept();
          const request = await Promise.race([accepting, requests.peek()]);
          if (!('kind' in request)) {
            client.write('hello');
            return await request.receives('hello');
          }
          requests.take();
          const consume = connect(`X-Request: ${index}\r\n`).length;
          const addresses = [server.address];
          dataPlane.decide(request.connection, {
            ...{ action: 'connect', target: 1, addresses, consume, explain: false, cache: CACHE },
          });
          await accepting;
        }
      });

      const countersOf = ({ id }: Listening) => {
        const counters = dataPlane.counters().find(({ listener }) => listener === id);
        assert.ok(counters);
        return counters;
      };
    });
  });
}
