/** Native programs that the executable contains, and that replace this process: native/binding/process.h. */
import { closeSync, constants, fchmodSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { getRawAsset, isSea } from 'node:sea';
import { fileURLToPath } from 'node:url';
import { getSystemErrorName } from 'node:util';
import { VsockProxyError } from '../platform/errors.ts';
import { loadAddon, scratchDirectories } from './load.ts';
import { openUnnamed } from './unnamed.ts';

/** The name of the program inside the executable, as scripts/executable.ts sets it. */
export type Program = 'vsock-forwarder';

interface Addon {
  openMemoryFile(name: string): { readonly fd: number; readonly error: number };
  execute(program: number, words: readonly string[]): number;
}

/**
 * Replaces this process by another program, with the same process id, environment and standard streams. The file of the
 * program is in memory. If a file in memory must not be executed, it is an unnamed file in the first directory that
 * allows it.
 * @param words the command line, which begins with the program's name
 * @throws VsockProxyError `internal`; otherwise it never returns
 */
export function becomeProgram(program: Program, words: readonly string[]): never {
  const addon = loadAddon() as Addon;
  const image = readImage(program);
  const ways = [
    { place: 'memory', open: () => openMemoryFile(addon, program) },
    ...scratchDirectories().map((directory) => ({ place: directory, open: () => openUnnamed(directory) })),
  ];
  const failures = ways.map(({ place, open }) => {
    try {
      const file = fillAndReopen(open(), image);
      const error = addon.execute(file, words);
      closeSync(file);
      return `${place}: ${getSystemErrorName(-error)}`;
    } catch (error) {
      return `${place}: ${error instanceof Error ? error.message : String(error)}`;
    }
  });
  throw new VsockProxyError('internal', `Could not run ${program} (${failures.join('; ')})`, {
    hint: 'either memory or one of these directories must allow that files are executed',
  });
}

/** From inside the executable, or from build/ if the sources run directly. */
function readImage(program: Program): Uint8Array {
  if (isSea()) return new Uint8Array(getRawAsset(program));
  return readFileSync(fileURLToPath(new URL(`../../build/${program}`, import.meta.url)));
}

function openMemoryFile(addon: Addon, name: string): number {
  const { fd, error } = addon.openMemoryFile(name);
  if (error === 0) return fd;
  throw new Error(`memfd_create: ${getSystemErrorName(-error)}`);
}

/** A file that is open for writing cannot be executed: ETXTBSY of execve(2). */
function fillAndReopen(writable: number, content: Uint8Array): number {
  try {
    writeFileSync(writable, content);
    fchmodSync(writable, 0o700);
    return openSync(`/proc/self/fd/${writable}`, constants.O_RDONLY);
  } finally {
    closeSync(writable);
  }
}
