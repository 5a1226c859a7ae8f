/** Probes servers on an open connection: by a TLS handshake, or by CONNECT to an HTTP proxy. */
import type { Socket } from 'node:net';
import { connect as connectTls, type PeerCertificate } from 'node:tls';

export type TlsOutcome =
  | {
      readonly kind: 'done';
      readonly ms: number;
      /** `TLSv1.3`. */
      readonly protocol: string;
      /** The issuer of the certificate. */
      readonly issuer: string;
      /** Why the certificate is not trusted on this machine; absent: it is. */
      readonly distrust?: string;
    }
  | { readonly kind: 'failed'; readonly ms: number; readonly reason: string };

/** Only a handshake. The socket is then destroyed. No secret is sent, so a server with another name can do no harm. */
export function shakeHands(socket: Socket, serverName: string, timeoutMs: number): Promise<TlsOutcome> {
  const began = performance.now();
  const { promise, resolve } = Promise.withResolvers<TlsOutcome>();
  const end = (outcome: TlsOutcome) => {
    clearTimeout(timer);
    tls.destroy();
    socket.destroy();
    resolve(outcome);
  };
  const elapsed = () => Math.round(performance.now() - began);
  const fail = (reason: string) => end({ kind: 'failed', ms: elapsed(), reason });
  const timer = setTimeout(() => fail('no answer in time'), timeoutMs);
  const isName = !/^[\d.]+$|:/.test(serverName);
  const tls = connectTls({ socket, rejectUnauthorized: false, ...(isName && { servername: serverName }) }, () => {
    const distrust = tls.authorizationError;
    end({
      kind: 'done',
      ms: elapsed(),
      protocol: tls.getProtocol() ?? 'TLS',
      issuer: issuerOf(tls.getPeerCertificate()),
      ...(distrust && { distrust: String(distrust instanceof Error ? distrust.message : distrust) }),
    });
  });
  tls.on('error', (error: NodeJS.ErrnoException) => fail(error.code ?? error.message));
  tls.on('close', () => fail('it ended the connection'));
  return promise;
}

function issuerOf({ issuer }: PeerCertificate): string {
  const { O: organisation, CN: name } = (issuer ?? {}) as Readonly<
    Record<string, string | readonly string[] | undefined>
  >;
  return String(organisation ?? name ?? 'nobody');
}

const MOST_HEAD_BYTES = 16 * 1024;

/** The answer to CONNECT. The socket is then destroyed. */
export function askConnect(
  socket: Socket,
  target: string,
  timeoutMs: number,
): Promise<{ readonly status: number; readonly reason: string } | { readonly errno: string }> {
  const { promise, resolve } = Promise.withResolvers<Awaited<ReturnType<typeof askConnect>>>();
  const end = (outcome: Awaited<ReturnType<typeof askConnect>>) => {
    socket.destroy();
    resolve(outcome);
  };
  let text = '';
  socket.setTimeout(timeoutMs, () => end({ errno: 'ETIMEDOUT' }));
  socket.on('error', ({ code = 'EIO' }: NodeJS.ErrnoException) => end({ errno: code }));
  socket.on('close', () => end({ errno: 'ECONNRESET' }));
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
    const [, status, phrase = ''] = /^HTTP\/1\.[01] (\d{3}) ?([^\r\n]*)\r\n/.exec(text) ?? [];
    const bodyAt = text.indexOf('\r\n\r\n');
    if (status !== undefined && bodyAt >= 0) end({ status: Number(status), reason: phrase });
    else if (text.length > MOST_HEAD_BYTES) end({ errno: 'EPROTO' });
  });
  socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
  return promise;
}
