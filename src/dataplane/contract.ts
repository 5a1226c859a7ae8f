/**
 * The seam between the control plane (TypeScript) and the data plane (the C++ addon).
 *
 * Types only. Everything that crosses is an id or a plain struct, never a handle, and nothing
 * here carries payload: once a connection relays, no byte of it passes through JavaScript.
 *
 * A *fixed* listener was decided when its route was made; the data plane connects its clients to
 * the addresses of `setUpstream` without asking anyone. A listener that *asks* requests a decision about each client by
 * `onDecisionRequest`, with the bytes that it has sent so far, and does with it what `decide` says.
 */
import type { Framing } from '../protocol/framing.ts';

/** Identifies one listener for the life of the process. Never reused. */
export type ListenerId = number & { readonly __brand: 'ListenerId' };
/** Identifies one accepted connection for the life of the process. Never reused; in no order. */
export type ConnectionId = number & { readonly __brand: 'ConnectionId' };

/** A socket address. `cid`, `port` of vsock are unsigned 32-bit; `ip` is a literal without zone or brackets. */
export type SocketAddress =
  | { readonly family: 'vsock'; readonly cid: number; readonly port: number }
  | { readonly family: 'tcp'; readonly ip: string; readonly port: number }
  | { readonly family: 'unix'; readonly path: string };

/** A listening socket that another process made, such as systemd; it stays open there. */
export interface InheritedSocket {
  readonly family: 'inherited';
  readonly fd: number;
}

/**
 * The socket of another listener, with the clients in its queue: for a change of everything but the address. The
 * connections of both count for the new limits.
 */
export interface PredecessorSocket {
  readonly family: 'predecessor';
  /** It shares the socket until it is closed. */
  readonly listener: ListenerId;
}

export interface ListenerLimits {
  /** Connections open at once (at least 1). At the limit accepting pauses and clients wait in the kernel's queue. */
  readonly connections: number;
  /** Of one client, which is a CID, an IP address, or all of a unix socket; further ones are refused. 0: no limit. */
  readonly connectionsPerClient: number;
  /** New connections of one client per second, in bursts of up to one second's worth; further ones are refused. 0: no limit. */
  readonly ratePerClient: number;
}

/** Milliseconds; 0 switches the deadline off, except for `connectMs` and `headMs`, which must be positive. */
export interface ListenerTimeouts {
  /**
   * Until one upstream address answered, all attempts together. A vsock or unix server that is not there is tried again
   * until then, for it may be restarting; a TCP server that refuses is not.
   */
  readonly connectMs: number;
  /** Without a byte in either direction while relaying; also between two requests. */
  readonly idleMs: number;
  /** From accept, or the first byte of a later request, until a decision that connects or rejects. */
  readonly headMs: number;
}

/** Which clients may connect at all; others are refused without an answer. */
export interface Admission {
  /** Only these CIDs may connect; absent: every client. TCP and unix clients have no CID, so with a list none of them may. */
  readonly cids?: readonly number[];
  /** Only TCP clients from these prefixes may connect; absent: every client. */
  readonly sources?: readonly { readonly ip: string; readonly prefixLength: number }[];
}

export interface ListenSpec {
  /**
   * - `fixed`: to the addresses of `setUpstream`.
   * - `decide-client`: asks as soon as a client is accepted, without a byte of it.
   * - `decide-head`: asks when the client has sent something, and again for more, up to `LIMITS.requestHeadBytes` in all.
   */
  readonly kind: 'fixed' | 'decide-client' | 'decide-head';
  readonly on: SocketAddress | InheritedSocket | PredecessorSocket;
  readonly limits: ListenerLimits;
  readonly timeouts: ListenerTimeouts;
  readonly admission: Admission;
  /**
   * What is told of each connection. `failures`: close records of those that did not end normally.
   * `lifecycle`: also the other close records, and when each was accepted and connected. Counters count all.
   */
  readonly report: 'failures' | 'lifecycle';
}

/** Says in later events of a connection which target it was given; the control plane chooses it. */
export type TargetId = number;

/** A connection waits for a {@link Decision}, under its deadline; it requests one at a time. */
export type DecisionRequest = DecisionSubject & {
  readonly listener: ListenerId;
  readonly connection: ConnectionId;
  readonly client: SocketAddress;
};

