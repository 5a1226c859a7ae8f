/** Random bytes that nobody can guess. */
import { randomBytes } from 'node:crypto';

/** This many bytes, in hexadecimal. */
export function randomHex(bytes: number): string {
  return randomBytes(bytes).toString('hex');
}
