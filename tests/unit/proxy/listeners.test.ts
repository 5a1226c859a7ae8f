import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ListenerId } from '../../../src/dataplane/contract.ts';
import { Dispatcher } from '../../../src/proxy/handlers/dispatcher.ts';
import { Listeners } from '../../../src/proxy/listeners.ts';
import type { ReportedRoutes } from '../../../src/proxy/report/report.ts';
import { FakeDataPlane } from '../../dataplane/fake.ts';
import { FakeNetwork } from '../../dataplane/network.ts';
import { RecordedEvents } from '../../dataplane/recorded-events.ts';
import { ManualClock, recordLog, resolverOf } from './fixture.ts';
import { listener, ON } from './running.ts';

describe('what is kept of closed listeners', () => {
  it('goes when the data plane tells nothing more of them, through 500 changes', async () => {
    const clock = new ManualClock();
    const routes = new Set<ListenerId>();
    const handlers = new Set<ListenerId>();
    const events = new RecordedEvents();
    const dataPlane = new FakeDataPlane(new FakeNetwork({ clock }), events);
    const dispatcher = new Dispatcher({ decide: () => undefined, onError: assert.ifError });
    dispatcher.setHandler = (id) => handlers.add(id);
    dispatcher.removeHandler = (id) => handlers.delete(id);
    const report: ReportedRoutes = {
      addRoute: (id) => routes.add(id),
      removeRoute: (id) => routes.delete(id),
      lastFailure: () => undefined,
    };
    const nobody = { first: () => assert.fail('no client'), later: () => assert.fail('no client') };
    const listeners = new Listeners({
      resolver: resolverOf({}),
      clock,
      log: recordLog('error').logFor('vsock_proxy::proxy'),
      handlerFor: () => Promise.resolve(nobody),
      activatedSockets: () => Promise.resolve(new Map()),
      hasOwnVsock: () => false,
    });
    for (let round = 0; round < 500; round += 1) {
      const limits = { connections: 1 + (round % 2), connectionsPerClient: 0, ratePerClient: 0 };
      const other = listener({ on: { family: 'vsock', cid: 3, port: 8001 } });
      const change = await listeners.prepare([listener({ on: ON, limits }), ...(round % 3 === 0 ? [other] : [])]);
      listeners.commit(change, { dataPlane, dispatcher }, report);
    }
    assert.ok(routes.size <= 6, `${routes.size} routes`);
    assert.deepEqual(handlers, routes);
    assert.equal(listeners.running.length, 1);
  });
});
