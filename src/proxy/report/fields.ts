/** Events of the data plane as fields of log records. */
import type { SocketAddress } from '../../dataplane/contract.ts';
import { writeAddress } from '../../dataplane/format.ts';
import type { LogFields } from '../../platform/log.ts';
import type { Ending, ReportedRoute } from './close-records.ts';
import { formatServer } from './format.ts';

export function clientFields(client: SocketAddress, { on }: Pick<ReportedRoute, 'on'>): LogFields {
  const listener = writeAddress(on);
  if (client.family === 'unix' && client.path === '') return { listener }; // a unix client has no name of its own
  return { listener, client: writeAddress(client), ...(client.family === 'vsock' && { cid: client.cid }) };
}

export function recordFields({ record, target }: Ending, route: Pick<ReportedRoute, 'on'>): LogFields {
  const { client, server, reason, errno, connection, bytesUp, bytesDown, totalMs } = record;
  return {
    ...clientFields(client, route),
    target,
    ...(server && { server: formatServer(server) }),
    reason,
    ...(errno !== undefined && { errno }),
    connection,
    bytes_up: bytesUp,
    bytes_down: bytesDown,
    duration_ms: Math.round(totalMs),
  };
}
