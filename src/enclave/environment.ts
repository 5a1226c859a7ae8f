/** The variables by which programs learn of an HTTP proxy, as Enclaver sets them. */
import type { Environment } from '../platform/environment.ts';

/**
 * This machine as programs call it, in forms that all of them read: some compare texts, with the brackets of a URL or without,
 * and know no ranges.
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
