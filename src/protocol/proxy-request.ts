/** Requests to another HTTP proxy, for a request that has been parsed. */
import type { ForwardRequest } from './http-request.ts';

/**
 * The request for a tunnel to this target, `host:port`.
 * @param fields lines for the proxy itself, each with its CRLF
 */
export function tunnelRequest(target: string, fields = ''): Buffer {
  return Buffer.from(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${fields}\r\n`, 'latin1');
}

/**
 * The head for the server in the form for a proxy: absolute form, so that its first line has the server; `fields` as
 * above.
 */
export function absoluteHead({ method, head }: ForwardRequest, fields = ''): Buffer {
  const text = `${head.toString('latin1').slice(0, -2)}${fields}\r\n`;
  const origin = text.slice(method.length + 1, text.indexOf(' ', method.length + 1));
  const [, authority = ''] = /\r\nHost: ([^\r]*)\r\n/.exec(text) ?? [];
  const path = origin === '*' ? '' : origin;
  return Buffer.from(`${method} http://${authority}${path}${text.slice(method.length + 1 + origin.length)}`, 'latin1');
}
