/** Numbers on the command line. */
import { VsockProxyError } from '../../platform/errors.ts';
import { quoteBriefly } from '../../platform/escape.ts';
import { CID_ANY } from '../../platform/vsock.ts';

/**
 * A whole number as Rust's `parse::<u32>` accepts it, which AWS's proxy uses: decimal digits, perhaps with a plus in
 * front. The caller checks the range.
 */
export function parseUnsigned(text: string): number | undefined {
  return /^\+?[0-9]+$/.test(text) ? Number(text) : undefined;
}

/** @throws VsockProxyError `usage` */
export function parseNumberOption(
  option: string,
  text: string,
  { min, max }: { readonly min: number; readonly max: number },
): number {
  const number = /^[0-9]{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (number >= min && number <= max) return number;
  throw new VsockProxyError(
    'usage',
    `option '${option}' wants a number from ${min} to ${max}, not ${quoteBriefly(text)}`,
  );
}

/**
 * The value of `--enclave-cid`. 1 is this machine itself, for tests.
 * @throws VsockProxyError `usage`
 */
export function parseEnclaveCid(text: string): number {
  return parseNumberOption('--enclave-cid', text, { min: 1, max: CID_ANY - 1 });
}
