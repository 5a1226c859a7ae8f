/** One connection of the data plane in memory, from accept to its close record. */
import type {
  CloseReason,
  CloseRecord,
  ListenSpec,
  Question,
  SocketAddress,
  TargetId,
  Verdict,
} from '../../src/dataplane/contract.ts';
import { FakeBody } from './body.ts';
import type { FakeEnd, FakeNetwork } from './network.ts';

export type Identity = Pick<CloseRecord, 'listener' | 'connection' | 'client' | 'queuedMs'>;

export interface ConnectionEvents {
  onConnected(server: SocketAddress, target: TargetId | undefined): void;
  onAsk(question: Question): void;
  onClosed(record: CloseRecord): void;
}

/** The contract: so much of a head is kept, and not more. */
const PEEK_BYTES = 16 * 1024;

const ANYTHING = { atLeast: 0, until: undefined, after: 0 };

type ConnectVerdict = Extract<Verdict, { readonly action: 'connect' | 'exchange' }>;
type FailedReason = Extract<Question, { readonly stage: 'failed' }>['reason'];

export class FakeConnection {
  readonly identity: Identity;
  readonly #network: FakeNetwork;
  readonly #spec: Pick<ListenSpec, 'kind' | 'timeouts'>;
  readonly #events: ConnectionEvents;
  readonly #client: FakeEnd;
  #server: FakeEnd | undefined;
  /** Connected, or tried last. */
  #address: SocketAddress | undefined;
  /** Waiting: no upstream has been set yet. Asking: for a head or its verdict. */
  #state: 'waiting' | 'asking' | 'connecting' | 'relaying' | 'exchanging' | 'closed';
  #asked: Question | undefined;
  /** Bytes and end that the last question showed, to ask again only when there is more. */
  #shown = '';
  /** What the last `more` waits for. */
  #wanted: { readonly atLeast: number; readonly until: number | undefined; readonly after: number } = ANYTHING;
  #verdict: ConnectVerdict | undefined;
  #target: TargetId | undefined;
  /** To connect, which has been asked about. */
  #failure: Parameters<FakeConnection['close']> | undefined;
  /** Of an exchange: what is still to pass in each direction. */
  #up = new FakeBody({ kind: 'none' });
  #down: FakeBody | undefined;
  #next = false;
  /** A request has been answered on this connection. */
  #isLater = false;
  #draining = false;
  /** The client has its last answer, and the end of it. */
  #hasEnd = false;
  readonly #acceptedAt: number;
  #connectMs: number | undefined;
  #bytesUp = 0;
  #bytesDown = 0;
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
    this.#state = spec.kind === 'fixed' ? 'waiting' : 'asking';
  }

  /** @param local where the client connected to */
  start(local: SocketAddress) {
    const { kind, timeouts } = this.#spec;
    if (kind === 'fixed') return this.#setDeadline(timeouts.connectMs, 'no-upstream');
    this.#setDeadline(timeouts.headMs, 'head-timeout');
    if (kind === 'ask-client') this.#ask({ stage: 'client', local });
    this.#client.watch(() => this.#look());
    this.#look();
  }

  /** Fixed only. Does nothing but for the first addresses that it is given. */
  connect(addresses: readonly SocketAddress[]): void {
    if (this.#state === 'waiting') this.#dial(addresses);
  }

  /** The question that is not answered yet. */
  get asked(): Question | undefined {
    return this.#asked;
  }

  /** The client between two requests is left, the others after the one that is under way. */
  drain(): void {
    this.#draining = true;
    if (this.#state === 'asking' && this.#isLater && this.#shown === '') this.#leave();
  }

  answer(verdict: Verdict) {
    const asked = this.#asked;
    if (asked === undefined) return;
    this.#asked = undefined;
    if (verdict.action === 'reject') return this.#reject(verdict, asked.stage);
    switch (asked.stage) {
      case 'client':
        if (verdict.action === 'connect') return this.#follow(verdict);
        break;
      case 'head':
        if (verdict.action === 'connect' || verdict.action === 'exchange') return this.#follow(verdict);
        if (verdict.action === 'more') return this.#awaitMore(asked, 'client', verdict);
        break;
      case 'response':
        if (verdict.action === 'more') return this.#awaitMore(asked, 'server', verdict);
        if (this.#isHandshake) {
          if (verdict.action === 'relay') return this.#relayAfter(verdict);
        } else if (verdict.action === 'interim' || verdict.action === 'respond') {
          return this.#respond(verdict);
        }
        break;
      case 'failed':
        break;
    }
    this.close('internal', 'proxy');
  }

  close(reason: CloseReason, endedBy: CloseRecord['endedBy'], errno?: string): void {
    if (this.#state === 'closed') return;
    const phase = this.#state === 'asking' || this.#asked?.stage === 'failed' ? 'asking' : this.#connectedPhase();
    this.#state = 'closed';
    this.#asked = undefined;
    this.#cancelDeadline();
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

  #connectedPhase(): 'connecting' | 'relaying' {
    return this.#server === undefined ? 'connecting' : 'relaying';
  }

  #ask(question: Question): void {
    this.#asked = question;
    this.#events.onAsk(question);
  }

  /** Like epoll: whatever has happened on either side, looks at both. */
  #look(): void {
    if (this.#state === 'relaying' && this.#server !== undefined) this.#relay(this.#server);
    else if (this.#state === 'exchanging' && this.#server !== undefined) this.#exchange(this.#server);
    else if (this.#client.ending === 'reset') this.close('reset', 'client', 'ECONNRESET');
    else if (this.#state === 'asking' && this.#asked === undefined) this.#showHead();
  }

  /** Asks about what the client has sent, if that is more than the last time. */
  #showHead(): void {
    const bytes = this.#client.unread.subarray(0, PEEK_BYTES);
    const ended = this.#client.ending === 'eof';
    if (bytes.length === 0 && ended) {
      this.#client.end();
      this.close('finished', 'client');
    } else if (bytes.length > 0 && this.#shown !== `${bytes.length} ${ended}` && this.#isWorthAsking(bytes, ended)) {
      // The first byte of a later request.
      if (this.#shown === '' && this.#isLater) this.#setDeadline(this.#spec.timeouts.headMs, 'head-timeout');
      this.#shown = `${bytes.length} ${ended}`;
      this.#ask({ stage: 'head', bytes: Uint8Array.from(bytes), ended });
    }
  }

  #awaitMore(
    { bytes, ended }: { readonly bytes: Uint8Array; readonly ended: boolean },
    from: 'client' | 'server',
    { atLeast = 0, until }: Extract<Verdict, { readonly action: 'more' }>,
  ) {
    if (ended || bytes.length >= PEEK_BYTES) return this.close('malformed', from);
    this.#wanted = { atLeast, until, after: bytes.length };
    this.#look();
  }

  /** Whether these are what the last verdict waits for. */
  #isWorthAsking(bytes: Uint8Array, ended: boolean): boolean {
    const { atLeast, until, after } = this.#wanted;
    if (ended || bytes.length >= PEEK_BYTES) return true;
    return bytes.length >= atLeast && (until === undefined || bytes.subarray(after).includes(until));
  }

  #reject({ reason, toClient, target }: Extract<Verdict, { readonly action: 'reject' }>, stage: Question['stage']) {
    this.#target = target ?? this.#target;
    if (toClient !== undefined) {
      this.#client.write(toClient);
      this.#client.end();
      this.#hasEnd = true;
      this.#bytesDown += toClient.length;
    }
    if (stage === 'failed' && this.#failure !== undefined) this.close(...this.#failure);
    else this.close(reason, stage === 'response' ? 'server' : 'proxy');
  }

  #follow(verdict: ConnectVerdict): void {
    this.#verdict = verdict;
    this.#target = verdict.target;
    this.#client.consume(verdict.consume);
    this.#setDeadline(this.#spec.timeouts.connectMs, 'connect-timeout');
    this.#dial(verdict.addresses);
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
    const verdict = this.#verdict;
    if (verdict === undefined || (verdict.action === 'connect' && !verdict.explain && !this.#isHandshake)) {
      return this.close(reason, endedBy, errno);
    }
    this.#failure = [reason, endedBy, errno];
    this.#setDeadline(this.#spec.timeouts.headMs, reason);
    this.#ask({
      stage: 'failed',
      target: verdict.target,
      reason,
      ...(this.#address === undefined ? {} : { server: this.#address }),
      ...(errno === undefined ? {} : { errno }),
    });
  }

  #connected(server: FakeEnd, address: SocketAddress): void {
    const verdict = this.#verdict;
    this.#server = server;
    this.#connectMs ??= this.#network.clock.now() - this.#acceptedAt;
    this.#state = verdict?.action === 'exchange' || this.#isHandshake ? 'exchanging' : 'relaying';
    this.#events.onConnected(address, verdict?.target);
    if (verdict?.toServer !== undefined) this.#send(server, verdict.toServer);
    if (verdict?.action === 'connect' && verdict.toClient !== undefined) this.#send(this.#client, verdict.toClient);
    this.#up = new FakeBody(verdict?.action === 'exchange' ? verdict.body : { kind: 'none' });
    this.#down = undefined;
    this.#shown = '';
    this.#wanted = ANYTHING;
    this.#awaitIdleness();
    this.#client.watch(() => this.#look());
    server.watch(() => this.#look());
    this.#look();
  }

  get #isHandshake(): boolean {
    return this.#verdict?.action === 'connect' && this.#verdict.handshake === true;
  }

  #relayAfter({ consume, toClient }: Extract<Verdict, { readonly action: 'relay' }>): void {
    this.#server?.consume(consume);
    if (toClient !== undefined) this.#send(this.#client, toClient);
    this.#state = 'relaying';
    this.#look();
  }

  #send(to: FakeEnd, bytes: Uint8Array): void {
    to.write(bytes);
    if (to === this.#client) this.#bytesDown += bytes.length;
    else this.#bytesUp += bytes.length;
    if (bytes.length > 0) this.#awaitIdleness();
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

  #showResponse(server: FakeEnd): void {
    const bytes = server.unread.subarray(0, PEEK_BYTES);
    const ended = server.ending !== undefined;
    if (this.#asked !== undefined || this.#shown === `${bytes.length} ${ended}`) return;
    if ((bytes.length === 0 && !ended) || this.#target === undefined || !this.#isWorthAsking(bytes, ended)) return;
    this.#shown = `${bytes.length} ${ended}`;
    this.#ask({ stage: 'response', target: this.#target, bytes: Uint8Array.from(bytes), ended });
  }

  #respond(verdict: Extract<Verdict, { readonly action: 'interim' | 'respond' }>): void {
    this.#server?.consume(verdict.consume);
    this.#shown = '';
    this.#wanted = ANYTHING;
    this.#send(this.#client, verdict.toClient);
    if (verdict.action === 'respond') {
      this.#down = new FakeBody(verdict.body);
      this.#next = verdict.next;
    }
    this.#look();
  }

  /** The server is left; the client too, unless its next request can follow. */
  #finishExchange(server: FakeEnd) {
    server.end();
    if (!this.#next || !this.#up.done || this.#draining) return this.#leave();
    this.#state = 'asking';
    this.#server = undefined;
    this.#isLater = true;
    this.#shown = '';
    this.#wanted = ANYTHING;
    this.#awaitIdleness();
    this.#look();
  }

  #leave(): void {
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
      } else if (reason === 'head-timeout' && this.#asked !== undefined) {
        this.close('verdict-timeout', 'proxy', 'ETIMEDOUT');
      } else {
        this.close(reason, 'proxy', 'ETIMEDOUT');
      }
    });
  }
}
