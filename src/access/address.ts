/** Names, IP addresses and ports in the form that the policy compares: parsed once, and canonical from then on. */
import { VsockProxyError } from '../platform/errors.ts';
import { quoteBriefly } from '../platform/escape.ts';
import { type Malformed, malformed } from '../platform/malformed.ts';
import { domainToASCII } from '../platform/system/idna.ts';

/** 1–65535. */
export type TcpPort = number & { readonly __brand: 'TcpPort' };
/** A normalised name: ASCII (IDNA), lower case, no trailing dot; never an IP address. */
export type Hostname = string & { readonly __brand: 'Hostname' };
/** Canonical text (RFC 5952) without zone; an IPv4-mapped IPv6 address is its IPv4 address. */
export interface IpAddress {
  readonly text: string;
  readonly family: 4 | 6;
  /** 32 bits each, in network order: one word for IPv4, four for IPv6. */
  readonly words: readonly number[];
  readonly __brand: 'IpAddress';
}

export type TargetHost =
  | { readonly kind: 'name'; readonly name: Hostname }
  | { readonly kind: 'ip'; readonly ip: IpAddress };

/** The characters of one label. DNS allows the underscore, which service names have; RFC 1123 does not. */
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?$/;
/** The URL standard reads a name whose last label is a number as an IPv4 address, and so do resolvers. */
const ENDS_IN_NUMBER = /(?:^|\.)(?:\d+|0x[\da-f]*)\.?$/i;
/** Matches a normalised name without checking its length and IDNA's own labels, `xn--…`. Nearly every name matches. */
const CANONICAL = /^(?:[a-z\d_](?:[a-z\d_-]{0,61}[a-z\d_])?\.)*[a-z_](?:[a-z\d_-]{0,61}[a-z\d_])?$/;
const MAX_LABEL = 63;
const MAX_NAME = 253;
/** The limit before IDNA, which may shorten a text. IDNA is slow for texts as long as the network may send. */
const MAX_TEXT = 2 * MAX_NAME;

/** A decimal whole number from 1 to 65535; otherwise undefined. */
export function parseTcpPort(text: string): TcpPort | undefined {
  return /^\d+$/.test(text) ? toTcpPort(Number(text)) : undefined;
}

export function toTcpPort(value: number): TcpPort | undefined {
  return Number.isInteger(value) && value >= 1 && value <= 65535 ? (value as TcpPort) : undefined;
}

/** An IP address literal without brackets or zone; otherwise undefined. */
export function parseIpAddress(text: string): IpAddress | undefined {
  // The URL standard changes every spelling with four decimal parts except the canonical one.
  if (/^\d+(?:\.\d+){3}$/.test(text)) return domainToASCII(text) === text ? ipv4(text) : undefined;
  const canonical = /^[\da-f:.]+$/i.test(text) ? domainToASCII(`[${text}]`).slice(1, -1) : '';
  if (canonical === '') return undefined;
  const words = ipv6Words(canonical);
  const [first, second, third, last] = words;
  if (first === 0 && second === 0 && third === 0xffff && last !== undefined) return ipv4FromWord(last);
  return brand({ text: canonical, family: 6, words });
}

/** The address of these 32 bits. */
export function ipv4FromWord(word: number): IpAddress {
  return ipv4([24, 16, 8, 0].map((shift) => (word >>> shift) & 0xff).join('.'));
}

function ipv4(text: string): IpAddress {
  const words = [text.split('.').reduce((word, part) => word * 256 + Number(part), 0)];
  return brand({ text, family: 4, words });
}

function brand(address: Omit<IpAddress, '__brand'>): IpAddress {
  return address as IpAddress;
}

function ipv6Words(canonical: string): number[] {
  const [head = [], tail = []] = canonical.split('::').map((half) => (half === '' ? [] : half.split(':')));
  const groups = [...head, ...Array<string>(8 - head.length - tail.length).fill('0'), ...tail];
  return [0, 2, 4, 6].map((at) => Number.parseInt(`${groups[at]}${groups[at + 1]?.padStart(4, '0')}`, 16));
}

/** A normalised host name, or the problem with the text. Not for IP addresses. */
export function parseHostname(text: string): Hostname | Malformed {
  return normaliseName(text, quoteBriefly(text));
}

