/** One connection of the data plane in memory, from accept to its close record. */
import type {
  CloseReason,
  CloseRecord,
  Decision,
  DecisionSubject,
  ListenSpec,
  LiveConnection,
  Phase,
  SocketAddress,
  TargetId,
} from '../../src/dataplane/contract.ts';
import { LIMITS } from '../../src/dataplane/limits.ts';
import type { ForwardRequest } from '../../src/protocol/http-request.ts';
import { parseResponse } from '../../src/protocol/http-response.ts';
import { FakeBody } from './body.ts';
import { type FakeEnd, type FakeNetwork, keyOf } from './network.ts';

export type Identity = Pick<CloseRecord, 'listener' | 'connection' | 'client' | 'queuedMs'>;

export interface ConnectionEvents {
  onConnected(server: SocketAddress, target: TargetId | undefined): void;
  onDecisionRequest(subject: DecisionSubject): void;
  /** The client gets a response without a decision request. */
  onAnswered(status: number): void;
  onClosed(record: CloseRecord): void;
}

/** The limits of heads, of requests and of responses. */
const HEAD_BYTES = { client: LIMITS.requestHeadBytes, server: LIMITS.responseHeadBytes };

const ANYTHING = { atLeast: 0, until: undefined, after: 0 };

type ConnectDecision = Extract<Decision, { readonly action: 'connect' | 'exchange' }>;
type FailedReason = Extract<DecisionSubject, { readonly kind: 'failed' }>['reason'];

export class FakeConnection {
  readonly identity: Identity;
  readonly #network: FakeNetwork;
  readonly #spec: Pick<ListenSpec, 'kind' | 'timeouts'>;
  readonly #events: ConnectionEvents;
  readonly #client: FakeEnd;
  #server: FakeEnd | undefined;
  /** Connected, or tried last. */
  #address: SocketAddress | undefined;
  /** Waiting: no upstream has been set yet. Deciding: a head or its decision is missing. */
  #state: 'waiting' | 'deciding' | 'connecting' | 'relaying' | 'exchanging' | 'closed';
  #openRequest: DecisionSubject | undefined;
  /** Bytes and end of the last request: the next one comes only when there is more. */
  #shown = '';
  /** What the last `more` waits for. */
  #wanted: { readonly atLeast: number; readonly until: number | undefined; readonly after: number } = ANYTHING;
  #decision: ConnectDecision | undefined;
  #target: TargetId | undefined;
  /** A decision to connect, which was requested. */
  #failure: Parameters<FakeConnection['close']> | undefined;
  /** Of an exchange: what is still to pass in each direction. */
  #up = new FakeBody({ kind: 'none' });
  #down: FakeBody | undefined;
  #next = false;
  /** Of an exchange that was decided by the cache, until somebody else knows of it. */
  #plain: ForwardRequest | undefined;
  #plainHead: Uint8Array | undefined;
  /** The server that is connected while the client has no exchange under way. */
  #kept: { readonly target: TargetId; readonly cancel: () => void } | undefined;
  /** The exchange goes to a server that was kept. */
  #reused = false;
  #keep = false;
  /** A request has been answered on this connection. */
  #isLater = false;
  #draining = false;
  /** The client has its last answer, and the end of it. */
  #hasEnd = false;
  readonly #acceptedAt: number;
  #connectMs: number | undefined;
  #bytesUp = 0;
  #bytesDown = 0;
  #movedAt: number;
  #firstEof: 'client' | 'server' | undefined;
  #cancelDeadline = (): void => undefined;

  constructor(
    network: FakeNetwork,
    client: FakeEnd,
    identity: Identity,
    spec: Pick<ListenSpec, 'kind' | 'timeouts'>,
    events: ConnectionEvents,
  ) {
    this.identity = identity;
    this.#network = network;
    this.#client = client;
    this.#spec = spec;
    this.#events = events;
    this.#acceptedAt = network.clock.now();
    this.#movedAt = this.#acceptedAt;
    this.#state = spec.kind === 'fixed' ? 'waiting' : 'deciding';
  }

