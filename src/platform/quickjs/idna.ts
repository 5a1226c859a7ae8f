/**
 * Host names by the URL standard, without the tables of IDNA. A name with letters beyond ASCII is refused as malformed.
 * It must be written in its DNS form, `xn--…`.
 */
import type * as Contract from '../system/idna.ts';
import { formatIpv6, parseIpv6 } from './ipv6.ts';

const NAME = /^[\w.-]+$/;
const NUMBER = /^(?:0x[\da-f]*|\d+)$/i;

export const domainToASCII: typeof Contract.domainToASCII = (written) => {
  if (written.startsWith('[')) {
    const groups = written.endsWith(']') ? parseIpv6(written.slice(1, -1)) : undefined;
    return groups === undefined ? '' : `[${formatIpv6(groups)}]`;
  }
  if (!NAME.test(written)) return '';
  const name = written.toLowerCase();
  const labels = name.replace(/\.$/, '').split('.');
  return NUMBER.test(labels.at(-1) ?? '') ? ipv4(labels) : name;
};

/** The IPv4 number parser of the standard: up to four numbers, in any base; the last one fills the remaining bytes. */
function ipv4(parts: readonly string[]): string {
  const numbers = parts.map(toNumber);
  const last = numbers.pop();
  if (last === undefined || parts.length > 4 || numbers.some((number) => !(number <= 0xff))) return '';
  if (!(last < 256 ** (5 - parts.length))) return '';
  const word = numbers.reduce((sum, number, at) => sum + number * 256 ** (3 - at), last);
  return [24, 16, 8, 0].map((shift) => Math.floor(word / 2 ** shift) % 256).join('.');
}

/** NaN if the text is not a number. */
function toNumber(text: string): number {
  if (/^0x[\da-f]*$/.test(text)) return text === '0x' ? 0 : Number(text);
  if (/^0[0-7]+$/.test(text)) return Number.parseInt(text, 8);
  return /^(?:0|[1-9]\d*)$/.test(text) ? Number(text) : Number.NaN;
}
