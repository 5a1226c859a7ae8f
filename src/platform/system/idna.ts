/** Host names by the URL standard. */
import { domainToASCII as toAscii } from 'node:url';

/**
 * A host in ASCII: an IPv4 address, an IPv6 address in brackets, or a name in lower case (IDNA); empty if it is not a
 * host.
 */
export const domainToASCII: (host: string) => string = toAscii;
