/**
 * The seam between the control plane (TypeScript) and the data plane (the C++ addon).
 *
 * This file has types only. Ids and plain values cross the seam, never handles. No payload crosses it: once a
 * connection relays, none of its bytes passes through JavaScript.
 *
 * The target of a *fixed* listener is decided when its route is made. The data plane connects its clients to the
 * addresses of `setUpstream`, without further requests. Any other listener requests a decision about each client by
 * `onDecisionRequest`, with the bytes that the client has sent so far, and does what `decide` says.
 */
import type { Framing } from '../protocol/framing.ts';

/** Identifies one listener for the life of the process. Never reused. */
export type ListenerId = number & { readonly __brand: 'ListenerId' };
/** Identifies one accepted connection for the life of the process. Never reused; the order has no meaning. */
export type ConnectionId = number & { readonly __brand: 'ConnectionId' };

/**
 * A socket address. `cid` and `port` of vsock are unsigned 32-bit numbers; `ip` is a literal without zone or brackets.
 */
export type SocketAddress =
  | { readonly family: 'vsock'; readonly cid: number; readonly port: number }
  | { readonly family: 'tcp'; readonly ip: string; readonly port: number }
  | { readonly family: 'unix'; readonly path: string };

/** A listening socket that another process made, such as systemd. It stays open there. */
export interface InheritedSocket {
  readonly family: 'inherited';
  readonly fd: number;
}

/**
 * The socket of another listener, with the clients in its queue. It is used if everything but the address changes. The
 * connections of both listeners count for the new limits.
 */
export interface PredecessorSocket {
  readonly family: 'predecessor';
  /** The other listener. It shares the socket until it is closed. */
  readonly listener: ListenerId;
}

export interface ListenerLimits {
  /** The most open connections (at least 1). At the limit, accepting pauses, and clients wait in the kernel's queue. */
  readonly connections: number;
  /**
   * The most open connections of one client; further ones are refused. A client is a CID, an IP address, or everyone on
   * a unix socket. 0: no limit.
   */
  readonly connectionsPerClient: number;
  /**
   * The most new connections of one client per second, in bursts of up to one second's worth; further ones are refused.
   * 0: no limit.
   */
  readonly ratePerClient: number;
  /**
   * KiB that a vsock peer may have sent unread, of clients and servers; it counts where both ends of a connection ask for
   * it. Absent: as much as the kernel gives, 256.
   */
  readonly vsockBufferKib?: number;
}

/** In milliseconds. 0 switches a deadline off, except `connectMs` and `headMs`, which must be positive. */
export interface ListenerTimeouts {
  /**
   * How long a connection to the server may take, all attempts together. A vsock or unix server that is absent may be
   * restarting, so it is tried again until the deadline. A refusal by a TCP server is final.
   */
  readonly connectMs: number;
  /**
   * How long a relaying connection may carry no byte in either direction; also the longest time between two requests.
   */
  readonly idleMs: number;
  /** The time from accept, or from the first byte of a later request, to a decision that connects or rejects. */
  readonly headMs: number;
  /** How long the server of a `persistent` exchange is kept for the next one of the client. */
  readonly reuseMs: number;
}

/** Which clients may connect. All others are refused without an answer. */
export interface Admission {
  /**
   * Only these CIDs may connect; absent: every client. TCP and unix clients have no CID, so a list refuses all of them.
   */
  readonly cids?: readonly number[];
  /** Only TCP clients from these prefixes may connect; absent: every client. */
  readonly sources?: readonly { readonly ip: string; readonly prefixLength: number }[];
}

