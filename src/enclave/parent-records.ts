/** DNS records that the parent looks up, by requests through the tunnel to its proxy. */
import type { Hostname } from '../access/address.ts';
import type { SocketAddress } from '../dataplane/contract.ts';
import { MAX_REPLY_BYTES, parseRecordReply, type RecordReply, recordPath } from '../dns/record-exchange.ts';
import type { RecordSet, RecordType } from '../dns/records.ts';
import type { ListenerPlan } from '../plan.ts';
import type { Clock } from '../platform/clock.ts';
import type { Log } from '../platform/log.ts';
import type { SystemError } from '../platform/system/errors.ts';
import { connect } from '../platform/system/sockets.ts';
import { parseResponse } from '../protocol/http-response.ts';

/** `failed`: the answer is unknown now. Undefined: there is no such name. */
export type FoundRecords = RecordSet | 'failed' | undefined;

/** Most programs wait five seconds for an answer, and then send the query again. */
const DEADLINE_MS = 4500;
/** The most queries at the same time. Further ones fail at once. */
const MAX_QUERIES = 64;

/** The listener through which this process, which has no vsock, reaches the proxy of the parent. */
export function relayToParent(parent: SocketAddress): ListenerPlan {
  return {
    place: 'egress',
    on: { family: 'tcp', ip: '127.0.0.1', port: 0 },
    route: { kind: 'address', address: parent, proxyHeader: false },
    policy: { allow: [], deny: [] },
    family: 'any',
    limits: { connections: MAX_QUERIES, connectionsPerClient: 0, ratePerClient: 0 },
    timeouts: { connectMs: DEADLINE_MS, idleMs: 2 * DEADLINE_MS, headMs: DEADLINE_MS, reuseMs: 0 },
  };
}

export class ParentRecords {
  readonly #log: Log;
  readonly #clock: Clock;
  #relay: SocketAddress | undefined;
  #running = 0;
  /** The last query has failed, and this was logged. */
  #told = false;

  constructor(log: Log, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
  }

  /** From now on queries go to the parent. @param relay where {@link relayToParent} listens */
  start(relay: SocketAddress | undefined): void {
    this.#relay = relay;
  }

  /** A promise is never rejected. */
  async lookUp(name: Hostname, type: RecordType): Promise<FoundRecords> {
    const relay = this.#relay;
    if (relay?.family !== 'tcp' || this.#running >= MAX_QUERIES) return 'failed';
    this.#running += 1;
    try {
      return this.#read(await this.#request(relay, name, type), `${type} records of ${name}`);
    } finally {
      this.#running -= 1;
    }
  }

  #read(reply: RecordReply, what: string): FoundRecords {
    if ('records' in reply || ('code' in reply && reply.code === 'ENOTFOUND')) {
      this.#told = false;
      return 'records' in reply ? reply : undefined;
    }
    const why = 'denied' in reply ? `it does not allow them: ${reply.denied}` : reply.code;
    if (!this.#told) {
      this.#told = true;
      const hint =
        'its file may differ from this one, its vsock-proxy be older, or its DNS servers fail; further ones are not told';
      this.#log.warn(`The parent has no answer about ${what}: ${why}. Hint: ${hint}`);
    }
    return 'failed';
  }

  async #request(
    { ip, port }: { readonly ip: string; readonly port: number },
    name: Hostname,
    type: RecordType,
  ): Promise<RecordReply> {
    const { promise, resolve } = Promise.withResolvers<RecordReply>();
    const stream = connect({ host: ip, port });
    const request = `GET ${recordPath({ name, type })} HTTP/1.1\r\nHost: parent\r\nConnection: close\r\n\r\n`;
    let bytes: Buffer = Buffer.alloc(0);
    const end = (reply: RecordReply | undefined): void => {
      if (reply === undefined) return;
      resolve(reply);
      stream.destroy();
    };
    stream.on('connect', () => stream.write(request));
    stream.on('data', (chunk) => {
      bytes = Buffer.concat([bytes, chunk]);
      end(readReply(type, bytes, false));
    });
    stream.on('end', () => end(readReply(type, bytes, true)));
    stream.on('error', (error: SystemError) => end({ code: error.code ?? error.message }));
    stream.on('close', () => resolve({ code: 'ECONNRESET' }));
    const cancel = this.#clock.setTimer(DEADLINE_MS, () => end({ code: 'ETIMEDOUT' }));
    return await promise.finally(cancel);
  }
}

const ASKED = { method: 'GET', version: '1.1', keepAlive: false } as const;

/** @returns undefined if the response is incomplete */
function readReply(type: RecordType, bytes: Buffer, ended: boolean): RecordReply | undefined {
  const response = parseResponse(bytes, ASKED);
  if (response.kind === 'malformed') return { code: response.problem };
  if (response.kind !== 'final') return ended ? CUT_OFF : tooLong(bytes.length);
  const { status, headBytes, body } = response;
  const length = body.kind === 'length' ? body.bytes : bytes.length - headBytes;
  if (length > MAX_REPLY_BYTES) return { code: 'EMSGSIZE' };
  const rest = bytes.subarray(headBytes, headBytes + length);
  if (body.kind === 'length' ? rest.length < length : !ended) return ended ? CUT_OFF : undefined;
  return parseRecordReply(type, status, rest.toString('utf8'));
}

const CUT_OFF = { code: 'ECONNRESET' };

function tooLong(bytes: number): RecordReply | undefined {
  return bytes > MAX_REPLY_BYTES ? { code: 'EMSGSIZE' } : undefined;
}