  /** @param local where the client connected to */
  start(local: SocketAddress) {
    const { kind, timeouts } = this.#spec;
    if (kind === 'fixed') return this.#setDeadline(timeouts.connectMs, 'no-upstream');
    this.#setDeadline(timeouts.headMs, 'head-timeout');
    if (kind === 'decide-client') this.#request({ kind: 'client', local });
    this.#client.watch(() => this.#look());
    this.#look();
  }

  /** Fixed only. Does nothing but for the first addresses that it is given. */
  connect(addresses: readonly SocketAddress[]): void {
    if (this.#state === 'waiting') this.#dial(addresses);
  }

  /** The open decision request. */
  get openRequest(): DecisionSubject | undefined {
    return this.#openRequest;
  }

  /** The client between two requests is left, the others after the one that is under way. */
  drain(): void {
    this.#draining = true;
    if (this.#state === 'deciding' && this.#isLater && this.#shown === '') this.#leave();
  }

  /** @param plain the request of an exchange that the cache has decided */
  decide(decision: Decision, plain?: ForwardRequest) {
    const open = this.#openRequest;
    if (open === undefined) return;
    this.#openRequest = undefined;
    this.#plain = plain;
    this.#plainHead = open.kind === 'head' ? open.bytes.subarray(0, plain?.headBytes) : undefined;
    if (decision.action === 'reject') return this.#reject(decision, open.kind);
    switch (open.kind) {
      case 'client':
        if (decision.action === 'connect') return this.#follow(decision);
        break;
      case 'head':
        if (decision.action === 'connect' || decision.action === 'exchange') return this.#follow(decision);
        if (decision.action === 'more') return this.#awaitMore(open, 'client', decision);
        break;
      case 'response':
        if (decision.action === 'more') return this.#awaitMore(open, 'server', decision);
        if (decision.action === 'interim' || decision.action === 'respond') return this.#respond(decision);
        if (decision.action === 'relay' && this.#isHandshake) return this.#relayAfter(decision);
        break;
      case 'failed':
        break;
    }
    this.close('internal', 'proxy');
  }

  close(reason: CloseReason, endedBy: CloseRecord['endedBy'], errno?: string): void {
    if (this.#state === 'closed') return;
    const phase = this.#phase();
    this.#state = 'closed';
    this.#openRequest = undefined;
    this.#cancelDeadline();
    if (this.#kept !== undefined) this.#drop();
    if (reason !== 'finished') {
      if (!this.#hasEnd) this.#client.reset();
      this.#server?.reset();
    }
    const totalMs = this.#network.clock.now() - this.#acceptedAt;
    this.#events.onClosed({
      ...this.identity,
      ...(this.#address === undefined ? {} : { server: this.#address }),
      ...(this.#target === undefined ? {} : { target: this.#target }),
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

  #phase(): Phase {
    if (this.#state === 'deciding' || this.#openRequest?.kind === 'failed') return 'deciding';
    return this.#server === undefined ? 'connecting' : 'relaying';
  }

  read(): LiveConnection {
    const { listener, connection, client } = this.identity;
    const now = this.#network.clock.now();
    return {
      listener,
      connection,
      client,
      ...(this.#address === undefined ? {} : { server: this.#address }),
      ...(this.#target === undefined ? {} : { target: this.#target }),
      phase: this.#phase(),
      bytesUp: this.#bytesUp,
      bytesDown: this.#bytesDown,
      ageMs: now - this.#acceptedAt,
      idleMs: now - this.#movedAt,
    };
  }

  #request(subject: DecisionSubject): void {
    this.#openRequest = subject;
    this.#events.onDecisionRequest(subject);
  }

  /** Looks at both sides after an event of either, as with epoll. */
  #look(): void {
    if (this.#state === 'relaying' && this.#server !== undefined) this.#relay(this.#server);
    else if (this.#state === 'exchanging' && this.#server !== undefined) this.#exchange(this.#server);
    else if (this.#client.ending === 'reset') this.close('reset', 'client', 'ECONNRESET');
    else if (this.#kept !== undefined && !isQuiet(this.#server)) this.#drop();
    else if (this.#state === 'deciding' && this.#openRequest === undefined) this.#showHead();
  }

  /** Requests a decision about the bytes of the client, if there are more than the last time. */
  #showHead(): void {
    const bytes = this.#client.unread.subarray(0, HEAD_BYTES.client);
    const ended = this.#client.ending === 'eof';
    if (bytes.length === 0 && ended) {
      this.#client.end();
      this.close('finished', 'client');
    } else if (
      bytes.length > 0 &&
      this.#shown !== `${bytes.length} ${ended}` &&
      this.#isWorthAsking(bytes, ended, HEAD_BYTES.client)
    ) {
      // The first byte of a later request.
      if (this.#shown === '' && this.#isLater) this.#setDeadline(this.#spec.timeouts.headMs, 'head-timeout');
      this.#shown = `${bytes.length} ${ended}`;
      this.#request({ kind: 'head', bytes: Uint8Array.from(bytes), ended });
    }
  }

  #awaitMore(
    { bytes, ended }: { readonly bytes: Uint8Array; readonly ended: boolean },
    from: 'client' | 'server',
    { atLeast = 0, until, toClient }: Extract<Decision, { readonly action: 'more' }>,
  ) {
    if (ended || bytes.length >= HEAD_BYTES[from]) return this.close('malformed', from);
    if (from === 'client' && toClient !== undefined) {
      this.#client.write(toClient);
      this.#bytesDown += toClient.length;
    }
    this.#wanted = { atLeast, until, after: bytes.length };
    this.#look();
  }

  /** Whether these are what the last decision waits for. */
  #isWorthAsking(bytes: Uint8Array, ended: boolean, limit: number): boolean {
    const { atLeast, until, after } = this.#wanted;
    if (ended || bytes.length >= limit) return true;
    return bytes.length >= atLeast && (until === undefined || bytes.subarray(after).includes(until));
  }

  #reject(
    { reason, toClient, target }: Extract<Decision, { readonly action: 'reject' }>,
    kind: DecisionSubject['kind'],
  ) {
    this.#target = target ?? this.#target;
    if (this.#kept !== undefined) this.#drop();
    if (toClient !== undefined) {
      this.#client.write(toClient);
      this.#client.end();
      this.#hasEnd = true;
      this.#bytesDown += toClient.length;
    }
    if (kind === 'failed' && this.#failure !== undefined) this.close(...this.#failure);
    else this.close(reason, kind === 'response' ? 'server' : 'proxy');
  }

  #follow(decision: ConnectDecision) {
    this.#decision = decision;
    this.#target = decision.target;
    this.#client.consume(decision.consume);
    const { kept, server, address } = { kept: this.#kept, server: this.#server, address: this.#address };
    const isReused =
      decision.action === 'exchange' &&
      decision.persistent === true &&
      kept?.target === decision.target &&
      decision.addresses.some((each) => address !== undefined && keyOf(each) === keyOf(address));
    if (isReused && server !== undefined && address !== undefined && isQuiet(server)) {
      kept?.cancel();
      this.#kept = undefined;
      this.#reused = true;
      return this.#connected(server, address);
    }
    if (kept !== undefined) this.#drop();
    this.#dialAll(decision.addresses);
  }

  #dialAll(addresses: readonly SocketAddress[]): void {
    this.#reused = false;
    this.#setDeadline(this.#spec.timeouts.connectMs, 'connect-timeout');
    this.#dial(addresses);
  }

  #drop(): void {
    this.#kept?.cancel();
    this.#kept = undefined;
    this.#server?.end();
    this.#server = undefined;
  }

  /** Returns the request once: its receiver then reads the rest of the exchange. */
  #tellHead(): { readonly head?: Uint8Array } {
    const events = this.#plain === undefined || this.#plainHead === undefined ? {} : { head: this.#plainHead };
    this.#plain = undefined;
    return events;
  }

  #dial(addresses: readonly SocketAddress[]) {
    this.#state = 'connecting';
    let errno: string | undefined;
    let silence = false;
    this.#address = undefined;
    for (const address of addresses) {
      this.#address = address;
      const server = this.#network.dial(address, this.#client.address);
      if (typeof server === 'object') return this.#connected(server, address);
      if (server === undefined) silence = true;
      else errno = server;
    }
    if (addresses.length === 0) this.#fail('no-upstream', 'proxy');
    else if (!silence) this.#fail('connect-failed', 'server', errno);
    // Where there was silence, the deadline decides.
  }

  #fail(reason: FailedReason, endedBy: 'server' | 'proxy', errno?: string) {
    const decision = this.#decision;
    if (decision === undefined || (decision.action === 'connect' && !decision.explain && !this.#isHandshake)) {
      return this.close(reason, endedBy, errno);
    }
    this.#failure = [reason, endedBy, errno];
    this.#setDeadline(this.#spec.timeouts.headMs, reason);
    this.#request({
      kind: 'failed',
      target: decision.target,
      reason,
      ...this.#tellHead(),
      ...(this.#address === undefined ? {} : { server: this.#address }),
      ...(errno === undefined ? {} : { errno }),
    });
  }

  #connected(server: FakeEnd, address: SocketAddress): void {
    const decision = this.#decision;
    this.#server = server;
    this.#connectMs ??= this.#network.clock.now() - this.#acceptedAt;
    this.#state = decision?.action === 'exchange' || this.#isHandshake ? 'exchanging' : 'relaying';
    this.#events.onConnected(address, decision?.target);
    if (decision?.toServer !== undefined) this.#send(server, decision.toServer);
    if (decision?.action === 'connect' && decision.toClient !== undefined) this.#send(this.#client, decision.toClient);
    this.#up = new FakeBody(decision?.action === 'exchange' ? decision.body : { kind: 'none' });
    this.#down = undefined;
    this.#shown = '';
    this.#wanted = ANYTHING;
    this.#awaitIdleness();
    this.#client.watch(() => this.#look());
    server.watch(() => this.#look());
    this.#look();
  }

  get #isHandshake(): boolean {
    return this.#decision?.action === 'connect' && this.#decision.handshake === true;
  }

  #relayAfter({ consume, toClient }: Extract<Decision, { readonly action: 'relay' }>): void {
    this.#server?.consume(consume);
    if (toClient !== undefined) this.#send(this.#client, toClient);
    this.#state = 'relaying';
    this.#look();
  }

  #send(to: FakeEnd, bytes: Uint8Array): void {
    to.write(bytes);
    if (to === this.#client) this.#bytesDown += bytes.length;
    else this.#bytesUp += bytes.length;
    if (bytes.length === 0) return;
    this.#movedAt = this.#network.clock.now();
    this.#awaitIdleness();
  }

  #relay(server: FakeEnd): void {
    this.#send(server, this.#client.consume());
    this.#send(this.#client, server.consume());
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

  #exchange(server: FakeEnd) {
    if (this.#client.ending === 'reset') return this.close('reset', 'client', 'ECONNRESET');
    if (!this.#pass(this.#client, server, this.#up)) return this.close('malformed', 'client');
    if (this.#client.ending === 'eof' && !this.#up.mayEnd) return this.close('reset', 'client');
    if (this.#down === undefined) return this.#showResponse(server);
    if (!this.#pass(server, this.#client, this.#down)) return this.close('malformed', 'server');
    if (this.#down.done) return this.#finishExchange(server);
    if (server.ending === 'reset') return this.close('reset', 'server', 'ECONNRESET');
    if (server.ending === 'eof' && !this.#down.mayEnd) return this.close('reset', 'server');
    if (server.ending === 'eof') this.#finishExchange(server);
  }

  /** @returns whether the body is framed as announced, so far */
  #pass(from: FakeEnd, to: FakeEnd, body: FakeBody): boolean {
    const count = body.take(from.unread);
    if (count !== undefined) this.#send(to, from.consume(count));
    return count !== undefined;
  }

  #showResponse(server: FakeEnd) {
    const bytes = server.unread.subarray(0, HEAD_BYTES.server);
    const ended = server.ending !== undefined;
    if (this.#openRequest !== undefined || this.#shown === `${bytes.length} ${ended}`) return;
    if (
      (bytes.length === 0 && !ended) ||
      this.#target === undefined ||
      !this.#isWorthAsking(bytes, ended, HEAD_BYTES.server)
    )
      return;
    this.#shown = `${bytes.length} ${ended}`;
    if (this.#reused && bytes.length === 0 && this.#decision !== undefined) {
      return this.#dialAll(this.#decision.addresses);
    }
    this.#reused = false;
    const response = this.#plain === undefined ? undefined : parseResponse(bytes, this.#plain);
    if (this.#plain !== undefined && response?.kind === 'final' && response.body.kind !== 'eof') {
      const { status, headBytes: consume, head: toClient, body, keepAlive: next, serverStays: keep } = response;
      this.#respond({ action: 'respond', consume, toClient, body, next, keep });
      return this.#events.onAnswered(status);
    }
    this.#request({
      kind: 'response',
      target: this.#target,
      bytes: Uint8Array.from(bytes),
      ended,
      ...this.#tellHead(),
    });
  }

  #respond(decision: Extract<Decision, { readonly action: 'interim' | 'respond' }>): void {
    this.#server?.consume(decision.consume);
    this.#shown = '';
    this.#wanted = ANYTHING;
    this.#send(this.#client, decision.toClient);
    if (decision.action === 'respond') {
      this.#down = new FakeBody(decision.body);
      this.#next = decision.next && !this.#isHandshake;
      this.#keep = decision.keep === true;
    }
    this.#look();
  }

  /** The server is left; the client too, unless its next request can follow. */
  #finishExchange(server: FakeEnd) {
    const goesOn = this.#next && this.#up.done && !this.#draining;
    const { reuseMs } = this.#spec.timeouts;
    const isPersistent = this.#decision?.action === 'exchange' && this.#decision.persistent === true;
    if (goesOn && isPersistent && this.#keep && reuseMs > 0 && isQuiet(server) && this.#target !== undefined) {
      this.#kept = { target: this.#target, cancel: this.#network.clock.setTimer(reuseMs, () => this.#drop()) };
    } else {
      server.end();
      this.#server = undefined;
    }
    if (!goesOn) return this.#leave();
    this.#state = 'deciding';
    this.#isLater = true;
    this.#shown = '';
    this.#wanted = ANYTHING;
    this.#awaitIdleness();
    this.#look();
  }

  #leave(): void {
    this.#drop();
    this.#client.end();
    this.close('finished', 'server');
  }

  #awaitIdleness(): void {
    this.#setDeadline(this.#spec.timeouts.idleMs, 'idle-timeout');
  }

  /** Replaces the one before; 0 is none. */
  #setDeadline(ms: number, reason: CloseReason): void {
    this.#cancelDeadline();
    this.#cancelDeadline = () => undefined;
    if (ms === 0) return;
    this.#cancelDeadline = this.#network.clock.setTimer(ms, () => {
      // A fixed one that had addresses in time was connecting.
      if (reason === 'connect-timeout' || (reason === 'no-upstream' && this.#state === 'connecting')) {
        this.#fail('connect-timeout', 'proxy', 'ETIMEDOUT');
      } else if (reason === 'head-timeout' && this.#openRequest !== undefined) {
        this.close('decision-timeout', 'proxy', 'ETIMEDOUT');
      } else {
        this.close(reason, 'proxy', 'ETIMEDOUT');
      }
    });
  }
}

/** It has neither said anything that nobody has read, nor ended. */
function isQuiet(end: FakeEnd | undefined): boolean {
  return end !== undefined && end.unread.length === 0 && end.ending === undefined;
}
