/** The functions of native/quickjs (host.cc). Negative numbers are errnos. */

export interface Opened {
  readonly fd: number;
  /** The failed call, with `error`; 0: no call failed. */
  readonly call: string;
  readonly error: number;
}

export interface HostStatus {
  readonly error: number;
  readonly mode: number;
  readonly device: number;
  readonly inode: number;
  readonly terminal: boolean;
}

export interface Host {
  readonly words: readonly string[];
  /** Entries of the form `NAME=value`. */
  readonly environment: readonly string[];
  readonly hostName: string;
  readonly processors: number;
  readonly processId: number;
  /** The version of QuickJS. */
  readonly engine: string;
  /** `x64` or `arm64`. */
  readonly arch: string;

  exit(status: number): never;
  onUncaught(handler: (error: unknown) => void): void;
  now(): number;
  setTimer(ms: number, fire: () => void): number;
  clearTimer(id: number): void;
  /** Calls `onReady` repeatedly while one of the events of epoll(7) holds. */
  watch(fd: number, events: number, onReady: (events: number) => void): number;
  rewatch(fd: number, events: number): number;
  unwatch(fd: number): void;

  openFile(path: string, flags: number, mode: number): number;
  closeFile(fd: number): number;
  readFile(fd: number, to: Uint8Array, offset?: number): number;
  writeFile(fd: number, from: Uint8Array, offset?: number): number;
  writeWithoutWaiting(fd: number, from: Uint8Array, offset?: number): number;
  /** A descriptor of this process alone, which other processes cannot fill between poll(2) and write(2); or `fd`. */
  openForItself(fd: number): number;
  statusOf(fd: number): HostStatus;
  /** A link is not followed. */
  statusOfPath(path: string): HostStatus;
  changeMode(fd: number, mode: number): number;
  changeModeOf(path: string, mode: number): number;
  syncFile(fd: number): number;
  renameFile(from: string, to: string): number;
  removeFile(path: string): number;
  randomBytes(to: Uint8Array): number;
  /** `descriptors` is negative if /proc does not say. */
  processUse(): { readonly cpuSeconds: number; readonly residentBytes: number; readonly descriptors: number };

  startProgram(words: readonly string[], environment: readonly string[], streams: readonly number[]): number;
  endOf(pid: number): { readonly ended: boolean; readonly status: number; readonly signal: number };
  sendSignal(pid: number, signal: number): number;
  openSignals(signals: readonly number[]): number;
  takeSignal(fd: number): number;

  bindDatagrams(ip: string, port: number): Opened;
  receiveDatagram(fd: number, to: Uint8Array): { readonly length: number; readonly ip: string; readonly port: number };
  sendDatagramTo(fd: number, from: Uint8Array, ip: string, port: number): number;
  /** An IP address, the CID of vsock, or without a port the path of a unix socket. */
  listenOn(at: string | number, port?: number): Opened;
  portOf(fd: number): number;
  acceptFrom(fd: number): Opened;
  startConnect(to: string, port?: number): Opened;
  connectOutcome(fd: number): number;
  receive(fd: number, to: Uint8Array, offset?: number): number;
  send(fd: number, from: Uint8Array, offset?: number): number;
  shutdownWrite(fd: number): void;
  unblock(fd: number): number;

  /** Decodes UTF-8. Invalid parts become U+FFFD, as the Encoding standard says. */
  decode(bytes: Uint8Array): string;
  isUtf8(bytes: Uint8Array): boolean;
  encode(text: string): Uint8Array;
  /** One byte for each character: its lowest eight bits. */
  decodeLatin1(bytes: Uint8Array): string;
  encodeLatin1(text: string): Uint8Array;
}

declare global {
  /** Present under QuickJS only. */
  const host: Host;
}

/** EPOLLIN and EPOLLOUT. */
export const READABLE = 1;
export const WRITABLE = 4;
