/**
 * Reads a token, the region and the domain from the instance metadata service (IMDS) of EC2.
 * https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
 *
 * No answer is trusted. An answer must be short, in time, and of the expected form, because it ends up in a file and on
 * a command line. Redirects are not followed, and proxy settings of the environment are ignored.
 */
import { Agent, request } from 'node:http';
import { getSystemErrorMessage } from 'node:util';
import { type ErrorDetails, VsockProxyError } from '../platform/errors.ts';
import { quoteBriefly } from '../platform/escape.ts';
import { type Placement, parseDomain, parseRegion } from './partitions.ts';

/** The address of a metadata service. */
export interface ServiceAddress {
  readonly ip: string;
  readonly port: number;
}

/** The same service for both families. An instance without IPv4 reaches only the second one. */
export const SERVICE_ADDRESSES: readonly ServiceAddress[] = [
  { ip: '169.254.169.254', port: 80 },
  { ip: 'fd00:ec2::254', port: 80 },
];

export interface Conversation {
  /** 2: with a token. 1: without one, for services that have no tokens. */
  readonly version: 1 | 2;
  /** Aborts the requests. */
  readonly signal: AbortSignal;
}

const TOKEN_PATH = '/latest/api/token';
const REGION_PATH = '/latest/meta-data/placement/region';
const DOMAIN_PATH = '/latest/meta-data/services/domain';

/** The token is used at once and never again. */
const TOKEN_SECONDS = 60;
/** Tokens have 56 characters, and all other answers are shorter. */
const MAX_BYTES = 1024;
const TOKEN = /^[\x21-\x7e]+$/;

/**
 * Requests the placement of the instance from the service at this address.
 * @throws VsockProxyError `metadata`; it has an `errno` if the service could not be reached, and none if the answer is
 * useless
 */
export async function requestPlacement(address: ServiceAddress, { version, signal }: Conversation): Promise<Placement> {
  const fail = (problem: string, hint: string) => failure(address, problem, { hint });

  const fetchToken = async (): Promise<string> => {
    const { status, body } = await exchange(address, signal, 'PUT', TOKEN_PATH, {
      'x-aws-ec2-metadata-token-ttl-seconds': `${TOKEN_SECONDS}`,
    });
    if (status === 404 || status === 405) throw fail(`no tokens are given out (status ${status})`, HINTS.version1);
    if (status !== 200) throw fail(describe(status, TOKEN_PATH), hintFor(status));
    if (!TOKEN.test(body)) throw fail(`the token ${quoteBriefly(body)} is none`, HINTS.answer);
    return body;
  };

  let token = version === 2 ? await fetchToken() : undefined;
  let isRenewed = false;
  const fetchValue = async (path: string): Promise<string> => {
    const headers = token === undefined ? {} : { 'x-aws-ec2-metadata-token': token };
    const { status, body } = await exchange(address, signal, 'GET', path, headers);
    if (status === 200) return body.trim();
    if (status !== 401) throw fail(describe(status, path), hintFor(status));
    if (version === 1) throw fail('it wants a token (status 401)', HINTS.version2);
    if (isRenewed) throw fail('it refuses its own tokens (status 401)', HINTS.answer);
    isRenewed = true;
    token = await fetchToken();
    return fetchValue(path);
  };

  const parseValue = async <T>(path: string, parse: (text: string) => T | undefined): Promise<T> => {
    const text = await fetchValue(path);
    const value = parse(text);
    if (value === undefined) throw fail(`${path} is ${quoteBriefly(text)}, which cannot be`, HINTS.answer);
    return value;
  };
  const region = await parseValue(REGION_PATH, parseRegion);
  return { region, domain: await parseValue(DOMAIN_PATH, parseDomain) };
}

const HINTS = {
  disabled: 'enable it: aws ec2 modify-instance-metadata-options --http-endpoint enabled --instance-id …',
  version1: 'if it knows version 1 only: kms-endpoint asks it with --imdsv1',
  version2: 'leave --imdsv1 out',
  answer: 'is it the metadata service of EC2?',
} as const;

function describe(status: number, path: string): string {
  if (status === 403) return 'the metadata service is disabled for this instance (status 403)';
  return `${path} is answered with status ${status}`;
}

function hintFor(status: number): string {
  return status === 403 ? HINTS.disabled : HINTS.answer;
}

interface Answer {
  readonly status: number;
  readonly body: string;
}

/** One request on a connection of its own. */
function exchange(
  address: ServiceAddress,
  signal: AbortSignal,
  method: 'GET' | 'PUT',
  path: string,
  headers: Readonly<Record<string, string>>,
): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const lose = (reason: NodeJS.ErrnoException) => reject(explain(address, reason, signal));
  // Node's default agent keeps connections, and the environment can make it use a proxy.
  const agent = new Agent();
  const outgoing = request({ agent, host: address.ip, port: address.port, method, path, headers, signal }, (answer) => {
    const chunks: Buffer[] = [];
    let length = 0;
    answer.on('error', lose);
    answer.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      length += chunk.length;
      if (length <= MAX_BYTES) return;
      reject(failure(address, `the answer to ${path} is longer than ${MAX_BYTES} bytes`, { hint: HINTS.answer }));
      answer.destroy();
    });
    answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body: Buffer.concat(chunks).toString('latin1') }));
  });
  outgoing.on('error', lose);
  outgoing.end();
  return promise;
}

function explain(address: ServiceAddress, reason: NodeJS.ErrnoException, signal: AbortSignal): VsockProxyError {
  const { code = 'EIO', errno, message } = reason;
  if (signal.aborted) return failure(address, 'no answer in time', { errno: 'ETIMEDOUT', cause: reason });
  if (code.startsWith('HPE_')) return failure(address, 'the answer is not HTTP', { hint: HINTS.answer, cause: reason });
  const problem = errno === undefined ? message : `${code}, ${getSystemErrorMessage(errno)}`;
  return failure(address, problem, { errno: code, cause: reason });
}

function failure(address: ServiceAddress, problem: string, details: ErrorDetails): VsockProxyError {
  return new VsockProxyError('metadata', `${formatAddress(address)}: ${problem}`, details);
}

function formatAddress({ ip, port }: ServiceAddress): string {
  return `${ip.includes(':') ? `[${ip}]` : ip}${port === 80 ? '' : `:${port}`}`;
}
