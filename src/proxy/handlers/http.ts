/**
 * The handler of `route: http`. CONNECT makes a tunnel. A request in absolute form is one exchange with its server.
 *
 * A refusal says which target failed and how. It says nothing about the parent's network: no address, no DNS server, no
 * file.
 */
import { UNUSED_FAMILY } from '../../access/authorize.ts';
import type { AuthorityRule } from '../../dataplane/contract.ts';
import { describeMalformed } from '../../platform/malformed.ts';
import { CONNECT_ESTABLISHED, FAILURES, type FailureKind, reply } from '../../protocol/http-reply.ts';
import {
  type ConnectRequest,
  type ForwardRequest,
  type MalformedRequest,
  parseRequest,
} from '../../protocol/http-request.ts';
import { type Asked, parseResponse, WANTS_CREDENTIALS } from '../../protocol/http-response.ts';
import { absoluteHead } from '../../protocol/proxy-request.ts';
import type { Authorization, Authorizer } from './authorizer.ts';
import { CACHE_MS, type Handled, type Handler, type LaterRequest } from './dispatcher.ts';
import { clientOf } from './fixed.ts';
import { HttpFigures } from './http-figures.ts';
import { credentialsHint, PARENT, type ProxyHop, settleTunnel, tunnelTo } from './parent-tunnel.ts';
import { refuseUnauthorized } from './refusal.ts';
import type { TargetIds } from './target-ids.ts';

export interface HttpHandlerOptions {
  readonly targets: TargetIds;
  readonly authorizer: Pick<Authorizer, 'find'>;
  /** The proxy on the way to some or all servers. */
  readonly hop?: ProxyHop;
  /** Servers are kept for the next request of the same client. */
  readonly reuse?: boolean;
}

type Request = ConnectRequest | ForwardRequest;
type Allowed = Extract<Authorization, { readonly kind: 'allowed' }>;

export function handleHttp({ targets, authorizer, hop, reuse = false }: HttpHandlerOptions): Handler {
  const decide = (request: Request, authorization: Authorization): Handled => {
    if (authorization.kind !== 'allowed') return refuse(request, authorization, targets);
    return authorization.through && hop !== undefined
      ? decideThrough(request, authorization, targets, hop)
      : decideHere(request, authorization, targets);
  };
  const nameOf = (target: number) => targets.textOf(target) ?? 'the server';
  const figures = new HttpFigures();
  const count = (handled: Handled) => figures.countResponse(handled);
  const handler: Handler = {
    first(decisionRequest) {
      if (decisionRequest.kind !== 'head') throw new Error('a decision about a request needs its bytes');
      const request = parseRequest(decisionRequest.bytes, { reuse });
      if (request.kind === 'more') return decisionRequest.ended ? refuseRequest(CUT_OFF) : MORE;
      if (request.kind === 'malformed') return refuseRequest(request);
      figures.countRequest(forwardRequestOf(request)?.method ?? 'CONNECT');
      const authorization = authorizer.find(request.host, request.port, clientOf(decisionRequest.client));
      if (authorization instanceof Promise) return authorization.then((settled) => decide(request, settled));
      if (authorization.kind !== 'malformed') return decide(request, authorization);
      return refuseRequest({ status: 400, problem: describeMalformed(authorization) });
    },
    later(decisionRequest, remembered) {
      const request = decisionRequest.head === undefined ? remembered : recall(decisionRequest.head, reuse);
      if (decisionRequest.kind === 'failed')
        return explainFailure(decisionRequest, nameOf(decisionRequest.target), request);
      if (request === undefined) {
        const client = { target: nameOf(decisionRequest.target), established: CONNECT_ESTABLISHED, fail };
        return settleTunnel(decisionRequest, client, hop ?? PARENT);
      }
      return passResponse(decisionRequest, nameOf(decisionRequest.target), request, hop);
    },
  };
  return {
    http: (counters) => figures.read(counters),
    first(decisionRequest) {
      const handled = handler.first(decisionRequest);
      return handled instanceof Promise ? handled.then(count) : count(handled);
    },
    later: (decisionRequest, request) => count(handler.later(decisionRequest, request)),
  };
}

/** The head for a server that is not a proxy. */
const ORIGIN_FORM: AuthorityRule['form'] = { absolute: false, fields: '' };

/** An incomplete head can become complete only with a line feed. */
const MORE: Handled = { decision: { action: 'more', until: 0x0a } };
const CUT_OFF = { status: 400, problem: 'the request ended before its head was whole' } as const;

function refuseRequest({ status, problem }: Pick<MalformedRequest, 'status' | 'problem'>): Handled {
  const toClient = reply(status, { reason: problem, proxyStatus: FAILURES['bad-request'].proxyStatus });
  return {
    decision: { action: 'reject', reason: 'malformed', toClient },
    refusal: { problem: `it was answered ${status}: ${problem}`, subject: problem },
  };
}

/** The request of an exchange that the data plane has decided by its cache. */
function recall(head: Uint8Array, reuse: boolean): Asked | undefined {
  const request = parseRequest(head, { reuse });
  return request.kind === 'forward' ? request : undefined;
}

function decideHere(request: Request, authorization: Allowed, targets: TargetIds): Handled {
  if (request.kind === 'forward') return forward(request, authorization, targets, request.head, ORIGIN_FORM);
  const { text, addresses } = authorization;
  const common = { target: targets.idOf(text), addresses, ...consumeHead(request) };
  return { decision: { action: 'connect', ...common, toClient: CONNECT_ESTABLISHED, explain: true } };
}

