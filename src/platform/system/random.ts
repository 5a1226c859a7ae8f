/** Bytes that nobody can guess. */
import { randomBytes } from 'node:crypto';

/** So many of them, in hexadecimal digits. */
export function randomHex(bytes: number): string {
  return randomBytes(bytes).toString('hex');
}
