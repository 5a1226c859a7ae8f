/**
 * The functions of node:fs that the enclave's side needs. Each throws errors with `code` and `errno` as Node.js does.
 */
import * as fs from 'node:fs';

export interface FileStatus {
  readonly mode: number;
  readonly dev: number;
  readonly ino: number;
  isFile(): boolean;
  isSocket(): boolean;
}

export interface Files {
  openSync(path: string, flags: 'r' | 'wx'): number;
  closeSync(fd: number): void;
  readSync(fd: number, buffer: Uint8Array, options?: { readonly offset: number }): number;
  fstatSync(fd: number): FileStatus;
  lstatSync(path: string): FileStatus;
  chmodSync(path: string, mode: number): void;
  fchmodSync(fd: number, mode: number): void;
  fsyncSync(fd: number): void;
  readFileSync(path: string, encoding: 'utf8' | 'latin1'): string;
  writeFileSync(file: string | number, text: string): void;
  renameSync(from: string, to: string): void;
  rmSync(path: string, options: { readonly force: true }): void;
}

export const {
  openSync,
  closeSync,
  readSync,
  fstatSync,
  lstatSync,
  chmodSync,
  fchmodSync,
  fsyncSync,
  readFileSync,
  writeFileSync,
  renameSync,
  rmSync,
}: Files = fs;