export type DecisionSubject =
  /** Kind `decide-client`. `local` is where the client connected to. */
  | { readonly kind: 'client'; readonly local: SocketAddress }
  /** All bytes that the client has sent and nobody has consumed. `ended`: its EOF came. Never empty and ended. */
  | { readonly kind: 'head'; readonly bytes: Uint8Array; readonly ended: boolean }
  /** All bytes that the server has sent after an `exchange` or handshake and nobody has consumed. `ended`: its EOF or a reset came. */
  | { readonly kind: 'response'; readonly target: TargetId; readonly bytes: Uint8Array; readonly ended: boolean }
  /** Nobody could be connected, after a decision with `explain`; to be answered with `reject`. */
  | {
      readonly kind: 'failed';
      readonly target: TargetId;
      readonly reason: 'connect-failed' | 'connect-timeout' | 'no-upstream' | 'internal';
      readonly server?: SocketAddress;
      readonly errno?: string;
    };

/**
 * Whom else a decision is for: a client of the same CID or IP address, on the same listener, whose first `bytes` bytes
 * are the same but for those in `except` gets it without a question, for `forMs` or until the listener is closed. The
 * data plane may forget it earlier, and keeps none of more than `LIMITS.cachedHeadBytes`.
 */
export interface CacheRule {
  /** At least `consume`, and no more than there are. */
  readonly bytes: number;
  /** Ranges within them: where one begins, where it ends, where the next one begins … */
  readonly except: readonly number[];
  readonly forMs: number;
}

/**
 * What is to become of a connection. One for a connection that has ended is ignored. One that does not fit its request
 * ends the connection as `internal` (EPROTO).
 */
export type Decision =
  /**
   * `head`, `response`: not enough bytes yet. The next question comes with the EOF, with a full head, or with more bytes:
   * `atLeast` in all, and the byte `until` among the new ones. Where nothing more can come, the connection ends as
   * `malformed`. `head` only: the client receives `toClient` first.
   */
  | { readonly action: 'more'; readonly atLeast?: number; readonly until?: number; readonly toClient?: Uint8Array }
  /**
   * `client`, `head`: connect and relay. Of the bytes so far the first `consume` are dropped, the others are the
   * first that the server receives, after `toServer`. Once connected the client receives `toClient` first.
   */
  | {
      readonly action: 'connect';
      readonly target: TargetId;
      readonly addresses: readonly SocketAddress[];
      readonly consume: number;
      readonly toServer?: Uint8Array;
      readonly toClient?: Uint8Array;
      /** A request of kind `failed` instead of ending the connection when none of the addresses answers. */
      readonly explain: boolean;
      /**
       * Send `toServer` alone, and request a decision of kind `response` about what the server answers, for a `relay`, a `reject`, or
       * a `respond` after which the client is left;
       * until then nothing of the client's is passed on. Includes `explain`, and leaves no use for `toClient`. Once
       * connected, the server has `headMs` and `connectMs` together for it.
       */
      readonly handshake?: true;
      /** `head` only. */
      readonly cache?: CacheRule;
    }
  /** `response` of a handshake: relay. The bytes behind the first `consume` are the client's, after `toClient`. */
  | { readonly action: 'relay'; readonly consume: number; readonly toClient?: Uint8Array }
  /**
   * `head`: connect, send `toServer`, then exactly one `body` of the client's; what it sends behind it is the next
   * head. The server's answer comes as kind `response`. A failure to connect comes as kind `failed`.
   */
  | {
      readonly action: 'exchange';
      readonly target: TargetId;
      readonly addresses: readonly SocketAddress[];
      readonly consume: number;
      readonly toServer: Uint8Array;
      readonly body: Exclude<Framing, { readonly kind: 'eof' }>;
    }
  /**
   * `response`: drop the first `consume` bytes, send `toClient`, and wait for the next response: RFC 9110 section 15.2. At
   * most `LIMITS.interimResponses` times.
   */
  | { readonly action: 'interim'; readonly consume: number; readonly toClient: Uint8Array }
  /**
   * `response`: drop the first `consume` bytes, send `toClient`, then one `body` of the server's. Then the server is
   * left, and the client's next head is asked about if `next`, and all of its last body was taken; else it is left too.
   */
  | {
      readonly action: 'respond';
      readonly consume: number;
      readonly toClient: Uint8Array;
      readonly body: Framing;
      readonly next: boolean;
    }
  /** Any kind: send `toClient`, if any, and end the connection for this reason; `finished`: that is what the client wanted. */
  | {
      readonly action: 'reject';
      readonly target?: TargetId;
      readonly reason:
        | 'denied'
        | 'malformed'
        | 'no-upstream'
        | 'connect-failed'
        | 'connect-timeout'
        | 'internal'
        | 'finished';
      readonly toClient?: Uint8Array;
    };

