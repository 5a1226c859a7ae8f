/**
 * HTTP/1 with one client, as far as pages need it: requests without a body, one after the other, and their answers.
 *
 * The server of Node.js takes a quarter of a megabyte more, and most of it serves requests that are refused here.
 * Clients are not trusted. The bytes of a request, and the time for it and for its answer, are bounded.
 */
import type { Connection } from '../platform/system/sockets.ts';
import { fieldValue, readFields, splitHead } from '../protocol/head.ts';

/** A well-formed GET or HEAD request without a body. */
export interface Request {
  readonly path: string;
  /** The header of that name; empty if it is absent. */
  readonly accept: string;
}

export interface Reply {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

export interface Answers {
  /** Never rejected. */
  readonly toRequest: (request: Request) => Promise<Reply>;
  /** The connection ends after it. */
  readonly toRefused: (status: RefusedStatus) => Reply;
  /** The client did not take an answer in time, and the connection is closed. */
  readonly onAbandoned: () => void;
}

const REASONS = {
  200: 'OK',
  400: 'Bad Request',
  404: 'Not Found',
  405: 'Method Not Allowed',
  413: 'Content Too Large',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
} as const;

export type RefusedStatus = 400 | 405 | 413 | 431;

/** From the connection, or from the last answer, to the end of a request. */
const REQUEST_MS = 5_000;
/** How long the answer may take, and then how long the client may take to read it. */
export const ANSWER_MS = 10_000;
const MOST_HEAD_BYTES = 8 * 1024;

/** Answers a client until it leaves, or until its time is over. The socket allows half-open connections. */
export function converse(socket: Connection, answers: Answers): void {
  let received: Buffer = Buffer.alloc(0);
  let answering = false;
  let ended = false;
  let leaving = false;
  let deadline: NodeJS.Timeout | undefined;
  const limitTime = (ms: number, late: () => void) => {
    clearTimeout(deadline);
    if (socket.destroyed) return;
    deadline = setTimeout(() => {
      late();
      socket.destroy();
    }, ms);
  };
  const say = async (text: string): Promise<void> => {
    limitTime(ANSWER_MS, answers.onAbandoned);
    await new Promise<void>((resolve) => socket.write(text, () => resolve()));
  };
  /** Ends our half; the client's own end closes the connection. */
  const leave = () => {
    if (socket.destroyed) return;
    leaving = true;
    received = Buffer.alloc(0);
    socket.end();
    socket.resume();
    limitTime(REQUEST_MS, () => undefined);
  };
  const proceed = async (): Promise<void> => {
    answering = true;
    while (!leaving && !socket.destroyed) {
      const lines = splitHead(received, 0, MOST_HEAD_BYTES);
      if (lines.kind === 'more' && received.length < MOST_HEAD_BYTES) break;
      const read = lines.kind === 'more' ? { status: 431 as const } : readRequest(lines.ended);
      if ('status' in read) {
        await say(write(answers.toRefused(read.status), { last: true, allow: read.status === 405 }));
        leave();
        break;
      }
      received = received.subarray(lines.kind === 'whole' ? lines.headBytes : 0);
      const { request, last, headOnly } = read;
      limitTime(ANSWER_MS, () => undefined); // to find the answer
      await say(write(await answers.toRequest(request), { last, headOnly }));
      if (last) leave();
      else limitTime(REQUEST_MS, () => undefined);
    }
    answering = false;
    if (leaving) return;
    if (ended) leave();
    else socket.resume();
  };
  limitTime(REQUEST_MS, () => undefined);
  socket.on('error', () => socket.destroy());
  socket.on('close', () => clearTimeout(deadline));
  socket.on('end', () => {
    ended = true;
    if (!answering && !leaving) leave();
  });
  socket.on('data', (chunk) => {
    if (leaving) return;
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
    if (answering) socket.pause();
    else void proceed();
  });
}

interface Asked {
  readonly request: Request;
  /** Whether the connection ends after the answer. */
  readonly last: boolean;
  readonly headOnly: boolean;
}

const REQUEST_LINE = /^([A-Z]+) ([!-~]+) HTTP\/1\.([01])$/;
/** Headers of a request with a body, or of one that asks whether it may send a body. */
const OF_BODIES = ['content-length', 'transfer-encoding', 'expect'];

function readRequest(lines: readonly string[]): Asked | { readonly status: RefusedStatus } {
  const [, method = '', target = '', minor] = REQUEST_LINE.exec(lines[0] ?? '') ?? [];
  const fields = readFields(lines);
  if (method === '' || 'kind' in fields) return { status: 400 };
  if (method !== 'GET' && method !== 'HEAD') return { status: 405 };
  if (fields.some(({ name }) => OF_BODIES.includes(name))) return { status: 413 };
  const path = readPath(target);
  if (path === undefined) return { status: 400 };
  const headerValue = (name: string) =>
    fields
      .filter((field) => field.name === name)
      .map(fieldValue)
      .join(',');
  const last = minor === '0' || headerValue('connection').toLowerCase() === 'close';
  return { request: { path, accept: headerValue('accept') }, last, headOnly: method === 'HEAD' };
}

/** The path without the query; also of a whole URL (RFC 9112 section 3.2.2). */
function readPath(target: string): string | undefined {
  const local = target.replace(/^http:\/\/[^/?#]+/i, '');
  const [path = ''] = local.split('?', 1);
  if (path === '') return '/';
  return path.startsWith('/') && !path.startsWith('//') ? path : undefined;
}

function write(
  { status, contentType, body }: Reply,
  {
    last,
    headOnly = false,
    allow = false,
  }: { readonly last: boolean; readonly headOnly?: boolean; readonly allow?: boolean },
): string {
  const reason = REASONS[status as keyof typeof REASONS] ?? '';
  const head = [
    `HTTP/1.1 ${status} ${reason}`,
    `Date: ${new Date().toUTCString()}`,
    `Content-Type: ${contentType}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...(allow ? ['Allow: GET, HEAD'] : []),
    ...(last ? ['Connection: close'] : []),
  ];
  return `${head.join('\r\n')}\r\n\r\n${headOnly ? '' : body}`;
}
