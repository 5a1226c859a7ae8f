/** What another HTTP proxy has answered to CONNECT, as a decision about the client who waits for the tunnel. */
import { type FailureKind, reasonIn } from '../../protocol/http-reply.ts';
import { type FinalResponse, parseResponse } from '../../protocol/http-response.ts';
import type { Handled, LaterRequest } from './dispatcher.ts';

export interface TunnelClient {
  /** `host:port`. */
  readonly target: string;
  /** What it is told when the tunnel stands. */
  readonly established?: Uint8Array;
  /** What it is told when there is no usable answer; absent: nothing, it speaks another protocol than HTTP. */
  readonly fail?: (kind: FailureKind, reason: string) => Uint8Array;
}

const CONNECT = { method: 'CONNECT', keepAlive: false, version: '1.1' } as const;
const MORE: Handled = { decision: { action: 'more' } };

export function settleTunnel(
  { bytes, ended }: Extract<LaterRequest, { readonly kind: 'response' }>,
  client: TunnelClient,
): Handled {
  const response = parseResponse(bytes, CONNECT);
  switch (response.kind) {
    case 'more':
      return ended ? refuse('terminated', 'it ended the connection before it answered', client) : MORE;
    case 'malformed':
      return refuse('bad-response', response.problem, client);
    case 'interim':
    case 'switched':
      return refuse('bad-response', 'it answered CONNECT with an interim response', client);
    case 'final':
      return response.status < 300 ? relay(response, client) : passRefusal(response, bytes, ended, client);
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
): Handled {
  if (body.kind !== 'length') return refuse('bad-response', `it answered ${status} in an unknown form`, client);
  const whole = bytes.subarray(headBytes, headBytes + body.bytes);
  if (whole.length < body.bytes && !ended) return MORE;
  const reason = reasonIn(Buffer.from(whole).toString('utf8'));
  const told = client.fail === undefined ? {} : { toClient: Buffer.concat([head, whole]) };
  const subject = `${client.target}: ${status}`;
  return {
    decision: { action: 'reject', reason: reasonOf(status), ...told },
    refusal: { problem: `the proxy at the other end answered ${status} for ${client.target}: ${reason}`, subject },
  };
}

function reasonOf(status: number): 'denied' | 'connect-timeout' | 'connect-failed' {
  if (status === 403) return 'denied';
  return status === 504 ? 'connect-timeout' : 'connect-failed';
}

function refuse(kind: FailureKind, problem: string, { target, fail }: TunnelClient): Handled {
  const reason = `no tunnel to ${target} through the proxy at the other end: ${problem}`;
  const told = fail === undefined ? {} : { toClient: fail(kind, reason) };
  return {
    decision: { action: 'reject', reason: 'connect-failed', ...told },
    refusal: { problem: reason, subject: target },
  };
}