/** A step in the life of a connection on a listener with `report: 'lifecycle'`. */
export type Progress =
  | {
      readonly step: 'accepted';
      readonly listener: ListenerId;
      readonly connection: ConnectionId;
      readonly client: SocketAddress;
    }
  | {
      readonly step: 'connected';
      readonly listener: ListenerId;
      readonly connection: ConnectionId;
      readonly client: SocketAddress;
      readonly server: SocketAddress;
      /** Of the decision, on listeners that ask. */
      readonly target?: TargetId;
    };

/** How far a connection had come when it ended. */
export type Phase = 'deciding' | 'connecting' | 'relaying';

/**
 * Why a connection ended.
 *
 * - `finished`: both directions ended with an EOF and every byte was delivered; or a client left between requests.
 * - `reset`: one side reset or vanished (`errno`); the other side was reset in turn.
 * - `connect-failed`: no upstream address could be reached; `errno` and `server` are those of the last one tried.
 * - `no-upstream`: the listener had no address to try; `errno` is `ETIMEDOUT` where it waited for one.
 * - `connect-timeout`, `idle-timeout`: a deadline of {@link ListenerTimeouts} passed.
 * - `drained`: still open when the drain deadline passed.
 * - `internal`: the data plane ran out of something (`errno`: EMFILE, ENOMEM, …), or a decision did not fit.
 * - `head-timeout`: the client did not send what it takes within `headMs`. `decision-timeout`: it did, and no decision came.
 * - `denied`, `malformed`: so a decision said; `malformed` also where the body of an exchange was not framed as announced.
 * - `not-admitted`, `client-limit`, `client-rate`: refused when it was accepted, as {@link ListenSpec} has it. Of
 *   these there are no records, for a client could make thousands a second: a {@link Fault} tells, and the counters.
 */
export type CloseReason =
  | ClientRefusal
  | 'finished'
  | 'reset'
  | 'connect-failed'
  | 'no-upstream'
  | 'connect-timeout'
  | 'idle-timeout'
  | 'drained'
  | 'internal'
  | 'head-timeout'
  | 'denied'
  | 'malformed'
  | 'decision-timeout';

/** Why a client is refused when it is accepted, as {@link ListenSpec} has it. */
export type ClientRefusal = 'not-admitted' | 'client-limit' | 'client-rate';

/** Exactly one of these exists for each connection that was accepted and not refused. */
export interface CloseRecord {
  readonly listener: ListenerId;
  readonly connection: ConnectionId;
  readonly client: SocketAddress;
  /** The address that was connected, or the last one tried; absent with `no-upstream`. */
  readonly server?: SocketAddress;
  /** Of the last decision that had one, on listeners that ask. */
  readonly target?: TargetId;
  /** Bytes delivered from client to server, those of decisions included. */
  readonly bytesUp: number;
  /** Bytes delivered from server to client. */
  readonly bytesDown: number;
  /** Milliseconds that the client was seen to wait for a free place; 0 if it was not at the head of the queue. */
  readonly queuedMs: number;
  /** Milliseconds from accept to the established upstream connection; up to the end where there was none. */
  readonly connectMs: number;
  /** Milliseconds from accept to the end. */
  readonly totalMs: number;
  readonly phase: Phase;
  readonly reason: CloseReason;
  /** Who ended it: for `finished`, the side whose EOF came first. */
  readonly endedBy: 'client' | 'server' | 'proxy';
  /** Name of the errno behind `reason`, such as `ECONNREFUSED`. */
  readonly errno?: string;
}

/** Something that concerns a listener and not one connection. At most one per listener, kind and second. */
export type Fault =
  /** A client waits because `maxConnections` are open. */
  | { readonly kind: 'limit'; readonly listener: ListenerId }
  /** accept(2) failed for want of something (EMFILE, ENFILE, …) or is forbidden (EPERM); it is tried again. */
  | { readonly kind: 'accept'; readonly listener: ListenerId; readonly errno: string }
  /** A client was refused, as {@link ListenSpec} has it. */
  | {
      readonly kind: ClientRefusal;
      readonly listener: ListenerId;
      readonly client: SocketAddress;
    };

