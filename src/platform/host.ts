/** The machine of this process, for diagnosis: files, programs, processes. Nothing here changes anything. */
import { execFile } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { constants, release } from 'node:os';

const MAX_BYTES = 1024 * 1024;
/** The changelog of a kernel's package has tens of thousands of lines. */
const MAX_OUTPUT = 32 * 1024 * 1024;
const RUN_MS = 10_000;

/** @returns the first MiB of a file; undefined if it is missing or not permitted */
export function readFile(path: string): string | undefined {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch {
    return undefined;
  }
  try {
    const buffer = Buffer.alloc(MAX_BYTES);
    let length = 0;
    for (let read = -1; read !== 0 && length < MAX_BYTES; length += read) {
      read = readSync(fd, buffer, length, MAX_BYTES - length, null);
    }
    return buffer.toString('utf8', 0, length);
  } catch {
    return undefined; // a directory, or a file of the kernel that can be opened but not read
  } finally {
    closeSync(fd);
  }
}

/** @returns the names in a directory; none if it is missing or not permitted */
export function listDirectory(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

/** @returns undefined if there is no such program, or if it did not end in time */
export function runProgram(
  program: string,
  args: readonly string[],
): Promise<{ readonly status: number; readonly stdout: string; readonly stderr: string } | undefined> {
  const { promise, resolve } = Promise.withResolvers<Awaited<ReturnType<typeof runProgram>>>();
  const options = {
    timeout: RUN_MS,
    maxBuffer: MAX_OUTPUT,
    killSignal: 'SIGKILL',
    env: { ...process.env, LC_ALL: 'C' },
  } as const;
  execFile(program, args, options, (failure, stdout, stderr) => {
    if (failure === null) return resolve({ status: 0, stdout, stderr });
    const { code, signal } = failure;
    if (typeof code === 'number') return resolve({ status: code, stdout, stderr });
    resolve(signal ? { status: 128 + constants.signals[signal], stdout, stderr } : undefined);
  });
  return promise;
}

/** @returns the process that has this socket open; undefined if there is none among those that are visible */
export function findHolder(
  inode: number,
): { readonly pid: number; readonly command: string; readonly unit?: string } | undefined {
  const socket = `socket:[${inode}]`;
  for (const pid of listDirectory('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const fds = `/proc/${pid}/fd`;
    if (!listDirectory(fds).some((fd) => readLink(`${fds}/${fd}`) === socket)) continue;
    const unit = /([^/\n]+\.(service|socket|scope))(\/[^\n]*)?$/m.exec(readFile(`/proc/${pid}/cgroup`) ?? '')?.[1];
    const command = readFile(`/proc/${pid}/comm`)?.trim() ?? '?';
    return { pid: Number(pid), command, ...(unit !== undefined && { unit }) };
  }
  return undefined;
}

function readLink(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

export { existsSync as exists, release as kernelRelease };
