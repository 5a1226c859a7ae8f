/** The ports for enclaves, and the servers behind them, of the service or of the file alone. */
import { parseHost, parseTcpPort } from '../../access/address.ts';
import type { Target } from '../../access/rules.ts';
import { isReachedDirectly } from '../../access/upstream-proxy.ts';
import type { LoadedFile } from '../../config/load.ts';
import { partialListeners } from '../../config/partial-plan.ts';
import { parseUnsigned } from '../line/number.ts';

export interface Purpose {
  /** The drop-in form has one port and one server; `serve` has those of the file. */
  readonly form: 'proxy' | 'serve';
  /** vsock ports. */
  readonly ports: readonly number[];
  readonly targets: readonly Target[];
}

/**
 * @param words the command line of the running process; empty if none runs
 * @param file absent if the file is not valid
 * @param fallback the server of the service if it does not run
 * @param hasService whether there is a unit for the service
 */
export function readPurpose(
  words: readonly string[],
  file: LoadedFile | undefined,
  fallback: Target | undefined,
  hasService: boolean,
): Purpose {
  const [, port = '', host = '', remotePort = ''] = words;
  const local = parseUnsigned(port);
  if (local !== undefined) {
    const parsed = parseHost(host);
    const tcpPort = parseTcpPort(remotePort);
    const targets = parsed.kind === 'malformed' || tcpPort === undefined ? [] : [{ host: parsed, port: tcpPort }];
    return { form: 'proxy', ports: [local], targets };
  }
  if (file?.settings.listeners !== undefined || words[1] === 'serve') {
    const partials = file === undefined ? [] : partialListeners(file);
    return {
      form: 'serve',
      ports: partials.flatMap(({ on }) => (on.family === 'vsock' ? [on.port] : [])),
      // Servers behind an upstream proxy cannot be tried from here.
      targets: partials.flatMap(({ route, upstreamProxy: proxy }) =>
        route.kind === 'target' && (proxy === undefined || isReachedDirectly(proxy, route.target))
          ? [route.target]
          : [],
      ),
    };
  }
  return {
    form: 'proxy',
    // The service takes this port, whatever its server.
    ports: fallback === undefined && !hasService ? [] : [DEFAULT_PORT],
    targets: fallback === undefined ? [] : [fallback],
  };
}

const DEFAULT_PORT = 8000;