/** Totals since the listener was made. Those of a closed one are told for the last time when its last connection has ended. */
export interface ListenerCounters {
  readonly listener: ListenerId;
  readonly accepted: number;
  readonly active: number;
  /** Bytes delivered by connections that have ended. */
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** How many connections ended for each reason. */
  readonly closed: Readonly<Record<CloseReason, number>>;
  /** How often a client was seen to wait because of `maxConnections`, how long in all, and for how long one waits now. */
  readonly limitHits: number;
  readonly limitWaitMs: number;
  readonly waitingMs: number;
  /** From accept to the established server connection, of those that had one. */
  readonly connect: Histogram;
  /** From accept to the end. */
  readonly duration: Histogram;
  /** How long clients waited for a free place, of those that were seen to wait. */
  readonly queued: Histogram;
  /** Decisions that the data plane took from its cache, and those that it requested. */
  readonly decisionsCached: number;
  readonly decisionsRequested: number;
}

/** How often something took how long. */
export interface Histogram {
  /** Upper bounds in seconds, inclusive, ascending. */
  readonly bounds: readonly number[];
  /** How many had each bound as their lowest one; the last number is of those above all bounds. */
  readonly counts: readonly number[];
  /** Of all of them together, in seconds. */
  readonly sum: number;
}

/** What limits and figures per client count: a CID, an IP address, or all clients of unix sockets. */
export type ClientKey =
  | { readonly family: 'vsock'; readonly cid: number }
  | { readonly family: 'tcp'; readonly ip: string }
  | { readonly family: 'unix' };

/** Totals of one client on all listeners. Of clients that were not seen for the longest time, beyond 1,024, they are dropped. */
export interface ClientCounters {
  readonly client: ClientKey;
  readonly active: number;
  /** Without those that were refused. */
  readonly accepted: number;
  readonly refused: number;
  /** Bytes delivered by connections that have ended. */
  readonly bytesUp: number;
  readonly bytesDown: number;
}

/** A connection that is open. */
export interface LiveConnection {
  readonly listener: ListenerId;
  readonly connection: ConnectionId;
  readonly client: SocketAddress;
  /** Connected, or being tried. */
  readonly server?: SocketAddress;
  readonly target?: TargetId;
  readonly phase: Phase;
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** Since accept, and since the last byte in either direction. */
  readonly ageMs: number;
  readonly idleMs: number;
}

/** Events come in batches, on the JavaScript thread, each connection's in order. An exception in one ends the process: do not throw. */
export interface DataPlaneEvents {
  onProgress(steps: readonly Progress[]): void;
  onClose(records: readonly CloseRecord[]): void;
  onFault(faults: readonly Fault[]): void;
  onDecisionRequest(requests: readonly DecisionRequest[]): void;
}

export interface Listening {
  readonly id: ListenerId;
  /** The address as bound: for a socket that existed already, its own. */
  readonly on: SocketAddress;
}

export interface DataPlane {
  /**
   * Binds and listens. On a `fixed` one, clients wait until the first `setUpstream`, within `connectMs`; while that is empty they are ended.
   * @throws VsockProxyError `listen-failed` with `errno` and `syscall` when socket, bind or listen fails.
   */
  listen(spec: ListenSpec): Listening;
  /** Decides about a connection that waits for it: {@link DecisionRequest}. Without a decision it ends at its deadline. */
  decide(connection: ConnectionId, decision: Decision): void;
  /**
   * `fixed` only. Replaces the addresses that connections try, in order: those of clients who connect from now on, and of those who
   * wait for the first ones. Atomic; established connections stay. Unknown ids are ignored.
   */
  setUpstream(listener: ListenerId, addresses: readonly SocketAddress[]): void;
  /** Stops listening at once, and leaves the address free; connections go on. Unknown ids are ignored. */
  closeListener(listener: ListenerId): void;
  /**
   * Closes every listener and waits for the connections to end; those still open after `deadlineMs` are reset.
   * Resolves, with all events delivered, to the number that were reset.
   */
  drain(deadlineMs: number): Promise<number>;
  counters(): readonly ListenerCounters[];
  /** The busiest first: by open connections, then by connections accepted. */
  clients(): readonly ClientCounters[];
  /** Resolves when every relay thread has told of its connections. */
  connections(): Promise<readonly LiveConnection[]>;
  /** Processor time of each relay thread so far, in seconds. */
  threadSeconds(): readonly number[];
  /** Whether every relay thread has run since the last call: false twice in a row means that one hangs. */
  beat(): boolean;
  /** Ends all threads and connections. The data plane is unusable afterwards. Idempotent. */
  stop(): void;
}