function decideThrough(request: Request, authorization: Allowed, targets: TargetIds, hop: ProxyHop): Handled {
  if (request.kind === 'forward') {
    const form = { absolute: true, fields: hop.fields };
    return forward(request, authorization, targets, absoluteHead(request, hop.fields), form);
  }
  return { decision: { ...tunnelTo(authorization, targets, hop), ...consumeHead(request) } };
}

/** Every client with a request for a tunnel to the same server gets one. */
function consumeHead({ headBytes }: ConnectRequest) {
  return { consume: headBytes, cache: { form: ORIGIN_FORM, forMs: CACHE_MS } } as const;
}

function refuse(request: Request, authorization: Exclude<Authorization, Allowed>, targets: TargetIds): Handled {
  return refuseUnauthorized(authorization, targets, fail(...explain(authorization), forwardRequestOf(request)));
}

/** A request and its response; after an answer of 101, a WebSocket. */
function forward(
  request: ForwardRequest,
  { text, addresses }: Allowed,
  targets: TargetIds,
  toServer: Buffer,
  form: AuthorityRule['form'],
): Handled {
  const { headBytes: consume, body, method, keepAlive, persistent, version, webSocket } = request;
  const common = { target: targets.idOf(text), addresses, consume, toServer } as const;
  return {
    decision: webSocket
      ? { action: 'connect', ...common, explain: true, handshake: true }
      : { action: 'exchange', ...common, body, persistent, ...(persistent && { cache: { form, forMs: CACHE_MS } }) },
    request: { method, keepAlive, version, webSocket, form: request.form },
  };
}

function explain(authorization: Exclude<Authorization, { readonly kind: 'allowed' }>): [FailureKind, string] {
  const { text } = authorization;
  if (authorization.kind === 'denied') {
    return authorization.denial.of === 'target'
      ? ['denied', `${text} is not allowed by the policy of this proxy`]
      : ['address-denied', `the addresses of ${text} are not allowed by the policy of this proxy`];
  }
  const { errno = '' } = authorization.error;
  switch (errno) {
    case 'ETIMEOUT':
      return ['dns-timeout', `the name of ${text} could not be resolved in time`];
    case 'EBUSY':
      return ['limit', `the name of ${text} could not be resolved: too many others are being resolved`];
    case 'EMFILE':
    case 'ENFILE':
      return ['limit', `the name of ${text} could not be resolved: too many files are open (${errno})`];
    case UNUSED_FAMILY:
      return ['unroutable', `${text} is of an address family that is not used here`];
    default:
      return ['dns-failed', `the name of ${text} could not be resolved (${errno})`];
  }
}

function explainFailure(
  { reason, errno = '' }: Extract<LaterRequest, { readonly kind: 'failed' }>,
  target: string,
  request: Asked | undefined,
): Handled {
  const toClient = fail(failureOf(reason, errno), `could not connect to ${target}: ${errno || reason}`, request);
  return { decision: { action: 'reject', reason, toClient } };
}

function failureOf(reason: string, errno: string): FailureKind {
  if (reason === 'connect-timeout' || errno === 'ETIMEDOUT') return 'connect-timeout';
  switch (errno) {
    case 'ECONNREFUSED':
    case 'ECONNRESET':
      return 'refused';
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'EACCES':
    case 'EPERM':
    case 'EAFNOSUPPORT':
      return 'unroutable';
    // The proxy lacks a resource, perhaps only for a moment.
    case 'EMFILE':
    case 'ENFILE':
    case 'ENOMEM':
    case 'ENOBUFS':
    case 'EADDRNOTAVAIL':
    case 'EAGAIN':
      return 'limit';
    default:
      return reason === 'internal' ? 'internal' : 'refused';
  }
}

function passResponse(
  { bytes, ended }: Extract<LaterRequest, { readonly kind: 'response' }>,
  target: string,
  request: Asked,
  hop: ProxyHop | undefined,
): Handled {
  const response = parseResponse(bytes, request);
  switch (response.kind) {
    case 'more': {
      if (!ended) return { ...MORE, request };
      const how = bytes.length === 0 ? 'before it answered' : 'in the head of its response';
      return refuseResponse('terminated', `${target} ended the connection ${how}`, request);
    }
    case 'malformed': {
      const hint = response === WANTS_CREDENTIALS && hop !== undefined ? credentialsHint(hop) : undefined;
      return refuseResponse('bad-response', `${target}: ${response.problem}`, request, hint);
    }
    case 'interim':
      return { decision: { action: 'interim', consume: response.headBytes, toClient: response.head }, request };
    case 'switched':
      return { decision: { action: 'relay', consume: response.headBytes, toClient: response.head } };
    case 'final': {
      const { headBytes: consume, head: toClient, body, keepAlive: next, serverStays: keep } = response;
      return { decision: { action: 'respond', consume, toClient, body, next, keep } };
    }
  }
}

function refuseResponse(kind: FailureKind, problem: string, request: Asked, hint?: string): Handled {
  return {
    decision: { action: 'reject', reason: 'malformed', toClient: fail(kind, problem, request) },
    refusal: { problem: `no usable response: ${problem}`, subject: problem, ...(hint !== undefined && { hint }) },
  };
}

/** The reply to the client; without `request`, to one that has sent CONNECT. */
function fail(kind: FailureKind, reason: string, request?: Pick<Asked, 'method' | 'form'>): Buffer {
  const { status, proxyStatus } = FAILURES[kind];
  const { method, form = 'json' } = request ?? {};
  return reply(status, { reason, proxyStatus, form, ...(method === undefined ? {} : { method }) });
}

function forwardRequestOf(request: Request): ForwardRequest | undefined {
  return request.kind === 'forward' ? request : undefined;
}
