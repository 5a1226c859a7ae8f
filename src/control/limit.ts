/** Limits that were reached, in words, and which keys raise them. */
import type { Fault, SocketAddress } from '../dataplane/contract.ts';
import { nameClient } from './address.ts';
import type { ReportedRoute } from './record.ts';

/** The place of a listener that no file has. */
export const COMMAND_LINE = 'command line';

/** Of the connections of a listener. */
export function describeLimit({ place, limits }: ReportedRoute): { readonly limit: string; readonly hint: string } {
  return {
    limit: `Limit of ${limits.connections} simultaneous connections`,
    hint: place === COMMAND_LINE ? 'raise --num_workers or limits.connections' : `raise limits.connections (${place})`,
  };
}

/** Why a client was refused as soon as it was accepted. */
export function describeRefused(
  kind: Extract<Fault, { readonly client: SocketAddress }>['kind'],
  client: SocketAddress,
  { place, limits }: ReportedRoute,
): { readonly why: string; readonly hint: string } {
  const name = nameClient(client);
  switch (kind) {
    case 'not-admitted': {
      const key = client.family === 'tcp' ? 'sources' : 'cids';
      return { why: `${name} may not connect`, hint: `the listener's ${key} say who may (${place})` };
    }
    case 'client-limit':
      return {
        why: `${name} has ${limits.connectionsPerClient} connections open already`,
        hint: `the limit is limits.connections_per_client (${place})`,
      };
    case 'client-rate':
      return {
        why: `${name} opens more than ${limits.ratePerClient} connections per second`,
        hint: `the limit is limits.rate_per_client (${place})`,
      };
  }
}
