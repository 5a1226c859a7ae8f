import type { FileStatus, Files } from '../system/files.ts';
import { checked } from './errors.ts';
import type { HostStatus } from './host.ts';

/** The values of open(2) and inode(7), which are the same on x86-64 and aarch64. */
const O_RDONLY = 0;
const O_WRONLY = 1;
const O_CREAT = 0o100;
const O_EXCL = 0o200;
const O_TRUNC = 0o1000;
const DEFAULT_MODE = 0o666;
const FILE_TYPE = 0o170000;
const REGULAR = 0o100000;
const SOCKET = 0o140000;
const ENOENT = -2;

/** The first size of the buffer; files that are read whole are small. */
const BLOCK_BYTES = 4096;

const FLAGS = { r: O_RDONLY, wx: O_WRONLY | O_CREAT | O_EXCL };

export const openSync: Files['openSync'] = (path, flags) =>
  checked(host.openFile(path, FLAGS[flags], DEFAULT_MODE), 'open', path);

export const closeSync: Files['closeSync'] = (fd) => void checked(host.closeFile(fd), 'close');

export const readSync: Files['readSync'] = (fd, buffer, { offset } = { offset: 0 }) =>
  checked(host.readFile(fd, buffer, offset), 'read');

export const fstatSync: Files['fstatSync'] = (fd) => toStatus(host.statusOf(fd), 'fstat');

export const lstatSync: Files['lstatSync'] = (path) => toStatus(host.statusOfPath(path), 'lstat', path);

function toStatus({ error, mode, device, inode }: HostStatus, syscall: string, path?: string): FileStatus {
  checked(-error, syscall, path);
  const isOfType = (type: number) => (mode & FILE_TYPE) === type;
  return { mode, dev: device, ino: inode, isFile: () => isOfType(REGULAR), isSocket: () => isOfType(SOCKET) };
}

export const chmodSync: Files['chmodSync'] = (path, mode) => void checked(host.changeModeOf(path, mode), 'chmod', path);

export const fchmodSync: Files['fchmodSync'] = (fd, mode) => void checked(host.changeMode(fd, mode), 'fchmod');

export const fsyncSync: Files['fsyncSync'] = (fd) => void checked(host.syncFile(fd), 'fsync');

export const readFileSync: Files['readFileSync'] = (path, encoding) => {
  const fd = openSync(path, 'r');
  try {
    let bytes = Buffer.alloc(BLOCK_BYTES);
    let length = 0;
    for (;;) {
      const count = readSync(fd, bytes, { offset: length });
      if (count === 0) return bytes.toString(encoding, 0, length);
      length += count;
      if (length === bytes.length) bytes = Buffer.concat([bytes, Buffer.alloc(length)]);
    }
  } finally {
    closeSync(fd);
  }
};

export const writeFileSync: Files['writeFileSync'] = (file, text) => {
  const isPath = typeof file === 'string';
  const fd = isPath ? checked(host.openFile(file, O_WRONLY | O_CREAT | O_TRUNC, DEFAULT_MODE), 'open', file) : file;
  try {
    const bytes = host.encode(text);
    for (let at = 0; at < bytes.length; ) at += checked(host.writeFile(fd, bytes, at), 'write');
  } finally {
    if (isPath) closeSync(fd);
  }
};

export const renameSync: Files['renameSync'] = (from, to) => void checked(host.renameFile(from, to), 'rename', from);

export const rmSync: Files['rmSync'] = (path) => {
  const error = host.removeFile(path);
  if (error !== ENOENT) checked(error, 'rm', path);
};
