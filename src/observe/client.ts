/** Sends requests to the control socket of a running proxy. */
import { statSync } from 'node:fs';
import { request } from 'node:http';
import { VsockProxyError } from '../platform/errors.ts';
import { escapeControls, quoteBriefly } from '../platform/escape.ts';

const DEADLINE_MS = 5_000;
/** The answer about 100,000 connections has about 30 MB. */
const MOST_BYTES = 64 * 1024 * 1024;

export interface ControlAnswer {
  readonly status: number;
  readonly body: string;
}

/**
 * @param socketPath of the control socket
 * @throws VsockProxyError `control`, which says how far the request got
 */
export function askControl(socketPath: string, path: string, accept = 'application/json'): Promise<ControlAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<ControlAnswer>();
  const signal = AbortSignal.timeout(DEADLINE_MS);
  const lose = (error: NodeJS.ErrnoException) => reject(explain(socketPath, error, signal.aborted));
  // A connection of its own: one that was kept may have ended.
  const outgoing = request({ socketPath, path, signal, agent: false, headers: { accept } }, (response) => {
    const chunks: Buffer[] = [];
    let length = 0;
    response.on('error', lose);
    response.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      length += chunk.length;
      if (length > MOST_BYTES) response.destroy(new Error(`the answer has more than ${MOST_BYTES} bytes`));
    });
    response.on('end', () =>
      resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') }),
    );
  });
  outgoing.on('error', lose);
  outgoing.end();
  return promise;
}

/** The answer as JSON. @throws VsockProxyError `control` */
export async function askJson<Value>(socketPath: string, path: string): Promise<Value> {
  const { status, body } = await askControl(socketPath, path);
  if (status !== 200)
    throw new VsockProxyError('control', `${path} is answered with status ${status}: ${quoteBriefly(body)}`);
  return JSON.parse(body) as Value;
}

function explain(socketPath: string, error: NodeJS.ErrnoException, timedOut: boolean): VsockProxyError {
  const where = escapeControls(socketPath);
  const fail = (problem: string, hint: string) =>
    new VsockProxyError('control', `${where}: ${problem}`, {
      hint,
      ...(error.code && { errno: error.code }),
      cause: error,
    });
  if (timedOut)
    return fail(`no answer within ${DEADLINE_MS / 1000} s`, 'the process hangs, or its machine is overloaded');
  switch (error.code) {
    case 'ENOENT':
      return fail(
        'there is no control socket: no proxy runs, or it has another one',
        'give its path: --control PATH, or VSOCK_PROXY_CONTROL',
      );
    case 'ECONNREFUSED':
      if (!isSocket(socketPath)) return fail('is not a socket', 'give the path of the control socket: --control PATH');
      return fail('nobody listens: the proxy has ended', 'systemctl status nitro-enclaves-vsock-proxy');
    case 'EACCES':
      return fail('this user may not use it', 'run it by sudo');
    default:
      return fail(`${error.code ?? error.message}`, 'is it the control socket of vsock-proxy?');
  }
}

/** Whether the path leads to a socket, also if that has ended in the meantime. */
function isSocket(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isSocket() ?? true;
}