/** The same for a text that messages show as `shown`. */
export function normaliseName(text: string, shown: string): Hostname | Malformed {
  if (text.length > MAX_TEXT) return tooLong(shown, text.length);
  if (ENDS_IN_NUMBER.test(text)) return numericSpelling(text, shown);
  // The URL standard's algorithm decodes %41 and drops tabs, so texts with such characters are refused before.
  const stray = /[^\w.\-\u0080-\u{10ffff}]/u.exec(text)?.[0];
  if (stray !== undefined) return malformed(`${shown} contains ${quoteBriefly(stray)}`, LETTERS);
  const ascii = domainToASCII(text).replace(/\.$/, '');
  if (ascii === '') return malformed(`${shown} is not a host name`, NOT_ASCII.test(text) ? IN_ASCII : LETTERS);
  if (ENDS_IN_NUMBER.test(ascii)) return numericSpelling(text, shown);
  if (ascii.length > MAX_NAME) return tooLong(shown, ascii.length);
  for (const label of ascii.split('.')) {
    if (label === '') return malformed(`${shown} has an empty label`, 'a label stands between every two dots');
    if (label.length > MAX_LABEL) {
      return malformed(`${shown} has a label of ${label.length} characters`, `a label has at most ${MAX_LABEL}`);
    }
    if (!LABEL.test(label)) return malformed(`${shown} has the label ${quoteBriefly(label)}`, LETTERS);
  }
  return ascii as Hostname;
}

/** Whether the text is certainly a normalised name. Other texts may be one, too. */
function isCanonical(text: string): text is Hostname {
  return text.length <= MAX_NAME && CANONICAL.test(text) && !text.includes('xn--');
}

/** A host name or an IP address, or the problem with the text. */
export function parseHost(text: string): TargetHost | Malformed {
  if (isCanonical(text)) return { kind: 'name', name: text };
  const ip = parseIpAddress(text);
  if (ip !== undefined) return { kind: 'ip', ip };
  const name = notEvenNearlyHost(text) ?? parseHostname(text);
  return typeof name === 'string' ? { kind: 'name', name } : name;
}

/**
 * The host of a target from the command line.
 * @throws VsockProxyError `argument`: `Remote address is not valid: …`
 */
export function parseTargetHost(text: string): TargetHost {
  const host = /^\d{1,5}$/.test(text)
    ? malformed(
        `${quoteBriefly(text)} looks like a CID`,
        'the word order is <local_port> <remote_addr> <remote_port>, where <remote_addr> is a host name or an IP address; no CID is given',
      )
    : parseHost(text);
  if (host.kind !== 'malformed') return host;
  throw new VsockProxyError('argument', `Remote address is not valid: ${host.problem}`, { hint: host.hint });
}

/** RFC 6761 section 6.3 reserves `localhost` and the names under it for loopback addresses. */
export function isLocalhost(name: Hostname): boolean {
  return name === 'localhost' || name.endsWith('.localhost');
}

export function formatHost(host: TargetHost): string {
  return host.kind === 'name' ? host.name : host.ip.text;
}

const NOT_ASCII = /[\u0080-\u{10ffff}]/u;
/** vsock-enclave does not know IDNA. */
const IN_ASCII = 'write it in ASCII, with xn--… for each label that has other letters';
const LETTERS = 'a host name consists of letters, digits, hyphens (not at either end) and dots';

/** Mistakes that deserve a better message than "this character does not belong here". */
function notEvenNearlyHost(text: string): Malformed | undefined {
  const shown = quoteBriefly(text);
  if (text === '') return malformed('it is empty', 'write a host name or an IP address');
  if (/\s/.test(text)) return malformed(`${shown} contains white space`, 'write the host name or IP address alone');
  const url = /^[a-z][a-z0-9+.-]*:\/\/(?:[^/?#]*@)?(?:\[([^\]]*)|([^/?#:]*))/i.exec(text);
  if (url !== null) {
    const host = url[1] ?? url[2] ?? '';
    return malformed(`${shown} is a URL`, `write the host only${host === '' ? '' : `: ${quoteBriefly(host)}`}`);
  }
  if (/^\[.*\]/.test(text)) return malformed(`${shown} has brackets`, 'write an IPv6 address without brackets');
  if (parseIpAddress(text.replace(/%[^%]+$/, '')) !== undefined) {
    return malformed(`${shown} has a zone`, 'link-local addresses cannot be used, write another address of the server');
  }
  const [, host, port] = /^([^:]+):(\d{1,5})$/.exec(text) ?? [];
  if (host !== undefined) return malformed(`${shown} includes a port`, `write ${quoteBriefly(host)} and ${port} apart`);
  if (text.includes(':')) return malformed(`${shown} is not an IPv6 address`, 'write it like 2001:db8::1');
  if (text.includes('/')) return malformed(`${shown} contains "/"`, 'write one host name or IP address');
  if (text.includes('*')) return malformed(`${shown} is a pattern`, 'write one host name or IP address');
  return undefined;
}

function tooLong(shown: string, length: number): Malformed {
  return malformed(`${shown} is ${length} characters long`, `a name has at most ${MAX_NAME}`);
}

function numericSpelling(text: string, shown: string): Malformed {
  const meant = domainToASCII(text);
  return parseIpAddress(meant) === undefined
    ? malformed(`${shown} ends in a number, but is not an IP address`, 'an IPv4 address has four parts from 0 to 255')
    : malformed(`${shown} is another spelling of ${meant}`, `write ${meant} if that is what you mean`);
}