export interface ListenSpec {
  /**
   * - `fixed`: connects clients to the addresses of `setUpstream`.
   * - `decide-client`: requests a decision when a client is accepted, before its first byte.
   * - `decide-head`: requests a decision when the client has sent bytes, and again when it has sent more, up to
   *   `LIMITS.requestHeadBytes` altogether.
   */
  readonly kind: 'fixed' | 'decide-client' | 'decide-head';
  readonly on: SocketAddress | InheritedSocket | PredecessorSocket;
  readonly limits: ListenerLimits;
  readonly timeouts: ListenerTimeouts;
  readonly admission: Admission;
  /**
   * The events about each connection. `failures`: close records of connections that did not end normally. `lifecycle`:
   * all close records, and an event when a connection is accepted and when it is connected. Counters count all
   * connections.
   */
  readonly report: 'failures' | 'lifecycle';
}

/** Identifies the target of a connection in its later events. The control plane chooses it. */
export type TargetId = number;

/** A connection waits for a {@link Decision}, under its deadline. It has at most one open request. */
export type DecisionRequest = DecisionSubject & {
  readonly listener: ListenerId;
  readonly connection: ConnectionId;
  readonly client: SocketAddress;
};

export type DecisionSubject =
  /** For `decide-client`. `local` is the address to which the client connected. */
  | { readonly kind: 'client'; readonly local: SocketAddress }
  /**
   * All bytes that the client has sent and no decision has consumed. `ended`: EOF follows. Bytes are never empty if
   * `ended`.
   */
  | { readonly kind: 'head'; readonly bytes: Uint8Array; readonly ended: boolean }
  /**
   * All bytes that the server has sent after an `exchange` or a handshake and no decision has consumed. `ended`: EOF or
   * a reset follows.
   */
  | {
      readonly kind: 'response';
      readonly target: TargetId;
      readonly bytes: Uint8Array;
      readonly ended: boolean;
      /** The head of the client, once for each exchange that an {@link AuthorityRule} has decided. */
      readonly head?: Uint8Array;
    }
  /** No server could be connected, after a decision with `explain`. The answer must be `reject`. */
  | {
      readonly kind: 'failed';
      readonly target: TargetId;
      readonly reason: 'connect-failed' | 'connect-timeout' | 'no-upstream' | 'internal';
      readonly server?: SocketAddress;
      readonly errno?: string;
      /** As of a response. */
      readonly head?: Uint8Array;
    };

/**
 * For which other clients a decision holds. A client on the same listener, with the same CID or IP address, that sends
 * the same gets the decision without a request. This holds for `forMs`, or until the listener is closed. The data plane
 * may drop a cached decision earlier, and caches no head of more than `LIMITS.cachedHeadBytes`.
 */
export interface CacheRule {
  readonly forMs: number;
}

/** The first `bytes` bytes must be the same, except those in `except`. */
export interface BytesRule extends CacheRule {
  /** At least `consume`, and at most the number of bytes in the request. */
  readonly bytes: number;
  /** Ranges of bytes that do not count: the start of the first, its end, the start of the next, and so on. */
  readonly except: readonly number[];
}

/**
 * Both requests must be a CONNECT (for `connect`) or a GET of HTTP/1.1 without a body (for `exchange`), spell the authority
 * in the same way, and have a plain head (native/core/http_head.h). The data plane writes such a GET for the server as
 * http-request.ts does, and a plain response for the client as http-response.ts does. It requests a decision about any
 * other response, with the `head` of the request.
 */
export interface AuthorityRule extends CacheRule {
  readonly form: {
    /** The server is a proxy and needs the authority in the request line. */
    readonly absolute: boolean;
    /** Further lines for it, each with its CRLF. */
    readonly fields: string;
  };
}

/**
 * What to do with a connection. A decision for a connection that has ended is ignored. A decision that does not fit the
 * request ends the connection as `internal` (EPROTO).
 */
