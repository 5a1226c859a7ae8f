/** Whether a text is an IP address, as node:net has it. A zone (`fe80::1%eth0`) may stand behind one of IPv6. */
import * as net from 'node:net';

export interface IpChecks {
  /** 4, 6, or 0 for neither. */
  isIP(text: string): number;
  isIPv4(text: string): boolean;
  isIPv6(text: string): boolean;
}

export const { isIP, isIPv4, isIPv6 }: IpChecks = net;
