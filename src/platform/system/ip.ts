/** Recognises IP addresses as node:net does. An IPv6 address may have a zone (`fe80::1%eth0`). */
import * as net from 'node:net';

export interface IpChecks {
  /** 4, 6, or 0 for neither. */
  isIP(text: string): number;
  isIPv4(text: string): boolean;
  isIPv6(text: string): boolean;
}

export const { isIP, isIPv4, isIPv6 }: IpChecks = net;
