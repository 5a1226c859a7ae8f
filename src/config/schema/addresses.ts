/** Addresses to listen on and to connect to, as the file and the command line write them. */

import { parseHost, parseIpAddress, parseTcpPort, type TcpPort } from '../../access/address.ts';
import type { Target } from '../../access/rules.ts';
import type { SocketAddress } from '../../dataplane/contract.ts';
import { writeAddress } from '../../dataplane/format.ts';
import type { ActivatedSocket } from '../../plan.ts';
import { quoteBriefly } from '../../platform/escape.ts';
import { type Malformed, malformed } from '../../platform/malformed.ts';
import { CID_ANY, CID_LOCAL, CID_PARENT, PORT_ANY } from '../../platform/vsock.ts';

export type ListenAddress = SocketAddress | ActivatedSocket;

/** The server of a fixed listener. */
export type ConnectAddress =
  | { readonly kind: 'target'; readonly target: Target }
  /** A target with `${region}` or `${domain}` in its host. */
  | { readonly kind: 'template'; readonly host: string; readonly port: TcpPort }
  | { readonly kind: 'address'; readonly address: Exclude<SocketAddress, { readonly family: 'tcp' }> };

/** The values of `${region}` and `${domain}`. */
export interface TemplateValues {
  readonly region: string;
  /** The domain of the partition's services: `amazonaws.com`. */
  readonly domain: string;
}

/** Lower ports are not for services. A lower number is most likely a CID at the place of the port. */
const LOWEST_PORT = 4;
/** sizeof(sockaddr_un.sun_path) less the terminating NUL: unix(7). */
const LONGEST_PATH_BYTES = 107;
/** The names that systemd accepts for `FileDescriptorName=`: systemd.socket(5). */
const SOCKET_NAME = /^[!-9;-~]{1,255}$/;

const LISTEN_FORMS = 'write vsock:PORT, vsock:CID:PORT, tcp:IP:PORT, unix:PATH or systemd:NAME';
const CONNECT_FORMS = 'write HOST:PORT, vsock:CID:PORT or unix:PATH';
const TCP_FORMS = 'write tcp:127.0.0.1:8000 or tcp:[::1]:8000';

/**
 * The value of `listen`.
 * @param forms the hint for a text of no form
 */
export function parseListen(text: string, forms = LISTEN_FORMS): ListenAddress | Malformed {
  const [scheme, rest] = splitScheme(text);
  switch (scheme) {
    case 'vsock':
      return parseVsockListen(rest);
    case 'tcp':
      return parseTcp(rest);
    case 'unix':
      return parseAbsoluteUnix(rest);
    case 'systemd':
      return SOCKET_NAME.test(rest)
        ? { family: 'systemd', name: rest }
        : malformed(
            `${quoteBriefly(text)} has no name of a socket`,
            'write what FileDescriptorName= says in the .socket unit',
          );
    default:
      return malformed(`${quoteBriefly(text)} is not an address to listen on`, suggestListen(text, forms));
  }
}

/** A suggestion for an address without a scheme. */
function suggestListen(text: string, forms: string): string {
  if (/^\d{1,10}$/.test(text)) return `write vsock:${text}`;
  if (!('problem' in parseTcp(text))) return `write tcp:${text}`;
  return text.startsWith('/') ? `write ${quoteBriefly(`unix:${text}`)}` : forms;
}

/** The value of `connect`. */
export function parseConnect(text: string): ConnectAddress | Malformed {
  const [scheme, rest] = splitScheme(text);
  switch (scheme) {
    case 'vsock': {
      const address = parseVsockConnect(rest, text);
      return 'problem' in address ? address : { kind: 'address', address };
    }
    case 'unix': {
      const address = parseAbsoluteUnix(rest);
      return 'problem' in address ? address : { kind: 'address', address };
    }
    case 'tcp':
      return malformed(
        `${quoteBriefly(text)} is not an address to connect to`,
        'problem' in parseTcp(rest) ? CONNECT_FORMS : `write ${rest.startsWith('[') ? `"${rest}"` : rest}`,
      );
    case 'systemd':
      return malformed(`${quoteBriefly(text)} is not an address to connect to`, CONNECT_FORMS);
    default:
      return parseHostAndPort(text);
  }
}

/** Every `${…}`, with any text in it. */
const PLACEHOLDER = /\$\{([^}]*)\}/g;
/** Values for checking a template before the real ones are known. */
const SOME_VALUES: TemplateValues = { region: 'us-east-1', domain: 'amazonaws.com' };

/** The target of a template with these values filled in. */
export function fillTemplate(host: string, port: TcpPort, placement: TemplateValues): Target | Malformed {
  const values: Readonly<Record<string, string>> = { region: placement.region, domain: placement.domain };
  const filled = parseHost(host.replace(PLACEHOLDER, (placeholder, name) => values[name] ?? placeholder));
  return filled.kind === 'malformed' ? filled : { host: filled, port };
}

/** Parses a path without `unix:`. */
export function parseUnix(path: string): Extract<SocketAddress, { family: 'unix' }> | Malformed {
  const bytes = Buffer.byteLength(path);
  if (bytes === 0) return malformed('no path after unix:', 'write it like unix:/run/vsock-proxy/proxy.sock');
  if (bytes <= LONGEST_PATH_BYTES && !path.includes('\0')) return { family: 'unix', path };
  return path.includes('\0')
    ? malformed('the path after unix: contains a NUL', 'use another path')
    : malformed(`the path of ${bytes} bytes after unix: is longer than ${LONGEST_PATH_BYTES}`, 'use a shorter path');
}