export type Decision =
  /**
   * For `head` and `response`: there are not enough bytes yet. The next request comes at EOF, with a full head, or when
   * there are more bytes: at least `atLeast` altogether, with the byte `until` among the new ones. If no more bytes can
   * come, the connection ends as `malformed`. For `head` only: the client receives `toClient` first.
   */
  | { readonly action: 'more'; readonly atLeast?: number; readonly until?: number; readonly toClient?: Uint8Array }
  /**
   * For `client` and `head`: connect and relay. The first `consume` bytes of the client are dropped. The server first
   * receives `toServer`, then the other bytes. When it is connected, the client first receives `toClient`.
   */
  | {
      readonly action: 'connect';
      readonly target: TargetId;
      readonly addresses: readonly SocketAddress[];
      readonly consume: number;
      readonly toServer?: Uint8Array;
      readonly toClient?: Uint8Array;
      /** If no address answers, request a decision of kind `failed` instead of ending the connection. */
      readonly explain: boolean;
      /**
       * Send only `toServer`, and request a decision of kind `response` about the server's answer. That decision is
       * `relay`, `reject`, or `respond`, after which the client is left. Until then no bytes of the client are passed
       * on. A handshake includes `explain`, and has no use for `toClient`. Once connected, the server has `headMs` and
       * `connectMs` together to answer.
       */
      readonly handshake?: true;
      /** `head` only. */
      readonly cache?: BytesRule | AuthorityRule;
    }
  /**
   * For `response` of a handshake: relay. The first `consume` bytes are dropped. The client first receives `toClient`,
   * then the other bytes.
   */
  | { readonly action: 'relay'; readonly consume: number; readonly toClient?: Uint8Array }
  /**
   * For `head`: connect, and send `toServer`, then exactly one `body` of the client. What the client sends after the
   * body is the next head. The server's answer comes as kind `response`. A failure to connect comes as kind `failed`.
   */
  | {
      readonly action: 'exchange';
      readonly target: TargetId;
      readonly addresses: readonly SocketAddress[];
      readonly consume: number;
      readonly toServer: Uint8Array;
      readonly body: Exclude<Framing, { readonly kind: 'eof' }>;
      /**
       * A GET without a body, whose server may be kept for the next one of the client. It goes to the kept server if that
       * has the same target and one of these addresses. If there is none, or if it ends before the first byte of its
       * response, the data plane connects a server. Every other exchange has a server of its own.
       */
      readonly persistent?: boolean;
      readonly cache?: AuthorityRule;
    }
  /**
   * For `response`: drop the first `consume` bytes, send `toClient`, and wait for the next response (RFC 9110 section
   * 15.2). At most `LIMITS.interimResponses` times.
   */
  | { readonly action: 'interim'; readonly consume: number; readonly toClient: Uint8Array }
  /**
   * For `response`: drop the first `consume` bytes, send `toClient`, then one `body` of the server, and leave the
   * server, unless it may be kept. If `next`, and if the client's last body was taken completely, its next head is
   * requested. Otherwise the client is left, too.
   */
  | {
      readonly action: 'respond';
      readonly consume: number;
      readonly toClient: Uint8Array;
      readonly body: Framing;
      readonly next: boolean;
      /** The server of a `persistent` exchange takes another request after this response. */
      readonly keep?: boolean;
    }
  /**
   * For every kind: send `toClient`, if any, and end the connection for this reason. `finished`: the client got what it
   * wanted.
   */
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

/** A step in the life of a connection, on a listener with `report: 'lifecycle'`. */
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
      /** The target of the decision; absent on `fixed` listeners. */
      readonly target?: TargetId;
    };

/** The part of its life in which a connection ended. */
export type Phase = 'deciding' | 'connecting' | 'relaying';

