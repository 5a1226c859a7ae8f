/** The variables that name an HTTP proxy to programs, as Enclaver sets them. */
import type { Environment } from '../platform/environment.ts';

/**
 * The names and addresses of this machine, in forms that all programs understand. Some programs compare texts, with or
 * without the brackets of a URL, and do not understand ranges.
 */
const THIS_MACHINE = ['localhost', '127.0.0.1', '127.0.0.2', '0.0.0.0', '::1', '[::1]'];

/** @param direct further names and addresses that are reached without the proxy */
export function withProxy(
  env: Environment,
  { ip, port }: { readonly ip: string; readonly port: number },
  direct: readonly string[],
): Environment {
  const url = `http://${ip}:${port}`;
  const forms = direct.flatMap((host) => (host.includes(':') ? [host, `[${host}]`] : [host]));
  const none = [...new Set([...THIS_MACHINE, ...forms])].join(',');
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
