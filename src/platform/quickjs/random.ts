import { checked } from './errors.ts';

export function randomHex(bytes: number): string {
  const random = Buffer.alloc(bytes);
  checked(host.randomBytes(random), 'getrandom');
  return random.toString('hex');
}
