/** One connection of the data plane in memory, from accept to its close record. */
import type { CloseReason, CloseRecord, ConnectionTimeouts, UpstreamAddress } from '../../src/dataplane/contract.ts';
import type { FakeEnd, FakeNetwork } from './network.ts';

export type Identity = Pick<CloseRecord, 'listener' | 'connection' | 'client' | 'queuedMs'>;

export interface ConnectionEvents {
  onConnected(server: UpstreamAddress): void;
  onClosed(record: CloseRecord): void;
}

export class FakeConnection {
  readonly identity: Identity;
  readonly #network: FakeNetwork;
  readonly #timeouts: ConnectionTimeouts;
  readonly #events: ConnectionEvents;
  readonly #client: FakeEnd;
  #server: FakeEnd | undefined;
  /** Connected, or tried last. */
  #address: UpstreamAddress | undefined;
  /** Waiting: no upstream has been set yet. */
  #state: 'waiting' | 'connecting' | 'relaying' | 'closed' = 'waiting';
  readonly #acceptedAt: number;
  #connectMs: number | undefined;
  #bytesUp = 0;
  #bytesDown = 0;
  #firstEof: 'client' | 'server' | undefined;
  #cancelDeadline: () => void;

  constructor(
    network: FakeNetwork,
    client: FakeEnd,
    identity: Identity,
    timeouts: ConnectionTimeouts,
    events: ConnectionEvents,
  ) {
    this.identity = identity;
    this.#network = network;
    this.#client = client;
    this.#timeouts = timeouts;
    this.#events = events;
    this.#acceptedAt = network.clock.now();
    this.#cancelDeadline = network.clock.setTimer(timeouts.connectMs, () =>
      this.close(this.#state === 'waiting' ? 'no-upstream' : 'connect-timeout', 'proxy', 'ETIMEDOUT'),
    );
  }

  /** Does nothing but for the first addresses that it is given. */
  connect(addresses: readonly UpstreamAddress[]): void {
    if (this.#state !== 'waiting') return;
    this.#state = 'connecting';
    let errno: string | undefined;
    let silence = false;
    for (const address of addresses) {
      this.#address = address;
      const server = this.#network.dial(address, this.#client.address);
      if (typeof server === 'object') {
        this.#relayTo(server, address);
        return;
      }
      if (server === undefined) silence = true;
      else errno = server;
    }
    if (addresses.length === 0) this.close('no-upstream', 'proxy');
    else if (!silence) this.close('connect-failed', 'server', errno);
    // Where there was silence, the deadline decides.
  }

  close(reason: CloseReason, endedBy: CloseRecord['endedBy'], errno?: string): void {
    if (this.#state === 'closed') return;
    const phase = this.#connectMs === undefined ? 'connecting' : 'relaying';
    this.#state = 'closed';
    this.#cancelDeadline();
    if (reason !== 'finished') {
      this.#client.reset();
      this.#server?.reset();
    }
    const totalMs = this.#network.clock.now() - this.#acceptedAt;
    this.#events.onClosed({
      ...this.identity,
      ...(this.#address === undefined ? {} : { server: this.#address }),
      bytesUp: this.#bytesUp,
      bytesDown: this.#bytesDown,
      connectMs: this.#connectMs ?? totalMs,
      totalMs,
      phase,
      reason,
      endedBy,
      ...(errno === undefined ? {} : { errno }),
    });
  }

  #relayTo(server: FakeEnd, address: UpstreamAddress): void {
    this.#state = 'relaying';
    this.#server = server;
    this.#connectMs = this.#network.clock.now() - this.#acceptedAt;
    this.#events.onConnected(address);
    this.#awaitIdleness();
    this.#client.watch(() => this.#relay(server));
    server.watch(() => this.#relay(server));
    this.#relay(server);
  }

  /** Like epoll: whatever has happened on either side, looks at both. */
  #relay(server: FakeEnd): void {
    if (this.#state !== 'relaying') return;
    const up = this.#client.takeUnread();
    const down = server.takeUnread();
    this.#bytesUp += Buffer.byteLength(up);
    this.#bytesDown += Buffer.byteLength(down);
    if (up !== '' || down !== '') this.#awaitIdleness();
    server.write(up);
    this.#client.write(down);
    if (this.#client.ending === 'reset') this.close('reset', 'client', 'ECONNRESET');
    if (server.ending === 'reset') this.close('reset', 'server', 'ECONNRESET');
    if (this.#client.ending === 'eof') {
      this.#firstEof ??= 'client';
      server.end();
    }
    if (server.ending === 'eof') {
      this.#firstEof ??= 'server';
      this.#client.end();
    }
    if (this.#client.ending === 'eof' && server.ending === 'eof') this.close('finished', this.#firstEof ?? 'client');
  }

  #awaitIdleness(): void {
    this.#cancelDeadline();
    if (this.#timeouts.idleMs === 0) return;
    this.#cancelDeadline = this.#network.clock.setTimer(this.#timeouts.idleMs, () =>
      this.close('idle-timeout', 'proxy', 'ETIMEDOUT'),
    );
  }
}
