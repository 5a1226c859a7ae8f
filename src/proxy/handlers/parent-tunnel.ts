/** Tunnels through another HTTP proxy: the request for a tunnel, and the reply to the waiting client. */
import { type FailureKind, reasonIn } from '../../protocol/http-reply.ts';
import { type FinalResponse, parseResponse } from '../../protocol/http-response.ts';
import { tunnelRequest } from '../../protocol/proxy-request.ts';
import type { Authorization } from './authorizer.ts';
import type { Handled, LaterRequest } from './dispatcher.ts';
import type { TargetIds } from './target-ids.ts';

/** The other proxy. */
export interface ProxyHop {
  /** Its name in messages. */
  readonly name: string;
  /** Header lines for it only, each with its CRLF. */
  readonly fields: string;
  /** Whether it is a vsock-proxy, whose texts may go to our client. */
  readonly isOurs: boolean;
}

export const PARENT: ProxyHop = { name: 'the proxy at the other end', fields: '', isOurs: true };

export interface TunnelClient {
  /** `host:port`. */
  readonly target: string;
  /** The bytes for the client when the tunnel is established. */
  readonly established?: Uint8Array;
  /** The bytes for the client when there is no valid answer; absent: none, because its protocol is not HTTP. */
  readonly fail?: (kind: FailureKind, reason: string) => Uint8Array;
}

const CONNECT = { method: 'CONNECT', keepAlive: false, version: '1.1' } as const;
/** The most characters of a reason phrase in the log. */
const LONGEST_PHRASE = 200;
const MORE: Handled = { decision: { action: 'more' } };
const NOTHING = new Uint8Array();

type Allowed = Extract<Authorization, { readonly kind: 'allowed' }>;

/** The decision that requests a tunnel from the other proxy, without its `consume`. */
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

/** The decision for a client whose protocol is not HTTP. */
export function settleSilently(request: LaterRequest, targets: TargetIds, hop: ProxyHop): Handled {
  if (request.kind === 'failed') return { decision: { action: 'reject', reason: request.reason } };
  return settleTunnel(request, { target: targets.textOf(request.target) ?? 'the server' }, hop);
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
    case 'interim': // RFC 9110, section 15.2: any number of them may come, and none is for our client
      return { decision: { action: 'interim', consume: response.headBytes, toClient: NOTHING } };
    case 'switched':
      return refuse('bad-response', 'it answered CONNECT with a switch of protocols (101)', client, hop);
    case 'final':
      if (response.status < 300) return relay(response, client);
      return hop.isOurs ? passRefusal(response, bytes, ended, client, hop) : explainRefusal(response, client, hop);
  }
}

function relay({ headBytes: consume }: FinalResponse, { established }: TunnelClient): Handled {
  const told = established === undefined ? {} : { toClient: established };
  return { decision: { action: 'relay', consume, ...told } };
}

/** The text of the other proxy goes to the client, if it understands HTTP, and to the log. */
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

/** A foreign proxy's text about its network goes to the log only. */
function explainRefusal({ status, phrase }: FinalResponse, { target, fail }: TunnelClient, hop: ProxyHop): Handled {
  const problem = `${hop.name} answered ${status} for ${target}`;
  const told = fail === undefined ? {} : { toClient: fail(kindOf(status), problem) };
  return {
    decision: { action: 'reject', reason: reasonOf(status), ...told },
    refusal: {
      problem: phrase === '' ? problem : `${problem}: ${phrase.slice(0, LONGEST_PHRASE)}`,
      subject: `${target}: ${status}`,
      ...(status === 407 && { hint: credentialsHint(hop) }),
    },
  };
}

/** For an answer of 407. */
export function credentialsHint({ name }: ProxyHop): string {
  return `see upstream_proxy_credentials: ${name} wants a user and a password, or others`;
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
