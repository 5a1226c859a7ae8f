/** Tunnels through another HTTP proxy: the request for one, and what is made of the answer for the client who waits. */
import { type FailureKind, reasonIn } from '../../protocol/http-reply.ts';
import { type FinalResponse, parseResponse } from '../../protocol/http-response.ts';
import { tunnelRequest } from '../../protocol/proxy-request.ts';
import type { Authorization } from './authorizer.ts';
import type { Handled, LaterRequest } from './dispatcher.ts';
import type { TargetIds } from './target-ids.ts';

/** The other proxy. */
export interface ProxyHop {
  /** In messages. */
  readonly name: string;
  /** Header lines for it alone, each with its CRLF. */
  readonly fields: string;
  /** It is a vsock-proxy, whose words are for our client, too. */
  readonly isOurs: boolean;
}

export const PARENT: ProxyHop = { name: 'the proxy at the other end', fields: '', isOurs: true };

export interface TunnelClient {
  /** `host:port`. */
  readonly target: string;
  /** What it is told when the tunnel stands. */
  readonly established?: Uint8Array;
  /** What it is told when there is no usable answer; absent: nothing, it speaks another protocol than HTTP. */
  readonly fail?: (kind: FailureKind, reason: string) => Uint8Array;
}

const CONNECT = { method: 'CONNECT', keepAlive: false, version: '1.1' } as const;
/** Most characters of a reason phrase in the log. */
const LONGEST_PHRASE = 200;
const MORE: Handled = { decision: { action: 'more' } };

type Allowed = Extract<Authorization, { readonly kind: 'allowed' }>;

/** The decision that asks the other proxy for a tunnel, but for what it consumes. */
export function tunnelTo({ text, addresses }: Allowed, targets: TargetIds, { fields }: ProxyHop) {
  const toServer = tunnelRequest(text, fields);
  return {
    action: 'connect',
    target: targets.idOf(text),
    addresses,
    toServer,
    explain: true,
    handshake: true,
  } as const;
}

/** What becomes of it for a client that speaks another protocol than HTTP. */
export function settleSilently(ask: LaterRequest, targets: TargetIds, hop: ProxyHop): Handled {
  if (ask.kind === 'failed') return { decision: { action: 'reject', reason: ask.reason } };
  return settleTunnel(ask, { target: targets.textOf(ask.target) ?? 'the server' }, hop);
}

export function settleTunnel(
  { bytes, ended }: Extract<LaterRequest, { readonly kind: 'response' }>,
  client: TunnelClient,
  hop: ProxyHop,
): Handled {
  const response = parseResponse(bytes, CONNECT);
  switch (response.kind) {
    case 'more':
      return ended ? refuse('terminated', 'it ended the connection before it answered', client, hop) : MORE;
    case 'malformed':
      return refuse('bad-response', response.problem, client, hop);
    case 'interim':
    case 'switched':
      return refuse('bad-response', 'it answered CONNECT with an interim response', client, hop);
    case 'final':
      if (response.status < 300) return relay(response, client);
      return hop.isOurs ? passRefusal(response, bytes, ended, client, hop) : explainRefusal(response, client, hop);
  }
}

function relay({ headBytes: consume }: FinalResponse, { established }: TunnelClient): Handled {
  const told = established === undefined ? {} : { toClient: established };
  return { decision: { action: 'relay', consume, ...told } };
}

/** The other proxy's words go on to the client, if it understands them, and into the log. */
function passRefusal(
  { status, headBytes, head, body }: FinalResponse,
  bytes: Uint8Array,
  ended: boolean,
  client: TunnelClient,
  hop: ProxyHop,
): Handled {
  if (body.kind !== 'length' || status === 407) {
    return refuse('bad-response', `it answered ${status} in an unknown form`, client, hop);
  }
  const whole = bytes.subarray(headBytes, headBytes + body.bytes);
  if (whole.length < body.bytes && !ended) return MORE;
  const reason = reasonIn(Buffer.from(whole).toString('utf8'));
  const told = client.fail === undefined ? {} : { toClient: Buffer.concat([head, whole]) };
  const subject = `${client.target}: ${status}`;
  return {
    decision: { action: 'reject', reason: reasonOf(status), ...told },
    refusal: { problem: `${hop.name} answered ${status} for ${client.target}: ${reason}`, subject },
  };
}

/** What others' proxies say of their network is for the log alone. */
function explainRefusal(
  { status, phrase }: FinalResponse,
  { target, fail }: TunnelClient,
  { name }: ProxyHop,
): Handled {
  const problem = `${name} answered ${status} for ${target}`;
  const told = fail === undefined ? {} : { toClient: fail(kindOf(status), problem) };
  return {
    decision: { action: 'reject', reason: reasonOf(status), ...told },
    refusal: {
      problem: phrase === '' ? problem : `${problem}: ${phrase.slice(0, LONGEST_PHRASE)}`,
      subject: `${target}: ${status}`,
      ...(status === 407 && { hint: 'see upstream_proxy_credentials: it wants a user and a password, or others' }),
    },
  };
}

function kindOf(status: number): FailureKind {
  if (status === 403) return 'denied';
  return status === 504 ? 'connect-timeout' : 'refused';
}

function reasonOf(status: number): 'denied' | 'connect-timeout' | 'connect-failed' {
  if (status === 403) return 'denied';
  return status === 504 ? 'connect-timeout' : 'connect-failed';
}

function refuse(kind: FailureKind, problem: string, { target, fail }: TunnelClient, { name }: ProxyHop): Handled {
  const reason = `no tunnel to ${target} through ${name}: ${problem}`;
  const told = fail === undefined ? {} : { toClient: fail(kind, reason) };
  return {
    decision: { action: 'reject', reason: 'connect-failed', ...told },
    refusal: { problem: reason, subject: target },
  };
}
