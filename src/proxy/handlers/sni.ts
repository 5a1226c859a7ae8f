/**
 * The handler of `route: sni`. Each client goes to the server in its TLS ClientHello, and its bytes are not changed.
 */
import type { TcpPort } from '../../access/address.ts';
import { describeMalformed } from '../../platform/malformed.ts';
import { ACCEPTED, isPostgres, parsePreface, SSL_REQUEST } from '../../protocol/postgres.ts';
import { ACCESS_DENIED, UNRECOGNIZED_NAME } from '../../protocol/tls-alert.ts';
import { essence, parseClientHello } from '../../protocol/tls-client-hello.ts';
import type { Authorization, Authorizer } from './authorizer.ts';
import { CACHE_MS, type FirstRequest, type Handled, type Handler, type LaterRequest } from './dispatcher.ts';
import { clientOf } from './fixed.ts';
import { type ProxyHop, settleSilently, tunnelTo } from './parent-tunnel.ts';
import { refuseUnauthorized } from './refusal.ts';
import type { TargetIds } from './target-ids.ts';

export interface SniHandlerOptions {
  readonly targets: TargetIds;
  readonly authorizer: Pick<Authorizer, 'find'>;
  readonly port: TcpPort;
  /** The protocol before the ClientHello, which servers also expect; absent: none. */
  readonly starttls?: 'postgres' | undefined;
  /** The proxy on the way to some or all servers. */
  readonly hop?: ProxyHop;
}

type HeadRequest = Extract<FirstRequest, { readonly kind: 'head' }>;

export function handleSni({ targets, authorizer, port, starttls, hop }: SniHandlerOptions): Handler {
  const decide = (authorization: Authorization, hello: Uint8Array, prefaceBytes: number): Handled => {
    if (authorization.kind !== 'allowed') {
      const alert = authorization.kind === 'denied' ? ACCESS_DENIED : UNRECOGNIZED_NAME;
      return refuseUnauthorized(authorization, targets, alert);
    }
    const { text, addresses } = authorization;
    const common = { action: 'connect', target: targets.idOf(text), addresses, consume: prefaceBytes } as const;
    const through = authorization.through && hop !== undefined ? tunnelTo(authorization, targets, hop) : undefined;
    if (prefaceBytes > 0) {
      if (through !== undefined) return cannotBeginTls(text);
      return { decision: { ...common, toServer: SSL_REQUEST, explain: true, handshake: true } };
    }
    const what = essence(hello);
    const cache = what === undefined ? {} : { cache: { ...what, forMs: CACHE_MS } };
    return { decision: { ...common, ...(through ?? { explain: false }), ...cache } };
  };

  const route = ({ bytes, ended, client }: HeadRequest, prefaceBytes: number): Handled | Promise<Handled> => {
    const shown = bytes.subarray(prefaceBytes);
    const hello = parseClientHello(shown);
    switch (hello.kind) {
      case 'more':
        return ended ? malformed(CUT_OFF) : { decision: { action: 'more', atLeast: prefaceBytes + hello.atLeast } };
      case 'malformed':
        return malformed(`it sent no usable ClientHello: ${describeMalformed(hello)}`);
      case 'no-name':
        return denied(hello.problem, UNRECOGNIZED_NAME);
      case 'name': {
        const authorization = authorizer.find(hello.name, port, clientOf(client));
        if (authorization instanceof Promise) return authorization.then((it) => decide(it, shown, prefaceBytes));
        return authorization.kind === 'malformed'
          ? denied(authorization.problem, ACCESS_DENIED)
          : decide(authorization, shown, prefaceBytes);
      }
    }
  };

  return {
    first(request) {
      if (request.kind !== 'head') throw new Error('a decision about a ClientHello needs its bytes');
      if (starttls === undefined) return isPostgres(request.bytes) ? malformed(POSTGRES) : route(request, 0);
      const preface = parsePreface(request.bytes);
      switch (preface.kind) {
        case 'tls':
          return route(request, preface.prefaceBytes);
        case 'malformed':
          return malformed(describeMalformed(preface));
        case 'more':
        case 'answer': {
          const { kind, ...more } = preface;
          return request.ended ? malformed(CUT_OFF) : { decision: { action: 'more', ...more } };
        }
      }
    },
    later(request) {
      if (request.kind === 'failed') return { decision: { action: 'reject', reason: request.reason } };
      // PostgreSQL answers with one byte, which is not an H.
      const isOfProxy = hop !== undefined && (starttls === undefined || request.bytes[0] === HTTP[0]);
      return isOfProxy
        ? settleSilently(request, targets, hop)
        : beginTls(request, targets.textOf(request.target) ?? 'the server');
    },
  };
}

const HTTP = Buffer.from('HTTP');
const CUT_OFF = 'it ended before its ClientHello was whole';
const POSTGRES =
  'it began with a request of PostgreSQL for encryption, before any TLS. Hint: set starttls: postgres for this listener, ' +
  'or sslnegotiation=direct for the client (PostgreSQL 17 and newer)';

/** That would take two exchanges with two servers before the tunnel. */
function cannotBeginTls(target: string): Handled {
  const problem = `${target} cannot be asked to begin TLS through the upstream proxy`;
  const hint = 'list it in no_proxy, or let the client begin with TLS (sslnegotiation=direct)';
  return { decision: { action: 'reject', reason: 'connect-failed' }, refusal: { problem, hint, subject: target } };
}

/**
 * The answer of a PostgreSQL server to SSLRequest. No unencrypted bytes may follow it, because anyone could have
 * inserted them.
 */
function beginTls({ bytes, ended }: Extract<LaterRequest, { readonly kind: 'response' }>, target: string): Handled {
  const [first] = bytes;
  if (first === ACCEPTED[0] && bytes.length === 1 && !ended) return { decision: { action: 'relay', consume: 1 } };
  const said = first === undefined ? 'ended' : bytes.length > 1 ? `said ${bytes.length} bytes` : `said byte ${first}`;
  const problem = `${target} does not begin TLS as PostgreSQL does: to SSLRequest it ${said}`;
  const hint = 'is ssl on in its postgresql.conf?';
  return { decision: { action: 'reject', reason: 'malformed' }, refusal: { problem, hint, subject: target } };
}

function malformed(problem: string): Handled {
  return { decision: { action: 'reject', reason: 'malformed' }, refusal: { problem, subject: problem } };
}

/** The requested name is missing, or could never be allowed. */
function denied(problem: string, toClient: Uint8Array): Handled {
  return { decision: { action: 'reject', reason: 'denied', toClient }, refusal: { problem, subject: problem } };
}
