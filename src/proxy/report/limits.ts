/** The texts for limits that were reached, with the keys that raise them. */
import type { Fault, SocketAddress } from '../../dataplane/contract.ts';
import type { ReportedRoute } from './close-records.ts';
import { nameClient } from './format.ts';

/** The limit of connections of a listener. */
export function describeLimit({ place, limits }: ReportedRoute): { readonly limit: string; readonly hint: string } {
  return { limit: `Limit of ${limits.connections} simultaneous connections`, hint: `raise ${whatRaises(place)}` };
}

function whatRaises(place: string | undefined): string {
  return place === undefined ? '--num_workers or limits.connections' : keyFor('connections', place);
}

/**
 * The place where a limit can be set: the listener at this place of the file, if it has one, or else the whole file.
 */
function keyFor(key: string, place: string | undefined): string {
  return place === undefined ? `limits.${key} of the file` : `limits.${key} of the listener (${place}) or of the file`;
}

/** Why a client was refused when it was accepted. */
export function describeRefused(
  kind: Extract<Fault, { readonly client: SocketAddress }>['kind'],
  client: SocketAddress,
  { place, limits }: ReportedRoute,
): { readonly why: string; readonly hint: string } {
  const name = nameClient(client);
  switch (kind) {
    case 'not-admitted': {
      const key = client.family === 'tcp' ? 'sources' : 'cids';
      return {
        why: `${name} may not connect`,
        hint: `the listener's ${key} say who may${place === undefined ? '' : ` (${place})`}`,
      };
    }
    case 'client-limit':
      return {
        why: `${name} has ${limits.connectionsPerClient} connections open already`,
        hint: `the limit is ${keyFor('connections_per_client', place)}`,
      };
    case 'client-rate':
      return {
        why: `${name} opens more than ${limits.ratePerClient} connections per second`,
        hint: `the limit is ${keyFor('rate_per_client', place)}`,
      };
  }
}
