/**
 * The seam between the control plane (TypeScript) and the data plane (the C++ addon).
 *
 * Types only. Everything that crosses is an id or a plain struct, never a handle, and nothing
 * here carries payload: once a connection relays, no byte of it passes through JavaScript.
 *
 * A *fixed* listener was decided when its route was made; the data plane connects its clients to
 * the addresses of `setUpstream` without asking anyone. Ask listeners, whose target is known only
 * from the first bytes, are to become a second `kind` of {@link ListenSpec} with their own event.
 */

/** Identifies one listener for the life of the process. Never reused. */
export type ListenerId = number & { readonly __brand: 'ListenerId' };
/** Identifies one accepted connection for the life of the process. Never reused. */
export type ConnectionId = number & { readonly __brand: 'ConnectionId' };

/** A socket address. `cid`, `port` of vsock are unsigned 32-bit; `ip` is a literal without zone or brackets. */
export type SocketAddress =
  | { readonly family: 'vsock'; readonly cid: number; readonly port: number }
  | { readonly family: 'tcp'; readonly ip: string; readonly port: number }
  | { readonly family: 'unix'; readonly path: string };

/** Where a fixed listener's connections go. */
export type UpstreamAddress = Extract<SocketAddress, { family: 'tcp' }>;

/** Milliseconds; 0 switches the deadline off, except for `connectMs`, which must be positive. */
export interface ConnectionTimeouts {
  /** From accept until one upstream address answered, all attempts together. */
  readonly connectMs: number;
  /** Without a byte in either direction while relaying. */
  readonly idleMs: number;
}

export interface ListenSpec {
  readonly kind: 'fixed';
  readonly on: SocketAddress;
  /** Connections open at once (at least 1). At the limit accepting pauses and clients wait in the kernel's queue. */
  readonly maxConnections: number;
  readonly timeouts: ConnectionTimeouts;
  /**
   * What is told of each connection. `failures`: close records of those that did not end normally.
   * `lifecycle`: also the other close records, and when each was accepted and connected. Counters count all.
   */
  readonly report: 'failures' | 'lifecycle';
}

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
      readonly server: UpstreamAddress;
    };

/** How far a connection had come when it ended. */
export type Phase = 'connecting' | 'relaying';

/**
 * Why a connection ended.
 *
 * - `finished`: both directions ended with an EOF and every byte was delivered.
 * - `reset`: one side reset or vanished (`errno`); the other side was reset in turn.
 * - `connect-failed`: no upstream address could be reached; `errno` and `server` are those of the last one tried.
 * - `no-upstream`: the listener had no address to try; `errno` is `ETIMEDOUT` where it waited for one.
 * - `connect-timeout`, `idle-timeout`: a deadline of {@link ConnectionTimeouts} passed.
 * - `drained`: still open when the drain deadline passed.
 * - `internal`: the data plane ran out of something (`errno`: EMFILE, ENOMEM, …).
 */
export type CloseReason =
  | 'finished'
  | 'reset'
  | 'connect-failed'
  | 'no-upstream'
  | 'connect-timeout'
  | 'idle-timeout'
  | 'drained'
  | 'internal';

/** Exactly one of these exists for each accepted connection. */
export interface CloseRecord {
  readonly listener: ListenerId;
  readonly connection: ConnectionId;
  readonly client: SocketAddress;
  /** The address that was connected, or the last one tried; absent with `no-upstream`. */
  readonly server?: UpstreamAddress;
  /** Bytes delivered from client to server. */
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
  | { readonly kind: 'accept'; readonly listener: ListenerId; readonly errno: string };

/** Totals since the listener was made. */
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
}

/** Events come in batches, on the JavaScript thread, each connection's in order. An exception in one ends the process: do not throw. */
export interface DataPlaneEvents {
  onProgress(steps: readonly Progress[]): void;
  onClose(records: readonly CloseRecord[]): void;
  onFault(faults: readonly Fault[]): void;
}

export interface DataPlane {
  /**
   * Binds and listens. Until the first `setUpstream` clients wait, within `connectMs`; while it is empty they are ended.
   * @throws VsockProxyError `listen-failed` with `errno` and `syscall` when socket, bind or listen fails.
   */
  listen(spec: ListenSpec): ListenerId;
  /**
   * Replaces the addresses that connections try, in order: those of clients who connect from now on, and of those who
   * wait for the first ones. Atomic; established connections stay. Unknown ids are ignored.
   */
  setUpstream(listener: ListenerId, addresses: readonly UpstreamAddress[]): void;
  /** Stops listening at once; connections go on. Unknown ids are ignored. */
  closeListener(listener: ListenerId): void;
  /**
   * Closes every listener and waits for the connections to end; those still open after `deadlineMs` are reset.
   * Resolves, with all events delivered, to the number that were reset.
   */
  drain(deadlineMs: number): Promise<number>;
  counters(): readonly ListenerCounters[];
  /** Ends all threads and connections. The data plane is unusable afterwards. Idempotent. */
  stop(): void;
}
