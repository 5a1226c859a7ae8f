import type { IpChecks } from '../system/ip.ts';
import { parseIpv6 } from './ipv6.ts';

export const isIPv4: IpChecks['isIPv4'] = (text) => {
  const parts = text.split('.');
  return parts.length === 4 && parts.every((part) => /^(?:0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256);
};

export const isIPv6: IpChecks['isIPv6'] = (text) => {
  const [, ip = ''] = /^([^%]*)(?:%[\w.:-]+)?$/.exec(text) ?? [];
  return parseIpv6(ip) !== undefined;
};

export const isIP: IpChecks['isIP'] = (text) => (isIPv4(text) ? 4 : isIPv6(text) ? 6 : 0);
