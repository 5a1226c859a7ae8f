/** The variables by which programs learn of an HTTP proxy, as Enclaver sets them. */
import type { Environment } from '../platform/environment.ts';

/** @param direct names that are reached without the proxy, besides this machine itself */
export function withProxy(
  env: Environment,
  { ip, port }: { readonly ip: string; readonly port: number },
  direct: readonly string[],
): Environment {
  const url = `http://${ip}:${port}`;
  const none = ['localhost', '127.0.0.1', ...direct].join(',');
  return {
    ...env,
    http_proxy: url,
    https_proxy: url,
    HTTP_PROXY: url,
    HTTPS_PROXY: url,
    no_proxy: none,
    NO_PROXY: none,
  };
}
