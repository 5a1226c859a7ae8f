/** `vsock-proxy probe`: connects like an enclave, and prints how far that gets and how long each step takes. */
import { parseConnect, parseTcp } from '../config/schema/addresses.ts';
import type { SocketAddress } from '../dataplane/contract.ts';
import { VsockProxyError } from '../platform/errors.ts';
import { escapeControls } from '../platform/escape.ts';
import { describeHandshake, type Network } from './doctor/network.ts';
import { parseNumberOption } from './line/number.ts';
import { defineCommand, type Parsed, parseArguments } from './line/parse.ts';
import { parseTextOption } from './line/text.ts';

export interface ProbeArguments {
  readonly to: SocketAddress;
  /** The address as it was written. */
  readonly text: string;
  /** The name for a TLS handshake; absent: there is no handshake. */
  readonly tls?: string;
  /** The limit of each step. */
  readonly timeoutMs: number;
}

const TIMEOUT = { min: 1, max: 3600 };
const DEFAULT_TIMEOUT_SECONDS = 5;

const HELP = `
Examples:

  vsock-proxy probe vsock:3:8000
  vsock-proxy probe vsock:3:8000 --tls kms.eu-west-1.amazonaws.com
  vsock-proxy probe tcp:10.0.0.7:443

A proxy accepts a connection before it reaches the server. Only the handshake of
--tls proves that the server is reached. No request is sent.

Exit status: 0 if every step succeeded, 1 if not, 2 if the command line is
wrong.
`;

/**
 * @param argv without the names of the program and the command
 * @throws VsockProxyError `usage`
 */
export function parseProbeCommand(
  argv: readonly string[],
): { readonly kind: 'run'; readonly arguments: ProbeArguments } | { readonly kind: 'text'; readonly text: string } {
  const command = defineCommand('probe')
    .argument('<address>', 'vsock:CID:PORT, tcp:IP:PORT or unix:PATH')
    .option('--tls <name>', 'then do a TLS handshake with the server of this name')
    .option('--timeout <seconds>', 'how long each step may take', String(DEFAULT_TIMEOUT_SECONDS))
    .addHelpText('after', HELP);
  const parsed: Parsed<{ readonly tls?: string; readonly timeout: string }> = parseArguments(command, argv);
  if (parsed.kind === 'text') return parsed;
  const [text = ''] = parsed.args;
  const { tls, timeout } = parsed.options;
  return {
    kind: 'run',
    arguments: {
      to: parseAddress(text),
      text,
      timeoutMs: parseNumberOption('--timeout', timeout, TIMEOUT) * 1000,
      ...(tls !== undefined && { tls: parseTextOption('--tls', tls) }),
    },
  };
}

function parseAddress(text: string): SocketAddress {
  const parsed = text.startsWith('tcp:') ? parseTcp(text.slice('tcp:'.length)) : parseConnect(text);
  if ('family' in parsed) return parsed;
  if ('kind' in parsed && parsed.kind === 'address') return parsed.address;
  throw new VsockProxyError('usage', `the address is not valid: ${JSON.stringify(escapeControls(text))}`, {
    hint: 'write it like vsock:3:8000',
  });
}

/** @returns the result in one line, and the exit status */
export async function runProbe(
  { to, text, tls, timeoutMs }: ProbeArguments,
  network: Pick<Network, 'dial' | 'handshake'>,
): Promise<{ readonly text: string; readonly exitStatus: number }> {
  const where = escapeControls(text);
  if (tls !== undefined) {
    const { status, found } = describeHandshake(where, await network.handshake(to, tls, timeoutMs));
    return { text: `${status}  ${found}\n`, exitStatus: status === 'fail' ? 1 : 0 };
  }
  const dialled = await network.dial(to, timeoutMs);
  return dialled.kind === 'connected'
    ? { text: `ok  ${where}: connected in ${dialled.ms} ms\n`, exitStatus: 0 }
    : { text: `fail  ${where}: no connection: ${dialled.errno}, after ${dialled.ms} ms\n`, exitStatus: 1 };
}
