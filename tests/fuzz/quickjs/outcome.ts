/** What the parsers of the enclave's side say of an input: asked for under Node.js and under QuickJS alike. */
import { parseIpAddress } from '../../../src/access/address.ts';
import { answerQuery, type LookUp } from '../../../src/enclave/dns-message.ts';
import { parseRequest } from '../../../src/protocol/http-request.ts';
import { parseResponse } from '../../../src/protocol/http-response.ts';
import { parseClientHello } from '../../../src/protocol/tls-client-hello.ts';

const ADDRESSES = ['198.18.0.2', '2001:db8::1'].map(parseIpAddress).filter((ip) => ip !== undefined);

/** Of all names but those that begin with n. */
const lookUp: LookUp = (name, type) => {
  if (type === 'TXT') return { type, records: [['a', 'b\xff'], []] };
  if (type === 'SRV') return { type, records: [{ priority: 1, weight: 2, port: 443, name }] };
  return name.startsWith('n') ? undefined : ADDRESSES;
};

const PARSERS = {
  request: (bytes: Uint8Array) => parseRequest(bytes),
  response: (bytes: Uint8Array) => parseResponse(bytes, { method: 'GET', keepAlive: true, version: '1.1' }),
  'client-hello': (bytes: Uint8Array) => parseClientHello(bytes),
  'dns-udp': (bytes: Uint8Array) => answerQuery(Buffer.from(bytes), 'udp', lookUp),
  'dns-tcp': (bytes: Uint8Array) => answerQuery(Buffer.from(bytes), 'tcp', lookUp),
};

export type ParserName = keyof typeof PARSERS;

/** What is thrown is part of it, by its class. */
export function outcomeOf(parser: ParserName, bytes: Uint8Array): unknown {
  try {
    return PARSERS[parser](bytes);
  } catch (error) {
    return { thrown: error instanceof Error ? error.name : String(error) };
  }
}