/**
 * Why a connection ended.
 *
 * - `finished`: both directions ended with EOF and every byte was delivered; or a client left between requests.
 * - `reset`: one side reset or vanished (`errno`); the other side was reset in turn.
 * - `connect-failed`: no address of the server could be reached; `errno` and `server` are those of the last one tried.
 * - `no-upstream`: the listener had no address to try; `errno` is `ETIMEDOUT` if it waited for one.
 * - `connect-timeout`, `idle-timeout`: a deadline of {@link ListenerTimeouts} passed.
 * - `drained`: the connection was still open at the deadline of the drain.
 * - `internal`: the data plane lacked a resource (`errno`: EMFILE, ENOMEM, …), or a decision did not fit.
 * - `head-timeout`: the client did not send enough within `headMs`. `decision-timeout`: it did, and there was no
 *   decision.
 * - `denied`, `malformed`: a decision said so; `malformed` also if the body of an exchange was not framed as announced.
 * - `not-admitted`, `client-limit`, `client-rate`: the client was refused when it was accepted, by {@link ListenSpec}.
 *   There are no records of these, because a client could cause thousands per second. A {@link Fault} reports them, and
 *   counters count them.
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

/** Why a client is refused when it is accepted, by {@link ListenSpec}. */
export type ClientRefusal = 'not-admitted' | 'client-limit' | 'client-rate';

/** There is exactly one for each connection that was accepted and not refused. */
export interface CloseRecord {
  readonly listener: ListenerId;
  readonly connection: ConnectionId;
  readonly client: SocketAddress;
  /** The address that was connected, or the last one tried; absent with `no-upstream`. */
  readonly server?: SocketAddress;
  /** The target of the last decision that had one; absent on `fixed` listeners. */
  readonly target?: TargetId;
  /** Bytes delivered from client to server, including those of decisions. */
  readonly bytesUp: number;
  /** Bytes delivered from server to client. */
  readonly bytesDown: number;
  /**
   * Milliseconds that the client waited for a free place, as far as the data plane saw it; 0 if it was not first in the
   * queue.
   */
  readonly queuedMs: number;
  /** Milliseconds from accept to the established connection to the server; to the end if there was none. */
  readonly connectMs: number;
  /** Milliseconds from accept to the end. */
  readonly totalMs: number;
  readonly phase: Phase;
  readonly reason: CloseReason;
  /** The party that ended it. For `finished`, the side whose EOF came first. */
  readonly endedBy: 'client' | 'server' | 'proxy';
  /** Name of the errno behind `reason`, such as `ECONNREFUSED`. */
  readonly errno?: string;
}

/** An event that concerns a listener, not one connection. There is at most one per listener, kind and second. */
export type Fault =
  /** A client waits because `limits.connections` are open. */
  | { readonly kind: 'limit'; readonly listener: ListenerId }
  /** accept(2) failed for lack of a resource (EMFILE, ENFILE, …), or is forbidden (EPERM). It is tried again. */
  | { readonly kind: 'accept'; readonly listener: ListenerId; readonly errno: string }
  /** A client was refused, by {@link ListenSpec}. */
  | {
      readonly kind: ClientRefusal;
      readonly listener: ListenerId;
      readonly client: SocketAddress;
    };

/**
 * Totals since the listener was made. Those of a closed listener are reported for the last time when its last
 * connection has ended.
 */
export interface ListenerCounters {
  readonly listener: ListenerId;
  readonly accepted: number;
  readonly active: number;
  /** Bytes delivered by connections that have ended. */
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** The number of connections by close reason. */
  readonly closed: Readonly<Record<CloseReason, number>>;
  /**
   * How often a client waited because of `limits.connections`, how long clients waited altogether, and how long one
   * waits now.
   */
  readonly limitHits: number;
  readonly limitWaitMs: number;
  readonly waitingMs: number;
  /** From accept to the established connection to the server, for connections that had one. */
  readonly connect: Histogram;
  /** From accept to the end of the connection. */
  readonly duration: Histogram;
  /** How long clients waited for a free place, for those that were seen to wait. */
  readonly queued: Histogram;
  /** The number of decisions from the cache, and the number of decisions that were requested. */
  readonly decisionsCached: number;
  readonly decisionsRequested: number;
  /** How many of the cached decisions were exchanges. */
  readonly exchangesCached: number;
  /** Responses without a decision request, by class of status: 1xx, 2xx, … 5xx. */
  readonly answers: readonly number[];
}

