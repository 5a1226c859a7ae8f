/** What the service, or the file alone, is there for: ports that enclaves connect to, and servers behind them. */
import { parseHost, parseTcpPort } from '../../access/address.ts';
import type { Target } from '../../access/rules.ts';
import { isReachedDirectly } from '../../access/upstream-proxy.ts';
import type { LoadedFile } from '../../config/load.ts';
import { partialListeners } from '../../config/partial-plan.ts';
import { parseUnsigned } from '../line/number.ts';

export interface Purpose {
  /** The form of the AWS proxy has one port and one server; `serve` those of the file. */
  readonly form: 'proxy' | 'serve';
  /** vsock ports. */
  readonly ports: readonly number[];
  readonly targets: readonly Target[];
}

/**
 * @param words the command line of the process that runs; none where none does
 * @param file absent where it is not valid
 * @param fallback the server of the service when it does not run
 * @param hasService whether there is a unit of it
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
      // What is behind an upstream proxy cannot be tried from here.
      targets: partials.flatMap(({ route, upstreamProxy: proxy }) =>
        route.kind === 'target' && (proxy === undefined || isReachedDirectly(proxy, route.target))
          ? [route.target]
          : [],
      ),
    };
  }
  return {
    form: 'proxy',
    // The service takes it, whatever its server will be.
    ports: fallback === undefined && !hasService ? [] : [DEFAULT_PORT],
    targets: fallback === undefined ? [] : [fallback],
  };
}

const DEFAULT_PORT = 8000;
