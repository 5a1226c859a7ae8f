/** Requests the metrics of an enclave, over vsock. */
import { request } from 'node:http';
import type { Path } from '../dataplane/path.ts';
import { VsockProxyError } from '../platform/errors.ts';

const DEADLINE_MS = 2_000;
/** Enough for about 20,000 samples. */
const MOST_BYTES = 2 * 1024 * 1024;

/** @throws VsockProxyError `control` */
export async function fetchMetrics(
  path: Path,
  { cid, port }: { readonly cid: number; readonly port: number },
): Promise<string> {
  const fail = (problem: string) => new VsockProxyError('control', `vsock:${cid}:${port}: ${problem}`);
  const dialled = await path.dial({ family: 'vsock', cid, port }, DEADLINE_MS);
  if (dialled.kind === 'failed') throw fail(dialled.errno);
  const { socket } = dialled;
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const signal = AbortSignal.timeout(DEADLINE_MS);
  const options = {
    createConnection: () => socket,
    path: '/metrics',
    signal,
    headers: { accept: 'text/plain', connection: 'close' },
  };
  const outgoing = request(options, (response) => {
    const chunks: Buffer[] = [];
    let length = 0;
    response.on('error', reject);
    response.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      length += chunk.length;
      if (length > MOST_BYTES) response.destroy(fail(`more than ${MOST_BYTES} bytes`));
    });
    response.on('end', () => {
      if (response.statusCode === 200) resolve(Buffer.concat(chunks).toString('utf8'));
      else reject(fail(`status ${response.statusCode}`));
    });
  });
  outgoing.on('error', reject);
  outgoing.end();
  try {
    return await promise;
  } finally {
    socket.destroy();
  }
}