/** Parses an address without `tcp:`. */
export function parseTcp(text: string): Extract<SocketAddress, { family: 'tcp' }> | Malformed {
  const shown = quoteBriefly(`tcp:${text}`);
  const { host, port: digits } = splitPort(text);
  const ip = host === undefined ? undefined : parseIpAddress(host);
  const port = parseTcpPort(digits);
  if (ip === undefined && parseIpAddress(text)?.family !== 4) return malformed(`${shown} has no IP address`, TCP_FORMS);
  if (ip === undefined || port === undefined) return malformed(`${shown} has no port from 1 to 65535`, TCP_FORMS);
  return { family: 'tcp', ip: ip.text, port };
}

/**
 * The problem with a vsock port to listen on; undefined if there is none.
 * @param text the port as it was written
 * @param low the hint for a port that is too low
 */
export function refuseVsockPort(port: number, text: string, low: string): Malformed | undefined {
  if (port === PORT_ANY) {
    return malformed(
      `${port} means any port to the kernel`,
      'choose a fixed port, which clients can know, such as 8000',
    );
  }
  const range = `${LOWEST_PORT}–${PORT_ANY - 1}`;
  if (port > PORT_ANY) return malformed(`${quoteBriefly(text)} is outside ${range}`, 'vsock ports are 32-bit');
  return port < LOWEST_PORT ? malformed(`${port} is outside ${range}`, low) : undefined;
}

/** The address as `listen` takes it. Each address has exactly one such form. */
export function formatListen(address: ListenAddress): string {
  return address.family === 'systemd' ? `systemd:${address.name}` : writeAddress(address);
}

/** The address, in the same form, that takes this one's port at every IP address or CID. */
export function wildcardOf(address: ListenAddress): string | undefined {
  if (address.family === 'vsock') return formatListen({ ...address, cid: CID_ANY });
  if (address.family !== 'tcp') return undefined;
  return formatListen({ ...address, ip: address.ip.includes(':') ? '::' : '0.0.0.0' });
}

function parseVsockListen(text: string): ListenAddress | Malformed {
  const [first = '', second, more] = text.split(':');
  const port = parseDecimal(second ?? first);
  const cid = second === undefined ? CID_PARENT : first === 'any' ? CID_ANY : parseCid(first);
  if (port === undefined || cid === undefined || more !== undefined) {
    return malformed(
      `${quoteBriefly(`vsock:${text}`)} is not a vsock address`,
      'write vsock:PORT or vsock:CID:PORT, where CID is a number, any or local',
    );
  }
  const low =
    second === undefined ? `a CID stands in front of the port: vsock:${port}:8000` : 'choose one such as 8000';
  return refuseVsockPort(port, `${port}`, low) ?? { family: 'vsock', cid, port };
}

function parseVsockConnect(text: string, whole: string): Extract<SocketAddress, { family: 'vsock' }> | Malformed {
  const [first = '', second = '', more] = text.split(':');
  const port = parseDecimal(second);
  const cid = parseCid(first);
  if (port === undefined || port === 0 || port >= PORT_ANY || cid === undefined || more !== undefined) {
    return malformed(
      `${quoteBriefly(whole)} is not a vsock address to connect to`,
      'write vsock:CID:PORT, where CID is that of the enclave, such as vsock:16:8000',
    );
  }
  return { family: 'vsock', cid, port };
}

function parseCid(text: string): number | undefined {
  if (text === 'local') return CID_LOCAL;
  const cid = parseDecimal(text);
  return cid !== undefined && cid < CID_ANY ? cid : undefined;
}

function parseDecimal(text: string): number | undefined {
  return /^\d{1,10}$/.test(text) ? Number(text) : undefined;
}

function parseAbsoluteUnix(path: string): Extract<SocketAddress, { family: 'unix' }> | Malformed {
  const address = parseUnix(path);
  if ('problem' in address || path.startsWith('/')) return address;
  return malformed(`the path ${quoteBriefly(path)} after unix: does not begin with /`, 'write the whole path');
}

function parseHostAndPort(text: string): ConnectAddress | Malformed {
  const shown = quoteBriefly(text);
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) {
    return malformed(`${shown} is a URL`, 'write HOST:PORT, such as kms.us-east-1.amazonaws.com:443');
  }
  const { host, port: digits } = splitPort(text);
  if (host === undefined) {
    const hint = parseIpAddress(text)?.family === 6 ? `write "[${text}]:443"` : CONNECT_FORMS;
    return malformed(`${shown} is not HOST:PORT`, hint);
  }
  const port = parseTcpPort(digits);
  if (port === undefined) {
    return malformed(
      `${shown} has no port from 1 to 65535`,
      'write HOST:PORT, such as kms.us-east-1.amazonaws.com:443',
    );
  }
  const unknown = [...host.matchAll(PLACEHOLDER)].find(([, name = '']) => !Object.hasOwn(SOME_VALUES, name));
  if (unknown !== undefined) {
    return malformed(`nothing is known of ${quoteBriefly(unknown[0])}`, 'the placeholders are ${region} and ${domain}');
  }
  const target = fillTemplate(host, port, SOME_VALUES);
  if ('problem' in target) return target;
  return host.includes('${') ? { kind: 'template', host, port } : { kind: 'target', target };
}

/** Splits `host:port` and `[ipv6]:port`; `host` is undefined if the text has neither form. */
function splitPort(text: string): { readonly host: string | undefined; readonly port: string } {
  const {
    ipv6,
    plain,
    port = '',
  } = /^(?:\[(?<ipv6>[^[\]]*:[^[\]]*)\]|(?<plain>[^:[\]]+)):(?<port>[^:]*)$/.exec(text)?.groups ?? {};
  return { host: ipv6 ?? plain, port };
}

function splitScheme(text: string): readonly [scheme: string, rest: string] {
  const colon = text.indexOf(':');
  return colon < 0 ? ['', text] : [text.slice(0, colon), text.slice(colon + 1)];
}
