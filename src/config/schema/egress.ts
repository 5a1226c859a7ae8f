/** The sections `egress` and `ingress`, as Enclaver documents them. */
import type { SocketAddress } from '../../dataplane/contract.ts';
import { CID_PARENT } from '../../platform/vsock.ts';
import { defaulted, list, map, NOT_USED, optional, scalar, type Wrong, wholeNumber } from './builder.ts';
import { notUsed } from './enclaver.ts';
import { hostname } from './forward.ts';
import { tcpPort } from './port.ts';
import { ruleAddress } from './rule.ts';

export const EGRESS_PORT = 10_000;
/** The port of the DNS server inside the enclave, at 127.0.0.1. */
export const DNS_PORT = 53;
/** Each port takes a listener in the enclave. */
const MOST_PORTS = 64;
/** libc reads no more domains: resolv.conf(5). */
const MOST_DOMAINS = 6;

/** The address of the proxy of `egress` on the parent. */
export function egressAddress(port: number): SocketAddress {
  return { family: 'vsock', cid: CID_PARENT, port };
}

/** The address of the proxy of `egress` inside the enclave. */
export function proxyAddress(port: number): Extract<SocketAddress, { family: 'tcp' }> {
  return { family: 'tcp', ip: '127.0.0.1', port };
}

/** The address of an entry of `ingress`. */
export function ingressAddress(port: number): SocketAddress {
  return { family: 'tcp', ip: '0.0.0.0', port };
}

export const egress = map(
  {
    description: 'What enclaves may reach through an HTTP proxy, as in a manifest of Enclaver',
    hint: 'it looks like this: egress: {allow: ["*.amazonaws.com"]}',
    absent: 'no proxy',
  },
  {
    allow: optional(
      list(
        {
          description: 'The targets that are allowed, on any port; without an entry there is no proxy',
          absent: 'nothing',
        },
        ruleAddress({ description: 'A host name, a pattern of names, an IP address or a range' }),
      ),
    ),
    deny: optional(
      list(
        { description: 'The targets that are denied, on any port', absent: 'nothing' },
        ruleAddress({ description: 'A host name, a pattern of names, an IP address or a range' }),
      ),
    ),
    proxy_port: defaulted(
      wholeNumber({ description: 'The vsock port of the proxy, at CID 3' }, { min: 4, max: 65535 }),
      EGRESS_PORT,
    ),
    transparent_ports: optional(
      list(
        {
          description:
            'For `vsock-proxy enclave`: TCP ports on which applications reach the names of `allow` without a proxy setting, by a DNS server in the enclave. `[]`: none, and no DNS server',
          hint: 'write the ports of servers: [443, 5432]',
          absent: '80 and 443, but for those that `ingress` and `forward` take',
        },
        tcpPort({ description: 'A port of servers' }),
        { most: { count: MOST_PORTS, problem: `more than ${MOST_PORTS} ports` } },
      ),
    ),
    search: optional(
      list(
        {
          description:
            'For `vsock-proxy enclave`: the domains that resolvers append to short names (`search` of /etc/resolv.conf). They replace those of the image, because with a pattern such as `**.mycorp.com` every name would match with the domain appended',
          hint: 'write domains: [mycorp.com]',
          absent: 'nothing',
        },
        hostname('mycorp.com'),
        { most: { count: MOST_DOMAINS, problem: `more than ${MOST_DOMAINS} domains` } },
      ),
    ),
  },
);

const TLS = 'TLS is never decrypted here: it passes untouched to the enclave, which ends it';

export const ingress = list(
  {
    description:
      'TCP ports of this instance that lead to the same vsock port of the enclave, as in a manifest of Enclaver',
    hint: 'it looks like this: ingress: [{listen_port: 8443}]',
    absent: 'none',
  },
  map(
    { description: 'One port', hint: 'it looks like this: - {listen_port: 8443}' },
    {
      listen_port: tcpPort({ description: 'The port for clients, at `0.0.0.0`' }),
      enclave_port: optional(
        tcpPort({
          description: 'For `vsock-proxy enclave`: the port at 127.0.0.1 on which the application listens',
          absent: '`listen_port`',
        }),
      ),
      healthcheck: notUsed('How often it checks that the application answers'),
      tls: optional(
        scalar(
          {
            description: 'Refused: TLS passes through to the enclave',
            type: NOT_USED,
            absent: 'absent',
            json: { not: {} },
          },
          (): Wrong => ({ problem: TLS, hint: 'leave it out, and give certificate and key to the application' }),
        ),
      ),
    },
  ),
);
