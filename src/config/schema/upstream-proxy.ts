/** The keys of the upstream proxy: the HTTP proxy through which the parent itself reaches servers. */
import { parseHost, parseTcpPort, type TargetHost, type TcpPort } from '../../access/address.ts';
import { parseRuleAddress } from '../../access/rules.ts';
import { quoteBriefly } from '../../platform/escape.ts';
import { type Malformed, malformed } from '../../platform/malformed.ts';
import { list, optional, text, type Wrong } from './builder.ts';
import type { WrittenAddress } from './rule.ts';

const FORM = 'write http://HOST:PORT';

export const upstreamProxyKeys = {
  upstream_proxy: optional(
    text(
      'the URL of an HTTP proxy',
      {
        description:
          'An HTTP proxy through which all TCP servers are reached: by `CONNECT`, and for plain requests of `route: http` by the absolute URI. The policy decides first; that proxy resolves the names',
        type: '`http://HOST:PORT`',
        hint: FORM,
        absent: 'servers are reached directly',
      },
      parseUrl,
    ),
  ),
  upstream_proxy_credentials: optional(
    text(
      'the path of a file',
      {
        description:
          'A file with one line, `user:password`, for that proxy, of mode 0400 or 0440: others must not be able to read it, nor the group to write it. It is read again at every reload',
        type: 'absolute path',
        hint: 'write the absolute path of a file',
        absent: 'no credentials',
      },
      (path): string | Malformed =>
        path.startsWith('/') && !path.includes('\0')
          ? path
          : malformed(`${quoteBriefly(path)} is not an absolute path`, 'write the absolute path of a file'),
    ),
  ),
  no_proxy: optional(
    list(
      {
        description:
          'Servers that are reached without that proxy. This machine always is: `localhost`, loopback and link-local addresses',
        hint: 'write a list of names, patterns, IP addresses and ranges',
        absent: 'none',
      },
      text(
        'a host name, an IP address or a range',
        {
          description:
            'A host name, a pattern, an IP address or a range; `.example.com` matches every name below it. Ranges match requested addresses, not the addresses of names',
          type: 'name, pattern, IP address or range',
          hint: 'write a host name, a pattern such as *.example.com, an IP address or a range',
        },
        parseException,
      ),
    ),
  ),
};

function parseUrl(written: string): { readonly host: TargetHost; readonly port: TcpPort } | Malformed {
  const [, scheme = '', authority = ''] = /^([a-z]+):\/\/([^/?#]*)\/?$/i.exec(written) ?? [];
  if (authority.includes('@')) {
    return malformed('user and password do not stand in the URL', 'put them into a file: upstream_proxy_credentials');
  }
  const shown = quoteBriefly(written);
  if (scheme.toLowerCase() !== 'http') return malformed(`${shown} is not the URL of an HTTP proxy`, FORM);
  const [, ipv6, name = '', digits = ''] = /^(?:\[([\da-f:.]+)\]|([^:[\]]+)):(\d+)$/i.exec(authority) ?? [];
  const port = parseTcpPort(digits);
  if (port === undefined) return malformed(`${shown} has no valid port`, FORM);
  const host = parseHost(ipv6 ?? name);
  return 'problem' in host ? host : { host, port };
}

function parseException(written: string): WrittenAddress | Wrong {
  const means = parseRuleAddress(written.startsWith('.') ? `**${written}` : written);
  return 'problem' in means ? means : { text: written, means };
}
