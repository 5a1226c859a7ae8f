/** Host names as the URL standard has them. */
import { domainToASCII as toAscii } from 'node:url';

/** A host in ASCII: an IPv4 address, an IPv6 address in brackets, or a name in lower case (IDNA); empty where it is none. */
export const domainToASCII: (host: string) => string = toAscii;
