/** Sockets of this machine, from node:net and node:dgram. */
import { createSocket as openDatagrams } from 'node:dgram';
import { connect as connectTo, Socket, createServer as serve } from 'node:net';

/** A stream of bytes: a connection, or one end of a pipe. */
export interface Stream {
  on(event: 'data', listener: (bytes: Buffer) => void): this;
  on(event: 'connect' | 'drain' | 'end' | 'close', listener: () => void): this;
  on(event: 'error', listener: (error: Error) => void): this;
  once(event: 'close', listener: () => void): this;
  /**
   * @param done is called when the bytes are sent, or when they never will be
   * @returns false if the caller should wait for `drain`
   */
  write(bytes: Uint8Array | string, done?: () => void): boolean;
  /** Ends the stream after all written bytes. */
  end(): unknown;
  destroy(error?: Error): unknown;
  pause(): unknown;
  resume(): unknown;
  readonly destroyed: boolean;
  readonly writable: boolean;
  /** The number of written bytes that were not sent yet. */
  readonly writableLength: number;
}

export interface Connection extends Stream {
  /** Calls `listener` when no byte has passed for `ms`. */
  setTimeout(ms: number, listener: () => void): unknown;
}

/** An address of TCP, or the path of a unix socket. */
export type StreamAddress = { readonly host: string; readonly port: number } | { readonly path: string };

/** An address of vsock. The sockets of QuickJS can listen there; those of Node.js throw an error. */
export interface VsockAddress {
  readonly vsock: { readonly cid: number; readonly port: number };
}

export interface StreamServer {
  maxConnections: number;
  listen(address: StreamAddress | VsockAddress): unknown;
  once(event: 'listening', listener: () => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  /** A client was turned away because of `maxConnections`. */
  on(event: 'drop', listener: () => void): unknown;
  /** A path, or an address with the port that the kernel chose. */
  address(): string | { readonly port: number } | null;
  /** @param done is called when the last connection has ended, too */
  close(done?: () => void): unknown;
}

export interface ServerOptions {
  /** The end of what a client sends does not end what is sent to it. */
  readonly allowHalfOpen: boolean;
}

export interface DatagramSocket {
  bind(options: { readonly address: string; readonly port: number }): unknown;
  once(event: 'listening', listener: () => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(
    event: 'message',
    listener: (bytes: Buffer, from: { readonly address: string; readonly port: number }) => void,
  ): unknown;
  send(bytes: Uint8Array, port: number, address: string): void;
  close(): unknown;
}

export const connect: (to: StreamAddress) => Connection = connectTo;

export const createServer: (options: ServerOptions, onConnection: (connection: Connection) => void) => StreamServer =
  serve;

export const createSocket: (family: 'udp4') => DatagramSocket = openDatagrams;

/** The reading end of a pipe. It is closed together with the stream. */
export function readPipe(fd: number): Stream {
  return new Socket({ fd, writable: false });
}
