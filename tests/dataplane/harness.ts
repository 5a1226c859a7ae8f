/** The harness of the contract suite: clients and servers around a data plane, with sockets or in memory. */
import type { DataPlane, DataPlaneEvents, SocketAddress } from '../../src/dataplane/contract.ts';

/** The end of a stream that a test uses. */
export interface Peer {
  write(data: string | Uint8Array): void;
  /** Sends EOF; receiving goes on. */
  end(): void;
  /** Resets the stream. */
  reset(): void;
  /** Waits until this text and nothing else has arrived, in all. */
  receives(text: string): Promise<void>;
  /** How the other side's stream ended. */
  readonly ended: Promise<'eof' | 'reset'>;
}

export interface Server {
  readonly address: SocketAddress;
  /** The next connection. */
  accept(): Promise<Peer>;
}

export interface Harness {
  open(events: DataPlaneEvents): DataPlane;
  /** An address where no one listens. */
  freeAddress(): Promise<SocketAddress>;
  /** Connects as a client; rejects when nobody listens. */
  connect(to: SocketAddress): Promise<Peer>;
  serve(): Promise<Server>;
  /** An address that never answers. */
  silentAddress(): Promise<SocketAddress>;
  /** Ends everything that the harness has started. */
  close(): Promise<void>;
}