/** A distribution of durations. */
export interface Histogram {
  /** Upper bounds in seconds, inclusive, ascending. */
  readonly bounds: readonly number[];
  /**
   * The number of values for each bound, counted at the lowest bound that holds; the last number is of values above all
   * bounds.
   */
  readonly counts: readonly number[];
  /** The sum of all values, in seconds. */
  readonly sum: number;
}

/** The client that limits and counters per client refer to: a CID, an IP address, or all clients of unix sockets. */
export type ClientKey =
  | { readonly family: 'vsock'; readonly cid: number }
  | { readonly family: 'tcp'; readonly ip: string }
  | { readonly family: 'unix' };

/**
 * Totals of one client on all listeners. Beyond 1,024 clients, those that were not seen for the longest time are
 * dropped.
 */
export interface ClientCounters {
  readonly client: ClientKey;
  readonly active: number;
  /** Without refused connections. */
  readonly accepted: number;
  readonly refused: number;
  /** Bytes delivered by connections that have ended. */
  readonly bytesUp: number;
  readonly bytesDown: number;
}

/** An open connection. */
export interface LiveConnection {
  readonly listener: ListenerId;
  readonly connection: ConnectionId;
  readonly client: SocketAddress;
  /** The connected server, or the address being tried. */
  readonly server?: SocketAddress;
  readonly target?: TargetId;
  readonly phase: Phase;
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** Milliseconds since accept, and since the last byte in either direction. */
  readonly ageMs: number;
  readonly idleMs: number;
}

/**
 * Events come in batches, on the JavaScript thread, in order for each connection. Handlers must not throw: an exception
 * ends the process.
 */
export interface DataPlaneEvents {
  onProgress(steps: readonly Progress[]): void;
  onClose(records: readonly CloseRecord[]): void;
  onFault(faults: readonly Fault[]): void;
  onDecisionRequest(requests: readonly DecisionRequest[]): void;
}

export interface Listening {
  readonly id: ListenerId;
  /** The address as bound; for an existing socket, its own. */
  readonly on: SocketAddress;
}

export interface DataPlane {
  /**
   * Binds and listens. Clients of a `fixed` listener wait for the first `setUpstream`, within `connectMs`. While the
   * addresses are empty, clients are ended.
   * @throws VsockProxyError `listen-failed` with `errno` and `syscall` if socket, bind or listen fails
   */
  listen(spec: ListenSpec): Listening;
  /** Answers the {@link DecisionRequest} of a connection. Without a decision the connection ends at its deadline. */
  decide(connection: ConnectionId, decision: Decision): void;
  /**
   * For `fixed` listeners only. Replaces the addresses that connections try, in order. They hold for clients that
   * connect from now on, and for those that wait for the first addresses, also at a closed listener. The change is
   * atomic, and established connections stay. Unknown ids are ignored.
   */
  setUpstream(listener: ListenerId, addresses: readonly SocketAddress[]): void;
  /** Stops listening at once and frees the address. Open connections go on. Unknown ids are ignored. */
  closeListener(listener: ListenerId): void;
  /**
   * Closes every listener and waits for the connections to end. Those still open after `deadlineMs` are reset. Resolves
   * to the number that were reset, after all events are delivered.
   */
  drain(deadlineMs: number): Promise<number>;
  /** Also of closed listeners, until they are forgotten. */
  counters(): readonly ListenerCounters[];
  /** Forgets a closed listener without connections. Any other stays. */
  forget(listener: ListenerId): void;
  /** The busiest client first: by open connections, then by accepted connections. */
  clients(): readonly ClientCounters[];
  /** Resolves when every relay thread has listed its connections. */
  connections(): Promise<readonly LiveConnection[]>;
  /** Processor time of each relay thread so far, in seconds. */
  threadSeconds(): readonly number[];
  /** Whether every relay thread has run since the last call. False twice in a row means that a thread hangs. */
  beat(): boolean;
  /** Ends all threads and connections. The data plane is unusable afterwards. Idempotent. */
  stop(): void;
}
