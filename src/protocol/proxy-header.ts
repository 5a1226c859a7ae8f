/**
 * The header of the PROXY protocol, version 2, which gives a server the address of the client
 * (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, section 2.2).
 */
import { isIPv4, isIPv6 } from '../platform/system/ip.ts';

export interface IpEndpoint {
  /** Canonical text; a zone is removed. */
  readonly ip: string;
  readonly port: number;
}

const SIGNATURE = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
const VERSION_2_PROXY = 0x21;
const UNSPECIFIED = 0x00;
const TCP_OVER_IPV4 = 0x11;
const TCP_OVER_IPV6 = 0x21;

/**
 * The header for a connection from `client` to `local`, the address where it was accepted. Undefined is an endpoint
 * without an IP address (vsock, unix).
 *
 * Both addresses have one family in the header: IPv4 if both have an IPv4 address in any spelling, otherwise IPv6, with
 * an IPv4 address mapped. Without two IP addresses the family is unspecified, as the specification requires for
 * connections of other protocols. The command is always PROXY. LOCAL would say that the proxy itself is the client,
 * which a server may trust more.
 */
export function proxyHeader(client: IpEndpoint | undefined, local: IpEndpoint | undefined): Buffer {
  const source = client && addressBytes(client.ip);
  const target = local && addressBytes(local.ip);
  if (source === undefined || target === undefined) return header(UNSPECIFIED, []);
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(client?.port ?? 0, 0);
  ports.writeUInt16BE(local?.port ?? 0, 2);
  return isMapped(source) && isMapped(target)
    ? header(TCP_OVER_IPV4, [source.subarray(12), target.subarray(12), ports])
    : header(TCP_OVER_IPV6, [source, target, ports]);
}

function header(family: number, parts: readonly Buffer[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return Buffer.concat([Buffer.from([...SIGNATURE, VERSION_2_PROXY, family, length >> 8, length & 0xff]), ...parts]);
}

/** The 16 bytes of an IPv6 address, or of an IPv4-mapped one; undefined for other texts. */
function addressBytes(text: string): Buffer | undefined {
  const [ip = ''] = text.split('%', 1);
  if (isIPv4(ip)) return Buffer.from([...MAPPED, ...ip.split('.').map(Number)]);
  if (!isIPv6(ip)) return undefined;
  const [head = [], tail] = ip.split('::').map(groupBytes);
  const zeros = new Array<number>(16 - head.length - (tail?.length ?? 0)).fill(0);
  return Buffer.from([...head, ...zeros, ...(tail ?? [])]);
}

const MAPPED = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

function isMapped(address: Buffer): boolean {
  return MAPPED.every((byte, index) => address[index] === byte);
}

/** The bytes of one side of `::`. */
function groupBytes(text: string): number[] {
  return text.split(':').flatMap((group) => {
    if (group.includes('.')) return group.split('.').map(Number);
    const bits = Number.parseInt(group, 16);
    return group === '' ? [] : [bits >> 8, bits & 0xff];
  });
}
